"""What models are asked: items with a context, choices and an answer."""
