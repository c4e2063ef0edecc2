"""Makes reports/scores and reports/quality.json: what models and lexicon are measured by."""
