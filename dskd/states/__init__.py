"""Makes artifacts/states: the teacher's states of every block."""

SPARE = 1.25  # how many times the states of a sample the disk may hold before its files are thinned
