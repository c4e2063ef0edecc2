import itertools
import json
import math

import numpy as np
import pytest
from scipy import special
from scipy.stats import binom, binomtest

from dskd.infra.randomness import uniform
from dskd.report import statistics
from dskd.report.statistics import (
    bootstrap_interval,
    compare,
    estimate,
    holm,
    mcnemar,
    of_units,
    outcome,
    paired_bootstrap,
    paired_standard_error,
    sign_flip_test,
    smallest_effect,
)

ITEMS = 100
# Five places of 200: at a level of 5 % one resample more or less decides nothing.
RESAMPLES = 199


def scores(seeds, of_seeds, of_items, draw, effect=0.0):
    """Scores of two objectives (seeds, ITEMS) that truly differ by `effect`. The mean difference has variance 1:
    `of_seeds` and `of_items` of it are effects of a seed on all items and of an item in all seeds, the rest noise."""
    noise = seeds * ITEMS * (1 - of_seeds - of_items)
    difference = (
        math.sqrt(of_seeds * seeds) * draw.normal(size=(seeds, 1))
        + math.sqrt(of_items * ITEMS) * draw.normal(size=ITEMS)
        + math.sqrt(noise) * draw.normal(size=(seeds, ITEMS))
    )
    a = 5 * draw.normal(size=(seeds, 1)) + 5 * draw.normal(size=ITEMS) + draw.normal(size=(seeds, ITEMS))
    return a, a + effect + difference


def right_or_wrong(seeds, of_seeds, of_items, draw):
    """0/1 scores of two objectives that on average differ in nothing; the arguments are deviations in logits."""

    def once(difficulty):
        own = of_seeds * draw.normal(size=(seeds, 1)) + of_items * draw.normal(size=ITEMS)
        return (draw.random((seeds, ITEMS)) < special.expit(0.3 + difficulty + own)).astype(float)

    difficulty = 1.5 * draw.normal(size=ITEMS)
    return once(difficulty), once(difficulty)


def rate(test, repetitions):
    """How often p <= 0.05, of `test(generator, repetition)`."""
    return np.mean([test(np.random.default_rng(r), r) <= 0.05 for r in range(repetitions)])


def near(share, repetitions):
    """Three binomial standard errors about a share."""
    return pytest.approx(share, abs=3 * math.sqrt(share * (1 - share) / repetitions))


def few_right(only_a, only_b, both=7, neither=4):
    a = np.repeat([1, 0, 1, 0], [only_a, only_b, both, neither])
    b = np.repeat([0, 1, 1, 0], [only_a, only_b, both, neither])
    return a, b


# Interval of a mean


def test_the_bootstrap_interval_covers_the_true_mean_about_as_often_as_it_says():
    draw, hits, repetitions = np.random.default_rng(0), 0, 300
    for r in range(repetitions):
        low, high = bootstrap_interval(draw.exponential(size=60), resamples=150, seed=r)
        hits += low <= 1.0 <= high
    # Percentile intervals of 60 skewed values are a little narrow (about 93 %); standard error 1.4 %.
    assert 0.89 <= hits / repetitions <= 0.975


def test_the_bootstrap_interval_has_the_width_of_the_normal_one_at_other_levels_too():
    values = np.random.default_rng(1).normal(3, 2, size=400)
    error = values.std() / math.sqrt(400)
    for level, z in ((0.95, 1.96), (0.5, 0.674)):
        low, high = bootstrap_interval(values, 2000, seed=0, level=level)
        assert low == pytest.approx(values.mean() - z * error, abs=0.15 * error)
        assert high == pytest.approx(values.mean() + z * error, abs=0.15 * error)


def test_one_seed_gives_one_interval_and_another_seed_another():
    values = np.random.default_rng(2).normal(size=50)
    assert bootstrap_interval(values, 200, 0) == bootstrap_interval(values.tolist(), 200, 0)
    assert bootstrap_interval(values, 200, 0) != bootstrap_interval(values, 200, 1)


