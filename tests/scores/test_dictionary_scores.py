import numpy as np
import pandas as pd
import pytest
import torch
from scores.test_sense_match import value
from tiny.models import dictionary

from dskd.scores.dictionary import facts, plain, variance_table
from dskd.scores.weighted import Draws
from dskd.states.reservoir import Reservoir

DRAWS = Draws(number=50, seed=0)


# --- counts ----------------------------------------------------------------------------------------------------------


def test_facts_are_counts_of_tokens_senses_and_states_and_shares_of_heads():
    senses = dictionary({3: [[0, 0], [1, 0]], 5: [[2, 0]], 9: [[3, 0]] * 4})
    senses = senses._replace(counts=torch.tensor([5, 1, 10, 2, 1, 1, 7], dtype=torch.int32))
    sizes = torch.tensor([6, 10, 50, 0, 11])
    sample = Reservoir(
        tokens=torch.tensor([3, 5, 9, 11, 12], dtype=torch.int32),
        occurrences=torch.tensor([6, 10, 900, 4, 80]),
        sizes=sizes,
        positions=torch.zeros(77, dtype=torch.int64),
        rows=torch.arange(77),
        states=[torch.zeros(77, 2)],
    )
    rows = [
        ("bank", 3),  # two senses, six states
        ("bank", 3),  # a head has a row for each relation
        ("bank", 11),  # a form with no state
        ("good", 5),  # one sense, ten states
        ("well", 7),  # a token that was never met
        ("well", 9),  # another form of the same head, with four senses and 50 states
        ("rare", 11),  # met, but none of its states was kept
        ("mean", 12),  # eleven states, no sense
        ("none", 4),
        ("void", 8),
    ]
    found = facts(senses, sample, pd.DataFrame(rows, columns=["head", "head_token"]).assign(tail="x"))
    heads = 7
    assert {key: found[key] for key in ("text_tokens", "tokens", "senses", "states", "heads")} == {
        "text_tokens": 1000,
        "tokens": 3,
        "senses": 7,
        "states": 27,
        "heads": heads,
    }
    assert found["singleton_share"] == pytest.approx(3 / 7)
    assert found["heads_with_states"] == pytest.approx(4 / heads)
    assert found["heads_with_more_than_10_states"] == pytest.approx(2 / heads)
    assert found["heads_with_50_states"] == pytest.approx(1 / heads)
    assert found["heads_with_a_sense"] == pytest.approx(3 / heads)
    assert found["heads_with_two_senses"] == pytest.approx(2 / heads)
    assert all(type(number) in (int, float) for number in found.values())  # they are written as JSON


# --- variance --------------------------------------------------------------------------------------------------------

STATES = torch.tensor([[[0.0, 0], [2, 0], [9, 9]], [[4, 4], [4, 8], [0, 1]]])  # two blocks of three
KEYS = torch.tensor([[3, 3, 7], [5, 5, 3]])  # token 7 has no sense
EACH = {3: [[0, 0], [2, 0], [0, 1]], 5: [[4, 4], [4, 8]]}  # all states are senses
RANDOM = dictionary({3: [[1, 0]] * 3, 5: [[4, 6]] * 2})  # as many of each token


def variances(senses, random, states=STATES, keys=KEYS, draws=DRAWS, documents=None):
    documents = np.arange(len(states)) if documents is None else documents
    return variance_table(states, keys, documents, {"senses": [senses], "random": [random, random]}, draws)


def test_senses_that_are_the_states_explain_all_and_one_sense_nothing_within_a_token():
    table = variances(dictionary(EACH), RANDOM)
    whole = (STATES.flatten(0, 1) - STATES.flatten(0, 1).mean(dim=0)).square().sum(dim=1)
    for measure, rows, explained in (("variance", 6, 1 - whole[2] / whole.sum()), ("variance_within", 5, 1)):
        assert value(table, measure, "senses") == pytest.approx(float(explained))  # of token 7 nothing is
        assert value(table, measure, "senses", "words") == 2 and value(table, measure, "senses", "rows") == rows
    assert value(table, "variance_within", "one_sense") == 0
    assert np.isnan(value(table, "variance_within", "one_sense", "low"))  # of two blocks
    assert 0 < value(table, "variance", "one_sense") < 1
    assert set(table["set"]) == {"heldout"} and set(table["group"]) == {"all"}


