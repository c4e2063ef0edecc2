"""Pairs that are called both synonyms and antonyms, and how they are settled."""

import os
import random
from pathlib import Path

import pytest

from dskd.errors import UserError
from dskd.lexicon.readers.word_lists import relations as pairs_of
from dskd.lexicon.relations import ANTONYM, SYNONYM, Pair, Relation, merge
from dskd.lexicon.vote import Conflict, settle


def pairs(*stated):
    """Merged pairs of (head, tail, relation, source, senses[, flipped])."""
    return merge(
        Relation(head, tail, relation, source, sense, *flipped)
        for head, tail, relation, source, senses, *flipped in stated
        for sense in senses
    )


def verdict(*stated, weights=None, **more):
    kept, conflicts = settle(pairs(*stated), weights or {"a": 1.0, "b": 1.0, "c": 1.0}, **more)
    assert len(conflicts) == 1
    assert {pair.relation for pair in kept} == {"synonym": {1}, "antonym": {-1}, "dropped": set()}[conflicts[0].verdict]
    return conflicts[0].verdict


def test_the_larger_vote_wins_in_both_directions_and_the_rest_stays():
    merged = pairs(
        ("wet", "dry", ANTONYM, "a", "1"),
        ("dry", "wet", ANTONYM, "b", "1"),
        ("wet", "dry", SYNONYM, "c", "1"),
        ("wet", "damp", SYNONYM, "c", "1"),
    )
    kept, conflicts = settle(merged, {"a": 0.75, "b": 0.5, "c": 1.0})
    assert conflicts == [Conflict("dry", "wet", 1.0, "c", 1.25, "a, b", "antonym")]
    assert kept == [pair for pair in merged if pair.relation == ANTONYM or "damp" in pair]
    assert len(kept) == 6


@pytest.mark.parametrize(("weight", "says"), [(1.9, "antonym"), (2.0, "dropped"), (2.1, "synonym")])
def test_weights_decide_and_a_tie_is_dropped(weight, says):
    stated = [("wet", "dry", ANTONYM, "a", "1"), ("wet", "dry", ANTONYM, "b", "1"), ("wet", "dry", SYNONYM, "c", "1")]
    assert verdict(*stated, weights={"a": 1.0, "b": 1.0, "c": weight}) == says


def test_a_tie_is_one_whatever_the_rounding():
    stated = [("up", "down", ANTONYM, "a", "1"), ("up", "down", ANTONYM, "b", "1"), ("up", "down", SYNONYM, "c", "1")]
    assert 0.1 + 0.2 != 0.3
    assert verdict(*stated, weights={"a": 0.1, "b": 0.2, "c": 0.3}) == "dropped"


def test_a_source_has_one_vote_however_many_senses_it_names():
    assert verdict(("up", "down", ANTONYM, "a", "1"), ("up", "down", SYNONYM, "b", "123")) == "dropped"


def test_a_source_that_says_both_leaves_it_to_the_others():
    both = [("king", "queen", ANTONYM, "a", "12"), ("king", "queen", SYNONYM, "a", "3")]
    assert verdict(*both) == "dropped"
    assert verdict(*both, ("king", "queen", ANTONYM, "b", "1"), weights={"a": 9.0, "b": 0.1}) == "antonym"


def test_a_flipped_pair_may_weigh_less():
    stated = [("happy", "sad", SYNONYM, "a", "1", True), ("happy", "sad", ANTONYM, "b", "1")]
    assert verdict(*stated) == "dropped"
    assert verdict(*stated, flipped=0.5) == "antonym"


def test_the_order_of_pairs_changes_nothing():
    words = "abcdef"
    draw = random.Random(0)
    merged = merge(
        Relation(draw.choice(words), draw.choice(words), draw.choice((1, -1)), draw.choice("xyz"), "1")
        for _ in range(60)
    )
    weights = {"x": 0.1, "y": 0.2, "z": 0.3}
    kept, conflicts = settle(merged, weights)
    assert len({conflict.verdict for conflict in conflicts}) == 3
    mixed = draw.sample(merged, len(merged))
    assert settle(mixed, weights)[1] == conflicts and sorted(settle(mixed, weights)[0]) == kept
    assert settle(kept, weights) == (kept, [])


@pytest.mark.parametrize(
    ("weights", "more", "says"),
    [
        ({"b": 1.0}, {}, "no weight for the source a"),
        ({"a": -1.0}, {}, "the weight a = -1.0"),
        ({"a": float("nan")}, {}, "the weight a = nan"),
        ({"a": 1.0}, {"flipped": -0.5}, "the weight of flipped pairs = -0.5"),
    ],
)
def test_weights_that_are_none_are_an_error(weights, more, says):
    with pytest.raises(UserError, match=says):
        settle(pairs(("wet", "dry", ANTONYM, "a", "1")), weights, **more)


@pytest.mark.skipif(not os.environ.get("DSKD_MIRROR"), reason="DSKD_MIRROR names no mirror")
def test_real_lists_contradict_each_other():
    folder = Path(os.environ["DSKD_MIRROR"]) / "constraints" / "counter-fitting"
    if not folder.is_dir():
        pytest.skip("the mirror has no lists of counter-fitting")
    merged = merge(
        [
            *pairs_of(folder / "ppdb_synonyms.txt", SYNONYM, "ppdb"),
            *pairs_of(folder / "wordnet_antonyms.txt", ANTONYM, "wordnet"),
        ]
    )
    kept, conflicts = settle(merged, {"wordnet": 2.0, "ppdb": 1.0})
    assert len(conflicts) == 11 and {conflict.verdict for conflict in conflicts} == {"antonym"}
    assert len(kept) == len(merged) - 2 * 11


@pytest.mark.parametrize("order", [1, -1])
def test_the_strongest_of_what_a_source_says_is_its_vote_whichever_comes_last(order):
    said = [
        Pair("happy", "sad", ANTONYM, "a", ("1",), False),
        Pair("sad", "happy", ANTONYM, "a", ("1",), True),
        Pair("happy", "sad", SYNONYM, "b", ("1",), False),
    ]
    kept, (conflict,) = settle(said[::order], {"a": 2.0, "b": 1.5}, flipped=0.5)
    assert (conflict.antonym_votes, conflict.synonym_votes, conflict.verdict) == (2.0, 1.5, "antonym")
    assert len(kept) == 2