def test_equal_values_have_an_interval_without_width():
    assert estimate(np.full(9, 0.25), 100, 0) == {"mean": 0.25, "low": 0.25, "high": 0.25}


@pytest.mark.parametrize("items", [1, 2, 5])
def test_fewer_than_six_items_have_no_interval(items):
    assert estimate(np.arange(items), 100, 0) == {"mean": (items - 1) / 2, "low": None, "high": None}
    assert np.isnan(bootstrap_interval(np.arange(items), 100, 0)).all()
    assert not np.isnan(bootstrap_interval(np.arange(6), 100, 0)).any()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_mean_of_what_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="scores must be finite"):
        estimate(np.array([1.0, value]), 100, 0)


# Comparison of two objectives


@pytest.mark.parametrize(
    "seeds, make, of_seeds, of_items",
    [
        (1, scores, 0.0, 1.0),
        (1, right_or_wrong, 0.0, 0.5),
        (3, scores, 0.9, 0.05),
        (3, right_or_wrong, 0.2, 0.5),
        (5, scores, 0.6, 0.1),
        (5, right_or_wrong, 0.2, 0.5),
    ],
)
def test_where_there_is_no_difference_one_is_found_as_often_as_the_level_says(seeds, make, of_seeds, of_items):
    def test(draw, r):
        return paired_bootstrap(*make(seeds, of_seeds, of_items, draw), RESAMPLES, r)["p"]

    assert rate(test, 1500) == near(0.05, 1500)


@pytest.mark.parametrize("seeds, of_seeds, of_items", [(3, 0.5, 0.25), (3, 0.0, 0.9), (5, 0.1, 0.5), (2, 0.5, 0.25)])
def test_whatever_the_mixture_of_chances_it_is_not_found_more_often(seeds, of_seeds, of_items):
    found = rate(lambda draw, r: paired_bootstrap(*scores(seeds, of_seeds, of_items, draw), RESAMPLES, r)["p"], 600)
    assert 0.005 < found < 0.06


def test_a_bootstrap_of_three_seeds_would_find_it_three_times_as_often_and_one_of_items_ten_times():
    """Why `paired_bootstrap` does not resample seeds, and why `p_items` is not p."""

    def of_both(draw, r):
        a, b = scores(3, 0.9, 0.05, draw)
        items, seeds = draw.integers(ITEMS, size=(RESAMPLES, ITEMS)), draw.integers(3, size=(RESAMPLES, 3))
        draws = np.array([(b - a)[s][:, i].mean() for s, i in zip(seeds, items)])
        return 2 * min((draws <= 0).sum() + 1, (draws >= 0).sum() + 1) / (RESAMPLES + 1)

    def of_items(draw, r):
        a, b = scores(3, 0.9, 0.05, draw)
        return sign_flip_test((b - a).mean(axis=0), RESAMPLES, r)

    assert rate(of_both, 300) > 0.1
    assert rate(of_items, 300) > 0.4


@pytest.mark.parametrize("of_seeds, of_items, seeds", [(0, 1, 1), (0.5, 0, 3), (0.5, 0.25, 3), (0.2, 0.6, 5)])
def test_the_smallest_effect_is_found_four_times_in_five(of_seeds, of_items, seeds):
    df = math.inf
    if seeds > 1:  # the interval's half width in this design, in its standard error, which is 1
        draw = np.random.default_rng(0)
        pivot = math.sqrt(of_items) * draw.normal(size=400_000)
        pivot += math.sqrt(1 - of_items) * draw.standard_t(seeds - 1, size=400_000)
        df = special.stdtridf(0.975, np.quantile(np.abs(pivot), 0.95))
    effect = smallest_effect(1.0, df=df)

    def test(draw, r):
        # Few resamples cost power of their own: 199 some 3 in 100.
        return paired_bootstrap(*scores(seeds, of_seeds, of_items, draw, effect), 999, r)["p"]

    assert rate(test, 500) == near(0.8, 500)


