"""What others use in their own training: a sense dictionary of a model, a lexicon, and the losses made of them."""
