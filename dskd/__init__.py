"""Decoder-based Sense Knowledge Distillation (arXiv 2602.22351), runnable and reproducible."""

import warnings

__version__ = "0.1.0"

LAUNCHED = "DSKD_LAUNCHED"  # in the environment of processes that `infra.processes.launch` has started

# In a notebook, libraries ask tqdm for a widget; plain text, which shows in terminals as well, is what we want.
warnings.filterwarnings("ignore", message="IProgress not found")