def test_the_standard_error_squared_is_on_average_the_variance_of_the_mean():
    for seeds, of_seeds, of_items in ((1, 0, 1), (3, 0.5, 0.25), (5, 0.1, 0.8)):
        errors = [
            paired_standard_error(*scores(seeds, of_seeds, of_items, np.random.default_rng(r))) for r in range(400)
        ]
        assert np.square(errors).mean() == pytest.approx(1, abs=0.15)


def test_the_standard_error_is_the_usual_one_where_one_chance_is_alone():
    draw = np.random.default_rng(3)
    d = draw.normal(size=(1, 40))
    assert paired_standard_error(0 * d, d) == pytest.approx(d.std(ddof=1) / math.sqrt(40))
    rows, columns = draw.normal(size=(3, 1)) + np.zeros((3, 40)), draw.normal(size=40) + np.zeros((3, 40))
    assert paired_standard_error(0 * rows, rows) == pytest.approx(rows[:, 0].std(ddof=1) / math.sqrt(3))
    assert paired_standard_error(0 * rows, columns) == pytest.approx(columns[0].std(ddof=1) / math.sqrt(40))


def test_of_one_seed_the_interval_is_that_of_the_bootstrap_over_items():
    draw = np.random.default_rng(4)
    a, b = draw.normal(size=(2, 1, 300))
    found = paired_bootstrap(a, b, 500, 1)
    low, high = bootstrap_interval((b - a)[0], 500, 1)
    assert found["mean"] == pytest.approx((b - a).mean())
    assert (found["low"], found["high"]) == (low, high)


def test_of_few_normal_items_the_interval_is_as_wide_as_student_s_t_makes_it():
    values = np.random.default_rng(5).normal(2, 3, size=8)
    low, high = bootstrap_interval(values, 20000, 0)
    error = values.std(ddof=1) / math.sqrt(8)
    assert high - low == pytest.approx(2 * special.stdtrit(7, 0.975) * error, rel=0.08)  # 1.2 times the bare one's


# Items of one unit


def test_a_unit_s_scores_have_the_mean_of_the_items_and_the_spread_of_a_ratio():
    draw = np.random.default_rng(6)
    units = np.repeat(["b", "a", "c"], [4, 1, 2])
    values = draw.normal(size=(2, 7))
    found = of_units(values, units)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found.mean(axis=1), values.mean(axis=1))
    for row, scores_ in zip(values, found):
        mean = row.mean()
        by_hand = [mean + n / (7 / 3) * (part.mean() - mean) for n, part in ((1, row[4:5]), (4, row[:4]), (2, row[5:]))]
        np.testing.assert_allclose(scores_, by_hand)
    np.testing.assert_allclose(of_units(values[0], units), found[0])
    np.testing.assert_allclose(of_units(values, np.arange(7)), values)


def test_documents_whose_blocks_are_alike_give_wider_intervals_than_their_blocks():
    """What a text of three articles looked like: as if each of its blocks stood for another text."""
    documents = np.repeat(np.arange(30), 10)

    def test(draw, r, of):
        values = draw.normal(size=30)[documents] + 0.3 * draw.normal(size=300)
        return paired_bootstrap(of(0 * values[None]), of(values[None]), RESAMPLES, r)["p"]

    assert rate(lambda draw, r: test(draw, r, lambda values: of_units(values, documents)), 400) == near(0.05, 400)
    assert rate(lambda draw, r: test(draw, r, lambda values: values), 100) > 0.4


# Equivalence


