"""A look at finished runs: words, senses, items, chat. Nothing is written."""
