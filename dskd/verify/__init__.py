"""Whether a run is the committed one: the same bytes on its platform, within a tolerance on another."""