def test_equivalence_is_the_larger_of_two_one_sided_tests():
    """Seeds alone differ, so the draws are Student's t about the mean: p by hand."""
    rows = np.array([[0.1], [0.4], [0.9]]) + np.zeros((3, 20))
    error, mean = np.std([0.1, 0.4, 0.9], ddof=1) / math.sqrt(3), 1.4 / 3
    found = paired_bootstrap(0 * rows, rows, 20000, 0, margin=1.5)
    assert found["p_equivalent"] == pytest.approx(special.stdtr(2, (mean - 1.5) / error), rel=0.1)
    back = paired_bootstrap(rows, 0 * rows, 20000, 0, margin=1.5)
    assert back["p_equivalent"] == pytest.approx(found["p_equivalent"], rel=0.15)
    far = paired_bootstrap(0 * rows, rows - 3, 20000, 0, margin=1.5)
    assert far["p_equivalent"] > 0.9


def test_equivalence_is_shown_where_the_90_percent_interval_lies_within_the_margin():
    kinds = set()
    for r in range(150):
        a, b = scores(3, 0.1, 0.4, np.random.default_rng(r))
        for margin in (2.0, 3.0):
            found = paired_bootstrap(a, b, 999, r, level=0.9, margin=margin)
            kinds.add(found["p_equivalent"] < 0.05)
            if not 0.045 < found["p_equivalent"] < 0.055:
                assert (found["p_equivalent"] < 0.05) == (-margin < found["low"] and found["high"] < margin)
    assert kinds == {True, False}


@pytest.mark.parametrize("seeds, of_seeds, of_items", [(1, 0, 1), (3, 0.9, 0.05), (5, 0.6, 0.1)])
def test_objectives_that_differ_by_the_margin_are_called_equivalent_as_often_as_the_level_says(
    seeds, of_seeds, of_items
):
    def test(draw, r):
        sign = 1 if r % 2 else -1
        a, b = scores(seeds, of_seeds, of_items, draw, effect=sign * 6.0)
        return paired_bootstrap(a, b, RESAMPLES, r, margin=6.0)["p_equivalent"]

    assert rate(test, 800) == near(0.05, 800)


def test_the_outcome_says_what_the_two_tests_show():
    assert outcome(0.04, 0.2, 0.01) == "different"
    assert outcome(0.06, 0.04, 0.01) == "equivalent within 0.01"
    assert outcome(0.04, 0.04, 0.02) == "different and equivalent within 0.02"
    assert outcome(0.05, 0.05, 0.01) == "undecided"


def test_a_comparison_with_a_margin_says_what_comes_out():
    a, b = scores(3, 0.1, 0.4, np.random.default_rng(0))
    plain = compare(a, b, 999, 0)
    for margin, expected in ((100.0, "equivalent within 100"), (1e-6, "undecided")):
        found = compare(a, b, 999, 0, margin)
        assert found["outcome"] == expected and found["margin"] == margin
        assert {key: found[key] for key in plain} == plain
    for margin in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="margin must be above 0"):
            compare(a, b, 99, 0, margin)


def test_where_seeds_alone_differ_the_interval_is_that_of_student_s_t():
    rows = np.array([[0.1], [0.4], [0.9]]) + np.zeros((3, 20))
    found = paired_bootstrap(0 * rows, rows, 20000, 0)
    error = np.std([0.1, 0.4, 0.9], ddof=1) / math.sqrt(3)
    width = special.stdtrit(2, 0.975) * error
    assert found["high"] - found["mean"] == pytest.approx(width, rel=0.06)
    assert found["mean"] - found["low"] == pytest.approx(width, rel=0.06)
    assert found["p"] == pytest.approx(2 * special.stdtr(2, -found["mean"] / error), rel=0.06)
    assert compare(0 * rows, rows, 20000, 0)["smallest_effect"] == pytest.approx(smallest_effect(error, df=2), rel=0.06)


