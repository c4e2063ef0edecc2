"""Makes artifacts/corpus and artifacts/prompts: the text that the student trains on."""
