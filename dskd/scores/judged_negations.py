"""How well negations are told, on a list of words that was judged by hand: `judged_negations.tsv` beside this file.

Its columns: word; base, where the word negates one that WordNet knows; sign; how the word came into the list, as
affix/stratum for the seeded draw from WordNet's words (has: MorphyNet derives it by that affix, word: what is left is
a word, neither), or `named` and `chosen` by hand; what the judgement rests on; a note. The named ones and half of
the others, by hash, are for development: only they may lead to an entry in `negation.LOOKALIKES`. The rest is the
test.
"""

import csv
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

import pandas as pd

from dskd.lexicon.negation import AFFIXES, Polarity, polarity
from dskd.lexicon.readers.morphology import Derivations
from dskd.lexicon.relations import heldout_words
from dskd.scores.gold_lists import share

_LIST = Path(__file__).with_name("judged_negations.tsv")


def judged_words() -> dict[str, list[dict[str, str]]]:
    """The rows of the list: those for development and those of the test."""
    with open(_LIST, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    test = heldout_words((row["word"] for row in rows if row["drawn"] != "named"), seed=0, share=0.5)
    return {
        "development": [row for row in rows if row["word"] not in test],
        "test": [row for row in rows if row["word"] in test],
    }


def negation_quality(derivations: Derivations, known: Container[str], affixes: Iterable[str] = AFFIXES) -> pd.DataFrame:
    """Precision and recall of `polarity`, and of taking any affix off that leaves a known word, with 95 % Wilson
    intervals, on both halves of the list. A negation is found where sign and base are the judged ones."""
    affixes = tuple(affixes)
    rows = []
    for half, words in judged_words().items():
        for rule, tell in (
            ("with derivations", lambda word: polarity(word, derivations, known, affixes)),
            ("affixes alone", lambda word: _stripped(word, known, affixes)),
        ):
            rows.append({"rule": rule, "half": half, "words": len(words), **_quality(words, tell)})
    return pd.DataFrame(rows)


def _quality(words: Sequence[dict], tell) -> dict[str, float]:
    found = {row["word"]: tell(row["word"]) for row in words}
    flipped = sum(undone.sign < 0 for undone in found.values())
    negated = [row for row in words if row["sign"] == "-1"]
    right = sum(found[row["word"]][:2] == (row["base"], -1) for row in negated)
    return {**share("precision", right, flipped), **share("recall", right, len(negated))}


def _stripped(word: str, known: Container[str], affixes: Iterable[str]) -> Polarity:
    for affix in affixes:
        base = word.removeprefix(affix[:-1]) if affix.endswith("-") else word.removesuffix(affix[1:])
        if base != word and base in known:
            return Polarity(base, -1, (affix,))
    return Polarity(word, 1, ())
