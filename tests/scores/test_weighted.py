import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from dskd.report.dictionary_tables import groups_table, measures_table
from dskd.scores.dictionary import plain
from dskd.scores.weighted import COLUMNS, Draws, Figure, auc, difference, explained, figure, share, table_rows

DRAWS = Draws(number=200, seed=3)


def ones(n):
    return np.ones(n)


# --- statistics ------------------------------------------------------------------------------------------------------


def test_a_share_is_the_weighted_mean():
    values = np.array([1.0, 2.0, 6.0])
    assert share(values)(ones(3)) == 3.0
    assert share(values)(np.array([3.0, 0.0, 1.0])) == 2.25
    assert share(np.array([True, False, False, True]))(np.array([1.0, 1.0, 1.0, 2.0])) == 0.6


def test_what_is_explained_is_the_share_of_the_squares_that_is_not_left():
    rest, whole = np.array([1.0, 0.0, 3.0]), np.array([2.0, 4.0, 2.0])
    assert explained(rest, whole)(ones(3)) == 0.5
    assert explained(rest, whole)(np.array([2.0, 1.0, 0.0])) == 1 - 2 / 8
    assert explained(whole, whole)(ones(3)) == 0 and explained(0 * whole, whole)(ones(3)) == 1


def test_auc_by_hand():
    values, positive = np.array([3.0, 1.0, 2.0, 2.0]), np.array([True, False, True, False])
    assert auc(values, positive)(ones(4)) == 3.5 / 4  # 3 > 1, 3 > 2, 2 > 1, and 2 = 2 counts half
    assert auc(-values, positive)(ones(4)) == 0.5 / 4
    assert auc(values, positive)(np.array([1.0, 1.0, 2.0, 3.0])) == (1 + 3 + 2 + 6 / 2) / (3 * 4)
    assert auc(np.zeros(4), positive)(ones(4)) == 0.5
    assert auc(np.array([2.0, 1.0]), np.array([True, False]))(ones(2)) == 1


@pytest.mark.parametrize("kinds", [1, 2, 5, 10**6])
def test_auc_is_that_of_scikit_learn_with_weights_and_ties(kinds):
    generator = np.random.default_rng(kinds)
    for _ in range(20):
        values = generator.integers(kinds, size=60) / kinds - 0.5
        positive, weights = generator.random(60) < 0.4, generator.poisson(1.0, 60).astype(float)
        truth = roc_auc_score(positive, values, sample_weight=weights)
        assert auc(values, positive)(weights) == pytest.approx(truth, abs=1e-12)


# --- intervals -------------------------------------------------------------------------------------------------------


def test_an_interval_covers_the_truth_about_95_times_in_100():
    generator, covered, below, times = np.random.default_rng(0), 0, 0, 300
    for seed in range(times):
        found = figure(share(generator.normal(2.0, 1.0, 60)), np.arange(60), Draws(200, seed))
        assert found.low <= found.value <= found.high
        covered += found.low <= 2.0 <= found.high
        below += found.high < 2.0
    assert 0.91 <= covered / times <= 0.98 and 1 <= below <= times - covered - 1  # it misses on both sides


def test_rows_of_one_unit_are_drawn_together():
    values = np.random.default_rng(1).normal(size=50)
    single = figure(share(values), np.arange(50), DRAWS)
    repeated, units = np.repeat(values, 4), np.repeat(np.arange(50), 4)
    assert figure(share(repeated), units, DRAWS) == pytest.approx(single)
    apart = figure(share(repeated), np.arange(200), DRAWS)
    assert (single.high - single.low) / (apart.high - apart.low) == pytest.approx(2, rel=0.15)


def test_the_order_of_rows_and_the_kind_of_units_do_not_matter():
    generator = np.random.default_rng(2)
    values, units = generator.normal(size=80), generator.integers(20, size=80)
    order = generator.permutation(80)
    first = figure(share(values), units, DRAWS)
    assert figure(share(values[order]), units[order], DRAWS) == pytest.approx(first)
    assert figure(share(values), np.array([f"word {unit:02d}" for unit in units]), DRAWS) == first
    assert figure(share(values), 1000 + 3 * units, DRAWS) == first  # gaps are no units


def test_the_same_seed_gives_the_same_numbers_and_another_one_others():
    values, units = np.arange(30.0), np.arange(30)
    first = figure(share(values), units, DRAWS)
    assert first == figure(share(values), units, DRAWS) and isinstance(first, Figure)
    other = figure(share(values), units, Draws(200, 4))
    assert other.value == first.value == 14.5 and other.low != first.low and other.high != first.high


