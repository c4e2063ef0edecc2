"""Intervals, tests and power of means and of paired differences: arrays in, numbers out."""

from typing import NamedTuple

import numpy as np
from scipy import special, stats

from dskd.infra.randomness import FEWEST_UNITS, hash_integers, tells_of_others, uniform

LEVEL = 0.05  # of every test
_FEW = 5  # of items that differ: with fewer, resamples know too little of those that might


def bootstrap_interval(values: np.ndarray, resamples: int, seed: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean of `values` (n,) under resampling of its items: percentiles of `_draws_of_items`. Of too
    few (`tells_of_others`) it is NaN.

    For a difference of two models give the differences item by item: the comparison is then paired.

    Raises:
        ValueError: a value that is not finite.
    """
    values = finite(values)
    if not tells_of_others(len(values)):
        return np.nan, np.nan
    return _percentiles(values.mean() + _draws_of_items(values, resamples, seed), level)


def finite(scores: np.ndarray) -> np.ndarray:
    """The scores as float64; ValueError where one is not finite, since a rank or a mean of it looks like any other."""
    scores = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    return scores


def of_units(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Scores of units that hold several items each, as documents hold blocks: (..., units), units sorted by name.

    A unit with n items counts n times. With R the mean of a row's items, m that of a unit's, and w the mean number of
    items in a unit, the unit's score is R + (n / w)(m - R), the linear form of a ratio of sums (Cochran 1977, chapter
    6). So the scores have the mean of the items, and their variance is that of this mean if other units are drawn. All
    intervals and tests here can take them in the place of items.

    Args:
        values: (..., items); units: (items,) the name of each item's unit.
    """
    values = np.asarray(values, dtype=np.float64)
    _, unit_of, counts = np.unique(units, return_inverse=True, return_counts=True)
    sums = values @ np.eye(len(counts))[unit_of]
    mean = values.mean(axis=-1, keepdims=True)
    return mean + (sums - counts * mean) / counts.mean()


def estimate(values: np.ndarray, resamples: int, seed: int, *, share: bool = False) -> dict[str, float | None]:
    """Mean and 95 % interval, as they stand in a metrics file: None for an interval that there is not.

    Args:
        share: the scores go from 0 to 1. Where fewer than five are not 0, or not 1, the interval reaches at least to
            Clopper and Pearson's (1934) bound: of 30 items none of which is right, it is 0 to .116.
    """
    low, high = bootstrap_interval(values, resamples, seed)
    there = tells_of_others(len(values))
    if there and share:
        not_0, not_1 = (int((np.asarray(values) != end).sum()) for end in (0, 1))
        high = max(high, _rate_bound(not_0, len(values))) if not_0 < _FEW else high
        low = min(low, 1 - _rate_bound(not_1, len(values))) if not_1 < _FEW else low
    return {"mean": float(np.mean(values)), "low": low if there else None, "high": high if there else None}


def _rate_bound(count: int, n: int, level: float = 1 - LEVEL / 2) -> float:
    """The upper bound of a rate of which `count` of n were seen, one-sided at `level` (Clopper and Pearson 1934)."""
    return 1.0 if count >= n else float(special.betaincinv(count + 1, n - count, level))


def _resampled_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of `values` (n,) over n items drawn with replacement: (resamples,) float64."""
    values = np.asarray(values, dtype=np.float64)
    items = np.arange(len(values))
    means = [  # some hundred resamples at a time: quick, and memory does not grow with their number
        values[(uniform(seed, rows[:, None], items) * len(values)).astype(np.int64)].mean(axis=1)
        for rows in _chunks(resamples)
    ]
    return np.concatenate(means)


def _draws_of_items(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How far means of other items may lie from the mean of `values` (n,): (resamples,) float64.

    Deviations of resampled means (Efron 1979) vary (n - 1) / n too little, and as if the variance were known. Over
    sqrt(chi2 / (n - 1)), n - 1 its degrees of freedom, they spread as Student's t does for normal items: of 30
    documents the bare bootstrap finds a difference where there is none 6 to 8 times in 100 (docs/trials/power.csv).
    """
    n = len(values)
    chance = uniform(seed, np.arange(resamples), n + 1) + 2.0**-54  # a stream of its own
    spread = np.sqrt(special.chdtri(n - 1, chance) / (n - 1))
    return np.sqrt(n / (n - 1)) * (_resampled_means(values, resamples, seed) - values.mean()) / spread


def _chunks(resamples: int) -> list[np.ndarray]:
    return np.array_split(np.arange(resamples), -(-resamples // 500))


def _percentiles(draws: np.ndarray, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _rate_for(count: int, n: int) -> float:
    """The rate at which 80 % of repetitions have at least `count` of n."""
    return float(special.betaincinv(count, n - count + 1, 0.8)) if n >= count else 1.0


def compare(
    a: np.ndarray, b: np.ndarray, resamples: int, seed: int, margin: float | None = None
) -> dict[str, float | str]:
    """What there is to say of the difference b - a between two objectives' scores, both (seeds, items).

    Args:
        margin: the difference that is too small to matter.

    Returns:
        mean, low, high, p, and with a margin margin and p_equivalent: of `paired_bootstrap`: other items and, where
            there are two seeds or more, other seeds. Where all differences are one number, or fewer than six items
            differ, too little shows how others would vary, and p is p_items at least; where still fewer differ, the
            rest is that of `_of_few`.
        p_items: of `sign_flip_test` on the differences averaged over seeds: would these very models, trained as
            they are, differ on other items? For one seed's 0/1 scores it is McNemar's test.
        smallest_effect: the true difference that this design finds in 80 % of its repetitions; an estimate, as
            good as the variances in it.
        seeds: how many; where it is 1, nothing here knows of the chance that lies in a seed.
        outcome: with a margin, `outcome` of the two p values.

    Raises:
        ValueError: as `paired_bootstrap`.
    """
    found = paired_bootstrap(a, b, resamples, seed, margin=margin)
    error, half = paired_standard_error(a, b), (found["high"] - found["low"]) / 2
    # The degrees of freedom at which Student's t has as wide an interval: with them the power comes out right for
    # any mixture of the two chances (simulated: 79 to 81 %). Below 1.97 errors they are hundreds or none.
    df = float(special.stdtridf(0.975, half / error)) if half > 1.97 * error > 0 else np.inf
    differences = _differences(a, b)
    p_items = sign_flip_test(differences.mean(axis=0), resamples, seed)
    few = np.count_nonzero(differences.mean(axis=0)) < FEWEST_UNITS
    if few or np.ptp(differences) <= 1e-9 * np.abs(differences).max():
        found["p"] = max(found["p"], p_items)
    found |= {
        "p_items": p_items,
        "smallest_effect": smallest_effect(error, df=df),
        "seeds": len(differences),
    }
    found |= _of_few(differences.mean(axis=0), found)
    return found if margin is None else found | {"outcome": outcome(found["p"], found["p_equivalent"], margin)}


def _of_few(differences: np.ndarray, found: dict) -> dict[str, float]:
    """What becomes less sure of `found` where fewer than five items (n,) differ. Resamples then take the few for all
    that there are: of 20 items that do not differ, they would make an interval of no width.

    Scores lie from 0 to 1. So the true difference is at most the share of items, among all there could be, on which b
    is ahead, and at least minus the share on which a is. low and high reach at least to these shares' bounds
    (`_rate_bound`). p_equivalent is at least the chance of so few, if the share were the margin. smallest_effect is at
    least the share of which 80 % of repetitions have six items or more, the fewest that the sign test can tell.
    """
    ahead, behind, n = int((differences > 0).sum()), int((differences < 0).sum()), len(differences)
    if ahead + behind >= _FEW:
        return {}
    less = {
        "low": min(found["low"], -_rate_bound(behind, n)),
        "high": max(found["high"], _rate_bound(ahead, n)),
        "smallest_effect": max(found["smallest_effect"], _rate_for(FEWEST_UNITS, n)),
    }
    if "margin" in found:
        chance = float(stats.binom.cdf(max(ahead, behind), n, min(found["margin"], 1)))
        less["p_equivalent"] = max(found["p_equivalent"], chance)
    return less


def outcome(p: float, p_equivalent: float, margin: float) -> str:
    """What two tests together say: "different", "equivalent within MARGIN", both, or "undecided"."""
    said = ["different"] * (p < LEVEL) + [f"equivalent within {margin:g}"] * (p_equivalent < LEVEL)
    return " and ".join(said) or "undecided"


def paired_bootstrap(
    a: np.ndarray, b: np.ndarray, resamples: int, seed: int, level: float = 0.95, margin: float | None = None
) -> dict[str, float]:
    """Mean difference b - a, its interval and two-sided p value, over other seeds and other items; with a margin also
    the p value of equivalence.

    All of them are counts among draws of what the true difference may be, given the scores d (S seeds, I items):

        mean(d) + sqrt(V_items / V_columns) e + sqrt(V_seeds) t

    e is a deviation of `_draws_of_items` of the I column means, whose variance is V_columns; t is Student's with S - 1
    degrees of freedom. V_seeds = (s² + n²/I) / S and V_items = i² / I, where s², i² and n² are the variances of seeds,
    items and single scores that the analysis of variance gives, none below 0. The two-sided test asks how many draws
    lie beyond 0. Equivalence is two one-sided tests (Schuirmann 1987): the larger of the shares beyond -margin and
    beyond +margin. It is below .05 where the 90 % interval lies within the margin.

    Items are resampled. Seeds are not: no bootstrap is right for a crossed table (McCullagh 2000), and one that
    resamples three seeds takes them for all there are and finds a difference where there is none up to 25 times in
    100. What other seeds would give is Student's t of those at hand, a generalised pivot (Weerahandi 1993) with the
    variance of Dorfman, Berbaum and Metz (1992) as Hillis (2007) has it; his approximate degrees of freedom err up
    to 8 times in 100 with three seeds, the pivot nowhere above the nominal 5 (tests/report/test_statistics.py).

    Args:
        a, b: (seeds, items) scores of two objectives in one unit; in a row the same seed, in a column the same
            item. With one seed the result is about other items only.

    Returns:
        mean, low, high, and p = 2 min(#{x <= 0} + 1, #{x >= 0} + 1) / (resamples + 1), at most 1, for the draws x: it
        is below 1 - level where the interval leaves out 0, up to the rounding of a count. With a margin also margin
        and p_equivalent = (max(#{x <= -margin}, #{x >= margin}) + 1) / (resamples + 1).

    Raises:
        ValueError: not two equal shapes (seeds, items), fewer than two items, a score that is not finite, or a margin
            that is not above 0.
    """
    if margin is not None and not margin > 0:
        raise ValueError(f"a margin must be above 0, not {margin}")
    differences = _differences(a, b)
    seeds, items = differences.shape
    of_seeds, _, share = _variances(differences)
    columns = differences.mean(axis=0)
    mean = columns.mean()
    # The items' means vary with the noise, too, that the seeds' means have already.
    draws = mean + np.sqrt(share) * _draws_of_items(columns, resamples, seed)
    if seeds > 1:
        chance = uniform(seed, np.arange(resamples), items) + 2.0**-54  # a stream of its own, and never 0
        draws += np.sqrt(of_seeds) * special.stdtrit(seeds - 1, chance)
    low, high = _percentiles(draws, level)
    tail = min((draws <= 0).sum(), (draws >= 0).sum()) + 1
    found = {"mean": float(mean), "low": low, "high": high, "p": min(1.0, float(2 * tail / (resamples + 1)))}
    if margin is None:
        return found
    beyond = max((draws <= -margin).sum(), (draws >= margin).sum()) + 1
    return found | {"margin": margin, "p_equivalent": float(beyond / (resamples + 1))}


def paired_standard_error(a: np.ndarray, b: np.ndarray) -> float:
    """Standard error of the mean difference b - a over other seeds and items, that of `paired_bootstrap`."""
    of_seeds, of_items, _ = _variances(_differences(a, b))
    return float(np.sqrt(of_seeds + of_items))


def _differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = finite(a), finite(b)
    if a.ndim != 2 or a.shape != b.shape or a.shape[0] < 1 or a.shape[1] < 2:
        raise ValueError(f"scores must both be (seeds, items) with at least two items, not {a.shape} and {b.shape}")
    return b - a


def _variances(differences: np.ndarray) -> tuple[float, float, float]:
    """Parts of the variance of the mean of (seeds, items): of seeds, with the noise of single scores; of items,
    without it; and the share of the latter in the variance of the items' means."""
    seeds, items = differences.shape
    rows, columns = differences.mean(axis=1), differences.mean(axis=0)
    ms_items = seeds * columns.var(ddof=1)
    if seeds == 1 or np.ptp(rows) == 0:  # seeds that tie by chance tell nothing of others: all there is, is items
        return 0.0, ms_items / (seeds * items), 1.0
    ms_seeds = items * rows.var(ddof=1)
    rest = differences - rows[:, None] - columns + differences.mean()
    ms_rest = (rest**2).sum() / ((seeds - 1) * (items - 1))
    spread = max(ms_items - ms_rest, 0.0)
    return ms_seeds / (seeds * items), spread / (seeds * items), spread / ms_items if spread else 0.0


def smallest_effect(standard_error: float, alpha: float = 0.05, power: float = 0.8, df: float = np.inf) -> float:
    """The true difference that a two-sided test at level `alpha` finds with probability `power`.

    (z_(1 - alpha/2) + z_power) standard errors; with `df` degrees of freedom in the standard error the shift of the
    noncentral t that does the same (Cohen 1988, section 2.2), more than the sum of two quantiles of t.
    """
    if not np.isfinite(df):
        return float((special.ndtri(1 - alpha / 2) + special.ndtri(power)) * standard_error)
    return float(special.nctdtrinc(df, 1 - power, special.stdtrit(df, 1 - alpha / 2)) * standard_error)


class McNemar(NamedTuple):
    """Exact two-sided p value, and the numbers of items that only the one and only the other has right."""

    p: float
    only_a: int
    only_b: int


def mcnemar(a: np.ndarray, b: np.ndarray) -> McNemar:
    """McNemar's (1947) exact test of two models' 0/1 scores (n,) on the same items: binomial on those that differ.

    For one seed: the same item under several seeds is not several items. See `sign_flip_test`.

    Raises:
        ValueError: not two arrays (n,) of one length, or a score other than 0 and 1.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"scores must both be (items,), not {a.shape} and {b.shape}")
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        raise ValueError("McNemar's test is for scores 0 and 1")
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    p = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return McNemar(float(p), only_a, only_b)


def sign_flip_test(differences: np.ndarray, resamples: int, seed: int) -> float:
    """Two-sided p value of a mean of zero, by flipping the signs of `differences` (n,) (Fisher 1935; Dror et al. 2018).

    One difference an item: several seeds are averaged first, and are then taken as they are. Where there are no more
    than `resamples` patterns of signs all are tried, and for 0/1 scores the result is McNemar's; else as many are
    drawn and (count + 1) / (resamples + 1) is returned.

    Raises:
        ValueError: not an array (n,) of finite numbers.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"differences must be (items,) and finite, not {values.shape}")
    values = values[values != 0]
    if not len(values):
        return 1.0
    count = len(values)
    exact = count < 63 and 2**count <= resamples
    words = -(-count // 64)
    # Eight signs at a time: the 256 possible sums of every eight differences, looked up by the bytes of a pattern.
    eights = np.zeros(64 * words)
    eights[:count] = values
    signs = 2.0 * ((np.arange(256)[:, None] >> np.arange(8)) & 1) - 1
    sums = (eights.reshape(-1, 1, 8) * signs).sum(axis=2)
    # Equal sums in another order differ by rounding, and must count as equal.
    bound = abs(values.sum()) - 1e-9 * np.abs(values).sum()
    extreme = 0
    for rows in _chunks(2**count if exact else resamples):
        pattern = rows[:, None].astype(np.uint64) if exact else hash_integers(seed, rows[:, None], np.arange(words))
        octets = (pattern[..., None] >> np.arange(0, 64, 8, dtype=np.uint64)) & np.uint64(255)
        flipped = sums[np.arange(8 * words), octets.reshape(len(rows), -1).astype(np.int64)].sum(axis=1)
        extreme += int((np.abs(flipped) >= bound).sum())
    return extreme / 2**count if exact else (extreme + 1) / (resamples + 1)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjusted p values (n,) float64 for n tests at once, in the order given (Holm 1979).

    Those below a level are rejected together at that familywise level. NaN, a test that was not possible, stays NaN
    and is not counted.

    Raises:
        ValueError: not an array (n,) of numbers from 0 to 1 or NaN.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1) | np.isnan(p)).all():
        raise ValueError("p values must be (n,), from 0 to 1 or NaN")
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: int((~np.isnan(p)).sum())]  # NaN sorts last
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted
