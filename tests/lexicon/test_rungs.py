import pandas as pd
import torch
from tiny.wordnet import lexicon

from dskd.lexicon import rungs
from dskd.lexicon.rungs import rung_of, trained_relations


def test_trained_are_the_relations_whose_head_stands_in_the_training_text():
    rows = [("bank", "shore", 1, 5), ("bank", "shore", 1, 9), ("fast", "slow", -1, 6), ("slow", "fast", -1, 7)]
    table = pd.DataFrame(rows, columns=["head", "tail", "relation", "head_token"])
    assert trained_relations(table, torch.tensor([[1, 9], [7, 7]])) == {("bank", "shore", 1), ("slow", "fast", -1)}


def test_a_rung_says_how_far_a_relation_is_from_what_was_trained(monkeypatch):
    monkeypatch.setattr(rungs, "is_heldout", lambda word, *_: word == "held")
    monkeypatch.setattr(
        rungs, "heldout_pairs", lambda pairs, *_: {("fast", "rapid")} & {tuple(sorted(p)) for p in pairs}
    )
    rung = rung_of(lexicon(), {("fast", "quick", 1), ("rapid", "slow", -1)})
    assert rung("fast", "quick", 1) == "trained"
    assert rung("fast", "quick", -1) is None and rung("quick", "fast", 1) is None
    assert rung("fast", "rapid", 1) == "relation"  # another synonym of it was trained
    assert rung("rapid", "fast", 1) is None  # of this one an antonym alone
    assert rung("rapid", "fast", -1) == "relation"
    assert rung("held", "quick", 1) == rung("fast", "held", 1) == "word"
