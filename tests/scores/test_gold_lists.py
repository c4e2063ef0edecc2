"""What is measured of a lexicon on lists that did not feed it."""

import math
import os
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from tiny.wordnet import write_wordnet
from tools.lexicon_weights import halves, log_odds

from dskd.benchmarks.catalogue import BENCHMARKS
from dskd.benchmarks.gather import canonical_rows
from dskd.errors import UserError
from dskd.lexicon.readers.word_lists import relations as pairs_of
from dskd.lexicon.readers.wordnet import open_wordnet, prepare
from dskd.lexicon.readers.wordnet_indirect import indirect_antonyms
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation, merge
from dskd.lexicon.vote import settle
from dskd.scores.gold_lists import (
    Gold,
    antsynnet,
    beyond,
    by_source,
    check_outside,
    gold_list,
    quality,
    quality_table,
)

LEXICON = merge(
    [
        Relation("wet", "dry", ANTONYM, "a", "1"),
        Relation("wet", "damp", SYNONYM, "a", "1"),
        Relation("wet", "moist", SYNONYM, "a", "1"),
        Relation("hot", "cold", SYNONYM, "b", "1"),  # wrong
        Relation("king", "queen", ANTONYM, "a", "1"),
        Relation("king", "queen", SYNONYM, "a", "2"),
    ]
)
GOLD = gold_list(
    "gold",
    "gold",
    [
        ("Dry", "wet", ANTONYM),
        ("wet", "dry", ANTONYM),  # the same pair
        ("damp", "wet", SYNONYM),
        ("hot", "cold", ANTONYM),
        ("queen", "king", ANTONYM),
        ("dry", "moist", ANTONYM),  # words known, not the pair
        ("fast", "quick", SYNONYM),
        ("up", "up", SYNONYM),
        ("set", "put", SYNONYM),
        ("put", "set", ANTONYM),  # with both relations: left out
    ],
)


def test_a_gold_list_has_each_pair_once_and_none_that_is_both():
    assert GOLD.pairs == {
        ("cold", "hot"): ANTONYM,
        ("damp", "wet"): SYNONYM,
        ("dry", "moist"): ANTONYM,
        ("dry", "wet"): ANTONYM,
        ("fast", "quick"): SYNONYM,
        ("king", "queen"): ANTONYM,
    }
    rows = [{"id": "1", "pos": "adjective", "word1": "wet", "word2": "dry", "relation": "antonym"}]
    assert antsynnet("val", rows) == Gold("val", "antsynnet", {("dry", "wet"): ANTONYM})


def test_coverage_and_precision_of_each_relation():
    synonym, antonym, both = quality(LEXICON, GOLD)
    shares = ("words_known", "coverage", "precision")
    assert [row["relation"] for row in (synonym, antonym, both)] == ["synonym", "antonym", "all"]
    # wet ~ damp is right; hot ~ cold and king ~ queen are not; fast ~ quick is not there
    assert [synonym[share] for share in shares] == [1 / 2, 1 / 2, 1 / 3]
    assert [antonym[share] for share in shares] == [1, 3 / 4, 1]
    assert [both[share] for share in shares] == [5 / 6, 4 / 6, 3 / 5]
    assert [(row["gold_pairs"], row["statements"], row["contradictory"]) for row in (synonym, antonym, both)] == [
        (2, 3, 0),
        (4, 2, 1),
        (6, 5, 1),
    ]


def test_the_intervals_are_wilsons():
    _, _, row = quality(LEXICON, GOLD)
    n, p, z = 5, 3 / 5, 1.959963984540054
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    bounds = [(p + z * z / (2 * n) + sign * half) / (1 + z * z / n) for sign in (-1, 1)]  # Wilson (1927)
    assert [row["precision_low"], row["precision_high"]] == pytest.approx(bounds)


def test_a_share_of_nothing_is_no_number():
    row = quality(by_source(LEXICON)["b"], GOLD)[1]
    assert row["statements"] == 0 and math.isnan(row["precision"]) and math.isnan(row["precision_low"])
    assert math.isnan(quality(LEXICON, Gold("none", "none", {}))[2]["coverage"])


def test_no_gold_list_feeds_the_lexicon_that_is_measured_on_it():
    fed = merge([Relation(*words, relation, "gold", "1") for words, relation in list(GOLD.pairs.items())[:1]])
    for measured in (check_outside, quality):
        with pytest.raises(UserError, match="gold is a source of the lexicon"):
            measured([*LEXICON, *fed], GOLD)
    # A part of the list, whatever it is called, is the list.
    with pytest.raises(UserError, match="gold 2 is a source of the lexicon"):
        quality(fed, halves(GOLD)[1])
    renamed = merge([Relation(*words, relation, "mine", "1") for words, relation in GOLD.pairs.items()])
    with pytest.raises(UserError, match="the source mine has all of gold"):
        quality_table({"merged": [*LEXICON, *renamed]}, [GOLD])
    check_outside([pair for pair in renamed if "hot" not in pair], GOLD)
    assert set(quality_table({"a": LEXICON, "b": [*LEXICON, *fed]}, [GOLD]).lexicon) == {"a"}