def test_p_and_the_interval_say_the_same():
    kinds = set()
    for r in range(200):
        a, b = scores(3, 0.3, 0.4, np.random.default_rng(r), effect=3.0)
        found = paired_bootstrap(a, b, 999, r)
        kinds.add(found["p"] < 0.05)
        if not 0.04 < found["p"] < 0.06:
            assert (found["p"] < 0.05) == (not found["low"] <= 0 <= found["high"])
    assert kinds == {True, False}


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_comparison_follows_the_scale_and_not_the_place_of_its_scores(seeds):
    a, b = scores(seeds, 0.3 if seeds > 1 else 0, 0.6, np.random.default_rng(5))
    found = compare(a, b, 400, 0)
    twice = compare(2 * a, 2 * b, 400, 0)
    moved = compare(a + a, b + a, 400, 0)
    for key, value in found.items():
        scale = 1 if key in ("p", "p_items", "seeds") else 2
        assert twice[key] == scale * value
        assert moved[key] == pytest.approx(value)
    back = compare(b, a, 400, 0)
    assert back["mean"] == -found["mean"] and back["p_items"] == found["p_items"]
    if seeds == 1:
        assert (back["low"], back["high"]) == pytest.approx((-found["high"], -found["low"]))
    else:
        assert compare(a[::-1], b[::-1], 400, 0) == pytest.approx(found)


def test_a_comparison_is_the_same_bytes_for_one_seed_and_goes_into_json():
    a, b = scores(3, 0.3, 0.6, np.random.default_rng(6))
    one, again, other = (json.dumps(compare(a, b, 300, seed), allow_nan=False) for seed in (0, 0, 1))
    assert one == again and one != other
    assert list(json.loads(one)) == ["mean", "low", "high", "p", "p_items", "smallest_effect", "seeds"]
    assert json.loads(one)["seeds"] == 3


def test_for_one_seed_a_comparison_has_the_tests_and_the_power_of_items():
    a, b = (x[None, :] for x in few_right(30, 12, 100, 58))
    found = compare(a, b, 20000, 0)
    assert found["p_items"] == pytest.approx(mcnemar(a[0], b[0]).p, rel=0.15)
    assert found["p"] == pytest.approx(0.0046, abs=0.002)  # the normal one: 18 of sqrt(42 - 18^2 / 200)
    assert found["smallest_effect"] == pytest.approx(2.8 * math.sqrt(42 - 18**2 / 200) / 200, rel=0.04)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("less", [0.0, 0.1])  # with 0.1 the differences are equal but for rounding
def test_differences_that_do_not_vary_are_no_surer_than_the_exact_test_says(seeds, less):
    a = less * np.arange(5) + np.zeros((seeds, 5))
    found = compare(a, a + 1, 1999, 0, margin=0.5)
    assert found["p"] == found["p_items"] == 2 / 2**5 and found["outcome"] == "undecided"


@pytest.mark.parametrize("seeds", [1, 3])
def test_equal_scores_say_as_much_as_that_none_of_so_many_items_differed(seeds):
    a = np.random.default_rng(7).normal(size=(seeds, 30))
    found = compare(a, a.copy(), 9999, 0, margin=0.02)
    bound = 1 - 0.025 ** (1 / 30)
    assert (found["low"], found["high"]) == pytest.approx((-bound, bound))
    assert (found["mean"], found["p"], found["p_items"], found["seeds"]) == (0, 1, 1, seeds)
    assert found["p_equivalent"] == pytest.approx(0.98**30)
    assert found["outcome"] == "undecided"
    assert binom.sf(5, 30, found["smallest_effect"]) == pytest.approx(0.8)
    many = np.zeros((seeds, 149))
    assert compare(many, many, 9999, 0, margin=0.02)["outcome"] == "equivalent within 0.02"


def test_of_few_items_that_differ_each_side_has_its_own_bound():
    b = np.zeros((1, 40))
    b[0, :3], b[0, 3] = 1, -1  # b is ahead on three items and behind on one
    found = compare(np.zeros((1, 40)), b, 999, 0, margin=0.1)
    upper = binomtest(3, 40).proportion_ci(0.95).high
    lower = -binomtest(1, 40).proportion_ci(0.95).high
    assert found["low"] == pytest.approx(lower) and found["high"] == pytest.approx(upper)
    assert found["p_equivalent"] == pytest.approx(binom.cdf(3, 40, 0.1))
    b[0, 4:6] = 1  # a fifth and a sixth
    plain = paired_bootstrap(np.zeros((1, 40)), b, 999, 0, margin=0.1)
    assert compare(np.zeros((1, 40)), b, 999, 0, margin=0.1).items() >= plain.items()


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(("items", "ahead"), [(30, 3), (300, 4), (300, 5)])
def test_fewer_than_six_items_that_differ_show_no_difference(seeds, items, ahead):
    """All one way: the sign test has no p below .05 then, and resamples had .049, .02 and .008."""
    b = np.zeros((seeds, items))
    b[:, :ahead] = 1
    found = compare(np.zeros((seeds, items)), b, 9999, 0, margin=0.001)
    assert found["p"] == found["p_items"] == pytest.approx(2 / 2**ahead) and found["outcome"] == "undecided"


@pytest.mark.parametrize("items", [6, 20, 30, 100, 300])
@pytest.mark.parametrize("ahead", [0.03, 0.04])
def test_rare_differences_beyond_the_margin_are_called_equivalent_no_more_often_than_the_level_says(items, ahead):
    """Scores of 0 and 1, of which one in thirty differs: .03 between them, where .02 is the margin."""

    def test(draw, r):
        difference = (draw.random(items) < ahead).astype(float) - (draw.random(items) < ahead - 0.03)
        return compare(np.zeros((1, items)), difference[None], 199, r, margin=0.02)["p_equivalent"]

    assert rate(test, 400) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize(("right", "low", "high"), [(0, 0, 0.1157), (2, 0.0082, 0.2207), (30, 0.8843, 1)])
def test_a_share_that_is_nearly_none_or_all_has_the_exact_interval(right, low, high):
    values = np.zeros(30)
    values[:right] = 1
    found = estimate(values, 999, 0, share=True)
    bare = bootstrap_interval(values, 999, 0)
    assert found["low"] == pytest.approx(min(low, bare[0]), abs=1e-4)
    assert found["high"] == pytest.approx(max(high, bare[1]), abs=1e-4)
    assert estimate(values, 999, 0) == {"mean": right / 30, "low": bare[0], "high": bare[1]}


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_difference_without_any_chance_has_an_interval_without_width(seeds):
    a = np.zeros((seeds, 30))
    found = paired_bootstrap(a, a + 0.25, 99, 0)
    assert found == {"mean": 0.25, "low": 0.25, "high": 0.25, "p": 0.02}


def test_seeds_that_tie_by_chance_do_not_make_the_interval_vanish():
    b = np.eye(3, 12)  # every seed has one item right, each another
    found = compare(np.zeros((3, 12)), b, 400, 0)
    items = b.mean(axis=0)
    assert paired_standard_error(0 * b, b) == pytest.approx(items.std(ddof=1) / math.sqrt(12))
    assert found["low"] < 1 / 12 < found["high"]


@pytest.mark.parametrize("function", [compare, paired_bootstrap])
def test_scores_that_are_no_pairs_are_refused(function):
    ones = np.ones((2, 5))
    for a, b in ((ones, ones[:1]), (ones, ones[:, :4]), (ones[0], ones[0]), (ones[:, :1],) * 2, (ones[:0],) * 2):
        with pytest.raises(ValueError, match=r"\(seeds, items\) with at least two items"):
            function(a, b, 10, 0)
    with pytest.raises(ValueError, match="finite"):
        function(ones, ones * math.nan, 10, 0)


# Power


def test_the_smallest_effect_has_the_known_factors():
    assert smallest_effect(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-6)
    assert smallest_effect(0.5, alpha=0.01, power=0.9) == pytest.approx((2.575829 + 1.281552) / 2, abs=1e-6)
    assert smallest_effect(1.0, df=1e4) == pytest.approx(smallest_effect(1.0), rel=1e-3)
    for df, alpha, power in ((2, 0.05, 0.8), (9, 0.01, 0.9)):  # by simulation of the t itself
        draw = np.random.default_rng(8)
        shift = smallest_effect(1.0, alpha, power, df)
        t = (draw.normal(size=100_000) + shift) / np.sqrt(draw.chisquare(df, size=100_000) / df)
        assert (np.abs(t) > special.stdtrit(df, 1 - alpha / 2)).mean() == pytest.approx(power, abs=0.006)
    assert smallest_effect(0.0) == smallest_effect(0.0, df=2) == 0


