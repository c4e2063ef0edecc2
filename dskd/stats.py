"""Intervals for means and for paired differences, by the bootstrap over items."""

import numpy as np

from dskd.determinism import uniform


def bootstrap_interval(values: np.ndarray, resamples: int, seed: int, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the mean of `values` (n,) under resampling of its items (Efron 1979).

    For a difference of two models give the differences item by item: the comparison is then paired.
    """
    values = np.asarray(values, dtype=np.float64)
    items = np.arange(len(values))
    means = [  # some hundred resamples at a time: quick, and memory does not grow with their number
        values[(uniform(seed, rows[:, None], items) * len(values)).astype(np.int64)].mean(axis=1)
        for rows in np.array_split(np.arange(resamples), -(-resamples // 500))
    ]
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def estimate(values: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    """Mean and 95 % interval, as they stand in a metrics file."""
    low, high = bootstrap_interval(values, resamples, seed)
    return {"mean": float(np.mean(values)), "low": low, "high": high}
