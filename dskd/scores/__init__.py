"""Makes reports/scores and reports/quality.json: what models and lexicon are measured by."""

RANDOM_DRAWS = 5  # of the random baseline of a sense dictionary