def test_the_interval_is_that_of_the_percentiles_of_all_resamples():
    """Six units, values 0 and 1, three of each: the mean of the two middle resamples of 400 is that of all."""
    seen = []

    def statistic(weights):
        seen.append(weights)
        return share(np.array([0.0, 1.0] * 3))(weights)

    found = figure(statistic, np.arange(6), Draws(400, 0))
    *resamples, last = seen
    assert len(resamples) == 400 and last.tolist() == [1] * 6
    assert all(weights.sum() == 6 for weights in resamples)
    means = [weights[1::2].sum() / 6 for weights in resamples]
    assert found == (0.5, *np.percentile(means, [2.5, 97.5]))
    assert sum(weights[0] == 0 for weights in resamples) / 400 == pytest.approx((5 / 6) ** 6, abs=0.08)


@pytest.mark.parametrize("words", ["aaaaaa", "aaabbb", "abcdea"])
def test_of_fewer_than_six_units_there_is_no_interval_and_no_star(words):
    """Resamples stay between the least and the greatest unit, which may all lie on one side of the truth."""
    units = np.array(list(words))
    found = figure(share(np.arange(6.0)), units, DRAWS)
    assert found.value == 2.5 and np.isnan([found.low, found.high]).all()
    assert not np.isnan(figure(share(np.arange(6.0)), np.arange(6), DRAWS)).any()
    by_way = {"senses": share(np.ones(6)), "random": share(np.zeros(6))}
    table = pd.DataFrame(table_rows(("wic", "all", "accuracy"), by_way, units, 1, DRAWS))
    kept = plain({}, table)
    assert kept == json.loads(json.dumps(kept, allow_nan=False)) and kept["wic_accuracy_less_random_low"] is None
    assert measures_table(kept)["senses"].tolist() == ["1.000 [-, -]"]
    table["group"], table["measure"] = "n", "rand"
    shown = groups_table(pd.concat([table, table.tail(1).assign(by="one_sense")]))
    assert shown["senses"].tolist() == ["1.000 [-, -]"]


def test_resamples_of_one_kind_of_rows_are_left_out():
    positive = np.array([True, True, False] * 2)
    assert figure(auc(np.array([2.0, 3.0, 1.0] * 2), positive), np.arange(6), DRAWS) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("kind", [True, False])
def test_rows_of_one_kind_have_no_auc(kind):
    with pytest.raises(ValueError, match="rows of one kind"):
        auc(np.arange(3.0), np.full(3, kind))


# --- differences and tables ------------------------------------------------------------------------------------------


def test_a_statistic_less_itself_is_nothing_with_certainty():
    statistic = share(np.random.default_rng(4).normal(size=40))
    assert figure(difference(statistic, statistic), np.arange(40), DRAWS) == (0.0, 0.0, 0.0)


def test_a_difference_is_taken_on_the_same_resamples():
    values = np.random.default_rng(5).normal(size=40)
    found = figure(difference(share(values + 0.25), share(values)), np.arange(40), DRAWS)
    assert found == pytest.approx((0.25, 0.25, 0.25))


def test_a_table_has_a_row_for_each_way_and_what_senses_give_more():
    right = np.array([1.0, 1.0, 1.0, 0.0, 1.0, 1.0] * 2)
    by_way = {"senses": share(right), "random": share(right - 0.5), "better": share(right * 0 + 1)}
    units = np.array(list("aabbccddeeff"))
    rows = table_rows(("wic", "all", "accuracy"), by_way, units, 6, DRAWS)
    senses, random, better = rows
    assert [row["by"] for row in rows] == ["senses", "random", "better"]
    for row in rows:
        assert set(row) <= set(COLUMNS)
        assert [row[key] for key in ("set", "group", "measure", "rows", "words")] == ["wic", "all", "accuracy", 12, 6]
    assert set(COLUMNS) - set(senses) == {f"senses_less_{end}" for end in ("value", "low", "high")}
    assert set(random) == set(COLUMNS)
    assert senses["value"] == pytest.approx(5 / 6) and random["value"] == pytest.approx(1 / 3)
    assert 0.5 < senses["low"] < 5 / 6 < senses["high"] == 1 and better["low"] == better["high"] == 1
    more = [random[f"senses_less_{end}"] for end in ("value", "low", "high")]
    assert more == pytest.approx([0.5, 0.5, 0.5])
    less = [better[f"senses_less_{end}"] for end in ("value", "low", "high")]
    assert less == pytest.approx([-1 / 6, senses["low"] - 1, 0.0])