def test_variance_by_hand():
    senses = dictionary({3: [[1, 0], [0, 2]], 5: [[4, 5]]})
    senses = senses._replace(counts=torch.tensor([30, 10, 8], dtype=torch.int32))
    random = dictionary({3: [[0, 0], [0, 0]], 5: [[4, 4]]})
    table = variances(senses, random)
    mean = np.array([19, 22]) / 6
    known = np.array([[0, 0], [2, 0], [4, 4], [4, 8], [0, 1]])
    unknown = np.square(np.array([9, 9]) - mean).sum()
    whole = np.square(known - mean).sum() + unknown
    # Nearest senses of the states of token 3: [1, 0], [1, 0], and [0, 2] for [0, 1].
    rest = {"senses": 1 + 1 + 1 + 1 + 9, "random": 0 + 4 + 1 + 0 + 16}
    centre = np.array([0.75, 0.5])  # of the senses of token 3, by their states
    rest["one_sense"] = np.square(known[[0, 1, 4]] - centre).sum() + 1 + 9
    for way, left in rest.items():
        assert value(table, "variance", way) == pytest.approx(1 - (left + unknown) / whole)
        assert value(table, "variance_within", way) == pytest.approx(1 - left / rest["one_sense"])
    more = value(table, "variance", "random", "senses_less_value")
    assert more == pytest.approx((rest["random"] - rest["senses"]) / whole)


def test_states_belong_to_their_tokens_in_whatever_order_they_come():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(4, 5, 3, generator=generator)
    keys = torch.randint(0, 4, (4, 5), generator=generator)
    senses, random = (
        dictionary({t: torch.randn(2, 3, generator=generator).tolist() for t in (0, 1, 3)}) for _ in range(2)
    )
    order = torch.randperm(20, generator=generator)
    first, second = (
        variances(senses, random, of.reshape(4, 5, 3), key.reshape(4, 5))
        for of, key in ((states, keys), (states.flatten(0, 1)[order], keys.flatten()[order]))
    )
    assert first["value"].tolist() == pytest.approx(second["value"].tolist())
    left = total = 0.0
    flat = states.flatten(0, 1)
    for state, key in zip(flat, keys.flatten().tolist()):
        whole = float((state - flat.mean(dim=0)).square().sum())
        left += min((float((state - senses.centroids[r]).square().sum()) for r in senses.rows(key)), default=whole)
        total += whole
    assert value(first, "variance", "senses") == pytest.approx(1 - left / total, abs=1e-5)


def test_intervals_are_over_documents():
    """All states of a block are alike, so that one block more says as much as all of its states."""
    generator = torch.Generator().manual_seed(1)
    one = torch.randn(12, 1, 3, generator=generator)
    senses, random = dictionary({3: [[1, 0, 0], [-1, 0, 0]]}), dictionary({3: [[0, 1, 0], [0, 0, 1]]})
    keys = torch.full((12, 1), 3)
    first = variances(senses, random, one, keys)
    second = variances(senses, random, one.repeat(1, 6, 1), keys.repeat(1, 6))
    for end in ("value", "low", "high"):
        assert second[end].tolist() == pytest.approx(first[end].tolist(), abs=1e-5)
    apart = variances(senses, random, one.repeat(6, 1, 1), keys.repeat(6, 1))
    width = [
        value(table, "variance", "senses", "high") - value(table, "variance", "senses", "low")
        for table in (first, apart)
    ]
    assert width[0] > 1.5 * width[1]
    documents = np.repeat(np.arange(12), 6)  # each block stands six times, in the same document
    blocks, of_blocks = (rows.repeat_interleave(6, dim=0) for rows in (one, keys))
    beside = variances(senses, random, blocks, of_blocks, documents=documents)
    for end in ("value", "low", "high"):
        assert beside[end].tolist() == pytest.approx(first[end].tolist(), abs=1e-5)


def test_states_may_be_of_half_precision():
    first = variances(dictionary(EACH), RANDOM, STATES.bfloat16())
    assert value(first, "variance_within", "senses") == pytest.approx(1)


# --- plain keys ------------------------------------------------------------------------------------------------------


def test_the_measures_of_all_places_have_plain_keys():
    def row(by, number, group="all", **less):
        ends = dict(zip(("value", "low", "high"), (number, number - 0.1, number + 0.2)))
        return {"set": "wic", "group": group, "measure": "auc", "by": by, **ends, **less, "rows": 9, "words": 3}

    less = {"senses_less_value": 0.1, "senses_less_low": 0.05, "senses_less_high": 0.15}
    rows = [
        row("senses", 0.7),
        row("random", 0.6, **less),
        row("senses", 0.9, group="n"),
        row("one_sense", 0.5, **less),
    ]
    before = {"tokens": 3}
    assert plain(before, pd.DataFrame(rows)) == {
        "tokens": 3,
        "wic_auc": 0.7,
        "wic_auc_low": pytest.approx(0.6),
        "wic_auc_high": pytest.approx(0.9),
        "wic_auc_places": 9,
        "wic_auc_random": 0.6,
        "wic_auc_less_random_low": 0.05,
        "wic_auc_less_random_high": 0.15,
        "wic_auc_one_sense": 0.5,
        "wic_auc_less_one_sense_low": 0.05,
        "wic_auc_less_one_sense_high": 0.15,
    }
    assert before == {"tokens": 3}
