"""One reader for each form that a source of the lexicon has."""
