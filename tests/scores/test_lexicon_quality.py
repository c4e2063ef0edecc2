import pandas as pd
import pytest
import torch
from tiny.wordnet import lexicon

from dskd.infra.artifacts import write_jsonl
from dskd.lexicon.build import Statements
from dskd.lexicon.readers.morphology import Derivation
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation, merge
from dskd.params import TargetsParams
from dskd.report.tables import gold_table
from dskd.scores.gold_lists import gold_list
from dskd.scores.lexicon_quality import coverage, gold_lists, lexicon_steps, overlaps
from dskd.senses.store import Senses

RELATIONS = [
    Relation("hot", "warm", SYNONYM, "x", "s"),
    Relation("hot", "warm", ANTONYM, "y", "s"),
    Relation("sad", "unhappy", SYNONYM, "x", "s"),
]
STATEMENTS = Statements(
    RELATIONS,
    [Relation("humid", "dry", ANTONYM, "wordnet_indirect", "s")],
    {"unhappy": [Derivation("happy", "un-", "J", "J")]},
    {"happy"},
)


@pytest.mark.parametrize("held", ["heldout_share", "heldout_pairs"])
def test_the_steps_add_up_and_hold_no_word_and_no_pair_out(held):
    weights = {"x": 2.0, "y": 1.0, "wordnet_indirect": 1.0}
    found = lexicon_steps(STATEMENTS, lexicon(negations=["un-"], weights=weights, **{held: 1.0}))
    unordered = {name: {(*sorted(pair[:2]), pair.relation) for pair in pairs} for name, pairs in found.items()}
    stated = {("hot", "warm", SYNONYM), ("sad", "unhappy", SYNONYM), ("hot", "warm", ANTONYM)}
    flipped, indirect = {("happy", "sad", ANTONYM)}, {("dry", "humid", ANTONYM)}
    assert unordered == {
        "x alone": stated - {("hot", "warm", ANTONYM)},
        "y alone": {("hot", "warm", ANTONYM)},
        "sources": stated,
        "+ negations undone": stated | flipped,
        "+ vote": (stated | flipped) - {("hot", "warm", ANTONYM)},
        "+ indirect antonyms": (stated | flipped | indirect) - {("hot", "warm", ANTONYM)},
    }


def test_gold_lists_are_those_that_could_be_had(tmp_path):
    row = {"id": "1", "pos": "adjective", "word1": "wet", "word2": "dry", "relation": "antonym"}
    for name in ("antsynnet.train", "antsynnet.test", "roget.test"):
        write_jsonl(tmp_path / f"{name}.jsonl", [row])
    available = {"antsynnet": {"available": True}, "ppdb": {"available": False}, "roget": {"available": True}}
    found = gold_lists(tmp_path, available)
    assert [gold.name for gold in found] == ["AntSynNET train", "AntSynNET val", "Roget antonyms"]
    assert all(gold.pairs == {("dry", "wet"): ANTONYM} for gold in found)
    assert gold_lists(tmp_path, {}) == []


def test_overlaps_are_shares_of_the_row():
    lexicons = {"a": merge(RELATIONS[:1]), "b": merge([RELATIONS[0], RELATIONS[2]])}
    gold = gold_list("g", "g", [("hot", "warm", ANTONYM)])
    table = overlaps(lexicons, [gold]).set_index("of")
    assert table.loc["a", ["statements", "a", "b", "g"]].tolist() == [1, 1, 1, 0]  # another relation is no agreement
    assert table.loc["b", ["statements", "a", "b", "g"]].tolist() == [2, 0.5, 1, 0]


def test_coverage_counts_positions_and_types():
    # Tokens 1 and 2 have senses, 3 has none; 1 is a head with synonym 2, 2 one with antonym 3, which has no sense.
    senses = Senses(
        tokens=torch.tensor([1, 2]), offsets=torch.tensor([0, 1, 2]), centroids=torch.randn(2, 4),
        counts=torch.tensor([3, 3]), occurrences=torch.tensor([3, 3]), contexts=torch.zeros(2, 1, 2, dtype=torch.int64),
    )  # fmt: skip
    rows = [(1, "b", SYNONYM, (2,)), (2, "c", ANTONYM, (3,))]
    table = pd.DataFrame(
        [(token, tail, relation, "s", span) for token, tail, relation, span in rows],
        columns=["head_token", "tail", "relation", "sense", "tail_tokens"],
    )
    settings = TargetsParams(seed=0, neighbours=1, max_synonyms=5, max_antonyms=5, related_share=0.5, related_min=0)
    found = coverage(torch.tensor([[1, 1, 2, 3]]), table, senses, settings).set_index("tokens")
    assert found["share of tokens"].tolist() == [0.75, 0.75, 0.5, 0]
    assert found["types"].tolist() == [2, 2, 1, 0] and found["share of types"].tolist()[2] == 1 / 3


def test_the_table_for_people_leaves_out_what_measures_nothing():
    share = {f"{name}{end}": 0.5 for name in ("coverage", "precision") for end in ("", "_low", "_high")}
    rows = [
        {"lexicon": "a", "gold": "g", "relation": relation, "gold_pairs": n, "statements": said, **share}
        for relation, n, said in (("synonym", 2, 1), ("antonym", 0, 0), ("all", 2, 1))
    ]
    assert gold_table(rows)["relation"].tolist() == ["synonym"]
    assert len(gold_table([])) == 0
