"""What is done to any decoder: load it, cut it, run its parts, score with it."""
