"""Makes artifacts/students: what a student is trained on, how, and how it is written."""
