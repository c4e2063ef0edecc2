"""Makes artifacts/states: the teacher's states of every block."""
