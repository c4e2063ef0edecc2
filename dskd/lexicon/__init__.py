"""Which words mean the same, and which the opposite: sources, merging, tokens (docs/method.md, section 2)."""

from dskd.lexicon.build import Files, collector_off, read_statements, settle_pairs
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation, heldout_words, is_heldout
from dskd.lexicon.table import antonyms, build_table, load_lexicon, save_lexicon, synonyms
from dskd.lexicon.wordnet import Gloss, glosses, open_wordnet, prepare

__all__ = [
    "ANTONYM",
    "SYNONYM",
    "Files",
    "Gloss",
    "Relation",
    "antonyms",
    "build_table",
    "collector_off",
    "glosses",
    "heldout_words",
    "is_heldout",
    "load_lexicon",
    "open_wordnet",
    "prepare",
    "read_statements",
    "save_lexicon",
    "settle_pairs",
    "synonyms",
]
