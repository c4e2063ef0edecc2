"""Decoder-based Sense Knowledge Distillation (arXiv 2602.22351), runnable and reproducible."""

__version__ = "0.1.0"
