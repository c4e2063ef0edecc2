"""What is done to any decoder: load it, cut it, run its parts, score with it."""

# Positions whose logits, V numbers each, exist at one time.
LOSS_CHUNK = 384  # in training
SCORE_CHUNK = 256  # where models are scored, in float32: 50 MB at V = 49 152
