"""Makes artifacts/targets: the senses that pull and push each position."""