# McNemar and sign flips


def test_mcnemar_is_the_binomial_test_of_the_items_that_differ():
    assert mcnemar(*few_right(10, 2)) == (pytest.approx(2 * (1 + 12 + 66) / 2**12), 10, 2)
    assert mcnemar(*few_right(0, 5)) == (pytest.approx(2 / 32), 0, 5)
    assert mcnemar(*few_right(4, 4)).p == 1
    assert mcnemar(*few_right(0, 0)) == (1.0, 0, 0)
    for only_a, only_b in ((1, 0), (3, 11), (40, 61)):
        assert mcnemar(*few_right(only_a, only_b)).p == pytest.approx(binomtest(only_a, only_a + only_b).pvalue)


def test_mcnemar_does_not_depend_on_which_is_first_on_order_or_on_items_that_agree():
    a, b = few_right(9, 3)
    order = np.random.default_rng(0).permutation(len(a))
    assert mcnemar(a[order].astype(bool), b[order].astype(bool)) == mcnemar(a, b)
    assert mcnemar(b, a) == (mcnemar(a, b).p, 3, 9)
    assert mcnemar(*few_right(9, 3, both=500)).p == mcnemar(a, b).p


def test_mcnemar_finds_a_difference_where_there_is_none_at_most_as_often_as_the_level_says():
    """All outcomes, weighed by their probability, for every number of items that differ."""
    for different in (1, 5, 6, 12, 30, 75):
        p = np.array([mcnemar(*few_right(k, different - k)).p for k in range(different + 1)])
        found = binom.pmf(np.arange(different + 1), different, 0.5)[p <= 0.05].sum()
        assert found <= 0.05
        assert found > (0 if different > 5 else -1)  # from six items on it can find one


@pytest.mark.parametrize(
    "a, b, line",
    [
        ([1, 0], [1, 0, 1], r"\(items,\)"),
        ([[1, 0]], [[1, 0]], r"\(items,\)"),
        ([1, 0.5], [1, 0], "scores 0 and 1"),
        ([1, 0], [1, math.nan], "scores 0 and 1"),
    ],
)
def test_mcnemar_refuses_all_but_pairs_of_0_and_1(a, b, line):
    with pytest.raises(ValueError, match=line):
        mcnemar(np.array(a), np.array(b))


@pytest.mark.parametrize("only_a, only_b", [(1, 0), (5, 0), (7, 3), (4, 4), (10, 2)])
def test_flipping_signs_is_mcnemar_s_test_for_0_and_1(only_a, only_b):
    a, b = few_right(only_a, only_b)
    assert sign_flip_test(b - a, 2 ** (only_a + only_b), 0) == pytest.approx(mcnemar(a, b).p, rel=1e-12)


@pytest.mark.parametrize("only_a, only_b", [(7, 3), (60, 38), (300, 260)])
def test_and_close_to_it_where_the_patterns_are_drawn(only_a, only_b):
    a, b = few_right(only_a, only_b)
    p = mcnemar(a, b).p
    assert sign_flip_test(b - a, 1000, 3) == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 1000) + 0.002)


def test_flipping_signs_tries_every_pattern_where_they_are_few():
    thirds = np.array([1 / 3, -1 / 3, 1, 2 / 3, 2 / 3, 1 / 3, -2 / 3, 1, 0, 1 / 3])  # three seeds; sums tie
    for values in (thirds, np.random.default_rng(9).normal(0.5, size=11)):
        sums = [abs(np.dot(signs, values)) for signs in itertools.product((-1, 1), repeat=len(values))]
        true = np.mean(np.array(sums) >= abs(values.sum()) - 1e-9)
        assert sign_flip_test(values, 2**11, 0) == pytest.approx(true, abs=1e-12)
        assert sign_flip_test(-values[::-1], 2**11, 5) == pytest.approx(true, abs=1e-12)
        assert sign_flip_test(values, 500, 0) == pytest.approx(true, abs=0.09)


