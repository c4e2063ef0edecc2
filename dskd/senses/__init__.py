"""Makes artifacts/senses: at most k senses for each token."""
