"""What a run has made, to and from a repository of the Hugging Face hub."""