def test_drawn_patterns_are_the_seed_s():
    values = np.random.default_rng(10).normal(0.1, size=150)
    assert sign_flip_test(values, 700, 0) == sign_flip_test(list(values), 700, 0)
    assert len({sign_flip_test(values, 700, seed) for seed in range(5)}) > 1
    assert sign_flip_test(values + 10, 700, 0) == 1 / 701


def test_flipping_signs_finds_a_difference_where_there_is_none_as_often_as_the_level_says():
    def test(draw, r):
        a, b = right_or_wrong(3, 0, 0.5, draw)
        return sign_flip_test((b - a).mean(axis=0), RESAMPLES, r)

    assert rate(test, 1500) == near(0.05, 1500)


def test_no_difference_at_all_is_no_evidence_and_no_array_of_numbers_is_refused():
    assert sign_flip_test(np.zeros(8), 100, 0) == sign_flip_test(np.zeros(0), 100, 0) == 1
    for values in (np.zeros((2, 2)), np.array([1, math.nan])):
        with pytest.raises(ValueError, match=r"\(items,\) and finite"):
            sign_flip_test(values, 100, 0)


# Holm


def test_holm_by_hand():
    # In order .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and none below the one before.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.4, 0.5]), [1, 1, 1])
    np.testing.assert_allclose(holm([0.02, 0.02]), [0.04, 0.04])
    assert holm([0.03]).tolist() == [0.03] and holm([]).tolist() == []


def test_holm_leaves_out_what_was_not_tested():
    nan = math.nan
    np.testing.assert_allclose(holm([nan, 0.01, nan, 0.04, 0.03, 0.005]), [nan, 0.03, nan, 0.06, 0.06, 0.02])
    np.testing.assert_equal(holm([nan, nan]), [nan, nan])


def test_holm_keeps_the_order_and_stands_between_p_and_bonferroni_s():
    p = np.random.default_rng(11).random(40) ** 3
    adjusted = holm(p)
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
    assert (adjusted >= p).all() and (adjusted <= np.minimum(40 * p, 1)).all()
    order = np.random.default_rng(12).permutation(40)
    np.testing.assert_array_equal(holm(p[order]), adjusted[order])


def test_holm_finds_anything_at_all_among_nothing_as_often_as_the_level_says():
    draw = np.random.default_rng(13)
    found = np.mean([(holm(draw.random(8)) <= 0.05).any() for _ in range(2000)])
    assert found == near(1 - (1 - 0.05 / 8) ** 8, 2000)


@pytest.mark.parametrize("p", [[0.5, 1.5], [-0.1], [[0.1, 0.2]], 0.1])
def test_holm_refuses_what_is_no_list_of_probabilities(p):
    with pytest.raises(ValueError, match="from 0 to 1 or NaN"):
        holm(p)


def test_no_number_is_drawn_twice(monkeypatch):
    """Else the chance of seeds would go up and down with that of the items."""
    streams = []

    def recorded(*keys):
        streams.append(
            {tuple(map(int, key)) for key in np.stack(np.broadcast_arrays(*keys), axis=-1).reshape(-1, len(keys))}
        )
        return uniform(*keys)

    monkeypatch.setattr(statistics, "uniform", recorded)
    paired_bootstrap(*scores(3, 0.3, 0.4, np.random.default_rng(0)), 1200, 7)
    assert len(streams) > 1 and {key[0] for stream in streams for key in stream} == {7}
    assert sum(map(len, streams)) == len(set().union(*streams)) == 1200 * (ITEMS + 2)
