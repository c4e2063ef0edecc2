"""Makes artifacts/lexicon.parquet: which words mean the same, and which the opposite (docs/method.md, section 2)."""
