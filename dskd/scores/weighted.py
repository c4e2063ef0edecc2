"""Figures with their intervals, by a bootstrap over units: words, or blocks of text.

A statistic is a function of the weights of n rows. A resample of the units gives each row the number of times that its
unit was drawn; so figures that belong together are computed on the same resamples, and so are their differences.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dskd.infra.randomness import tells_of_others

_OF = ("set", "group", "measure")
_ENDS = ("value", "low", "high")
COLUMNS = [*_OF, "by", *_ENDS, *(f"senses_less_{end}" for end in _ENDS), "rows", "words"]  # of `table_rows`
Statistic = Callable[[np.ndarray], float]  # (n,) float64 weights of the rows -> a figure


class Figure(NamedTuple):
    value: float
    low: float  # of the 95 % interval; NaN where there are too few units (`tells_of_others`)
    high: float


class Draws(NamedTuple):
    """The resamples of an interval."""

    number: int
    seed: int


def share(values: np.ndarray) -> Statistic:
    """The mean of (n,) values."""
    return lambda weights: float((weights * values).sum() / weights.sum())


def explained(rest: np.ndarray, whole: np.ndarray) -> Statistic:
    """The share of (n,) sums of squares that is not in `rest`."""
    return lambda weights: float(1 - (weights * rest).sum() / (weights * whole).sum())


def auc(values: np.ndarray, positive: np.ndarray) -> Statistic:
    """How often a positive row has the larger value of a positive and a negative row; equal values count half.

    Raises:
        ValueError: there are no positive rows, or no negative ones.
    """
    if positive.all() or not positive.any():
        raise ValueError("there is no AUC of rows of one kind")
    order = np.argsort(values, kind="stable")
    first = np.flatnonzero(np.diff(values[order], prepend=np.nan) != 0)  # of each run of equal values

    def statistic(weights: np.ndarray) -> float:
        up, down = (np.add.reduceat((weights * mask)[order], first) for mask in (positive, ~positive))
        below = np.cumsum(down) - down / 2
        return float((up * below).sum() / (up.sum() * down.sum()))

    return statistic


def figure(statistic: Statistic, units: np.ndarray, draws: Draws) -> Figure:
    """The statistic on all rows, with its 95 % interval (percentiles of the resamples).

    Args:
        units: (n,) the unit of each row, of any kind that can be sorted.
    """
    _, unit_of = np.unique(units, return_inverse=True)
    count, generator = int(unit_of.max()) + 1, np.random.default_rng(draws.seed)
    if not tells_of_others(count):
        return Figure(statistic(np.ones(len(units))), np.nan, np.nan)
    resamples = np.empty(draws.number)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may have rows of one kind only
        for draw in range(draws.number):
            drawn = np.bincount(generator.integers(count, size=count), minlength=count)
            resamples[draw] = statistic(drawn[unit_of].astype(np.float64))
    low, high = np.nanpercentile(resamples, [2.5, 97.5])
    return Figure(statistic(np.ones(len(units))), float(low), float(high))


def mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of several, as of one baseline drawn several times."""
    return lambda weights: sum(statistic(weights) for statistic in statistics) / len(statistics)


def difference(one: Statistic, other: Statistic) -> Statistic:
    """The first less the second, on the same resamples."""
    return lambda weights: one(weights) - other(weights)


def table_rows(
    of: tuple[str, str, str], by_way: Mapping[str, Statistic], units: np.ndarray, words: int, draws: Draws
) -> list[dict]:
    """A row for each way to make a figure, with its interval, and with how much more the way "senses" gives.

    Args:
        of: set, group and measure.
        words: how many there are.
    """
    rows = []
    for way, statistic in by_way.items():
        row = dict(zip(_OF, of)) | {"by": way}
        row |= figure(statistic, units, draws)._asdict()
        if way != "senses":
            less = figure(difference(by_way["senses"], statistic), units, draws)._asdict()
            row |= {f"senses_less_{key}": value for key, value in less.items()}
        rows.append(row | {"rows": len(units), "words": words})
    return rows