def test_a_table_of_sources_and_steps():
    settled, _ = settle(LEXICON, {"a": 1.0, "b": 1.0})
    other = gold_list("other", "b", [("hot", "cold", ANTONYM), ("a", "b", SYNONYM)])
    table = quality_table({**by_source(LEXICON), "merged": LEXICON, "settled": settled}, [GOLD, other])
    assert list(table.columns[:4]) == ["lexicon", "pairs", "gold", "relation"]
    overall = table[table.relation == "all"].set_index(["lexicon", "gold"])
    assert list(overall.index) == [
        ("a", "gold"),
        ("a", "other"),
        ("b", "gold"),
        ("merged", "gold"),
        ("settled", "gold"),
    ]
    assert overall.pairs.tolist() == [4, 4, 1, 5, 4]
    assert overall.xs("gold", level="gold").precision.tolist() == [3 / 4, 0, 3 / 5, 2 / 3]
    again = quality_table({"merged": LEXICON[::-1]}, [GOLD])
    pd.testing.assert_frame_equal(again, table[table.lexicon == "merged"].reset_index(drop=True))


def test_what_a_gold_list_has_beyond_a_source():
    left = beyond(GOLD, by_source(LEXICON)["a"], "a")
    assert (left.name, left.source) == ("gold beyond a", "gold")
    assert set(left.pairs) == {("cold", "hot"), ("dry", "moist"), ("fast", "quick")}


def test_halves_are_two_and_whole():
    gold = gold_list("g", "g", [(f"a{i}", f"b{i}", ANTONYM if i % 2 else SYNONYM) for i in range(1000)])
    first, second = halves(gold)
    assert (first.name, second.name) == ("g 1", "g 2")
    assert not first.pairs.keys() & second.pairs.keys() and first.pairs | second.pairs == gold.pairs
    assert 450 < len(first.pairs) < 550


def test_weights_are_log_odds_of_being_right():
    # a: 3 right, 1 wrong; b: 0 right, 1 wrong, and no source counts against the others
    assert log_odds(LEXICON, GOLD) == {"a": math.log(4 / 2), "b": 0.0}


SYNSETS = [
    ("wet", "a", ["wet"], [("!", "dry", 1, 1), ("&", "humid", 0, 0)], "with water"),
    ("humid", "s", ["humid", "Sticky"], [("&", "wet", 0, 0)], "of air"),
    ("dry", "a", ["dry", "waterless"], [("!", "wet", 1, 1), ("&", "arid", 0, 0)], "without water"),
    ("arid", "s", ["arid"], [("&", "dry", 0, 0)], "of land"),
    ("red", "s", ["red"], [("&", "coloured", 0, 0)], "of a colour"),
    ("coloured", "a", ["coloured"], [("&", "red", 0, 0)], "with a colour"),
]


def test_indirect_antonyms_go_through_similar_adjectives(tmp_path):
    prepare(write_wordnet(tmp_path / "dict", SYNSETS), tmp_path / "nltk_data")
    found = list(indirect_antonyms(open_wordnet(tmp_path / "nltk_data")))
    assert [(relation.head, relation.tail, relation.sense) for relation in found] == [
        ("wet", "waterless", "wet.a.01 dry.a.01"),
        ("humid", "dry", "humid.s.01 dry.a.01"),
        ("humid", "waterless", "humid.s.01 dry.a.01"),
        ("sticky", "dry", "humid.s.01 dry.a.01"),
        ("sticky", "waterless", "humid.s.01 dry.a.01"),
        ("arid", "wet", "arid.s.01 wet.a.01"),
    ]
    assert {(relation.relation, relation.source) for relation in found} == {(ANTONYM, "wordnet_indirect")}


@pytest.mark.skipif(not os.environ.get("DSKD_MIRROR"), reason="DSKD_MIRROR names no mirror")
def test_a_real_list_measured_on_antsynnet():
    mirror = Path(os.environ["DSKD_MIRROR"])
    benchmark = BENCHMARKS["antsynnet"]
    files = [mirror / name for name in benchmark.mirror["train"]]
    path = mirror / "constraints" / "attract-repel" / "full-ant-sample.txt"
    if not all(file.exists() for file in (*files, path)):
        pytest.skip("the mirror has not both lists")
    gold = antsynnet("train", canonical_rows(benchmark, files, Counter()))
    synonym, antonym, both = quality(merge(pairs_of(path, ANTONYM, "attract_repel", language="en")), gold)
    assert [row["gold_pairs"] for row in (synonym, antonym, both)] == [5204, 4155, 9359]
    assert synonym["statements"] == 0 and antonym["statements"] == 1542
    assert antonym["precision"] == pytest.approx(1539 / 1542)
    assert antonym["coverage"] == pytest.approx(1539 / 4155)
