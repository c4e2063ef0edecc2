"""The rungs of a ladder: how far a relation is from what students could learn of the lexicon."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import cache

import pandas as pd
from torch import Tensor

from dskd.lexicon.relations import heldout_pairs, is_heldout
from dskd.params import LexiconParams

RUNGS = {  # and their names
    "trained": "trained",
    "relation": "held-out relation",
    "word": "held-out word",
}

# (head, tail, SYNONYM or ANTONYM) that students could learn: see `trained_relations`
Trained = AbstractSet[tuple[str, str, int]]


def trained_relations(lexicon: pd.DataFrame, labels: Tensor) -> Trained:
    """The relations of the lexicon's table whose head occurs in the training text, whose tokens `labels` are."""
    seen = set(labels.unique().tolist())
    rows = lexicon[lexicon["head_token"].isin(seen)]
    return set(zip(rows["head"], rows["tail"], rows["relation"].astype(int)))


def rung_of(lexicon: LexiconParams, trained: Trained) -> Callable[[str, str, int], str | None]:
    """(head, tail, relation) -> its rung; None where it is on none, because nothing of its head was trained.

    word: one of the two words is held out. relation: the pair is held out, and another relation of this kind of the
    head was trained. trained: the relation itself was.
    """
    heads = {(head, relation) for head, _, relation in trained}
    words = cache(lambda word: is_heldout(word, lexicon.seed, lexicon.heldout_share))

    @cache
    def rung(head: str, tail: str, relation: int) -> str | None:
        if words(head) or words(tail):
            return "word"
        if heldout_pairs([(head, tail)], lexicon.seed, lexicon.heldout_pairs):
            return "relation" if (head, relation) in heads else None
        return "trained" if (head, tail, relation) in trained else None

    return rung
