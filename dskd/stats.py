"""Intervals for means and for paired differences, by the bootstrap over items."""

import numpy as np

from dskd.determinism import uniform


def bootstrap_interval(values: np.ndarray, resamples: int, seed: int, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the mean of `values` (n,) under resampling of its items (Efron 1979).

    For a difference of two models give the differences item by item: the comparison is then paired.
    """
    values = np.asarray(values, dtype=np.float64)
    means = np.empty(resamples)
    for r in range(resamples):  # one row at a time: memory does not grow with resamples
        means[r] = values[(uniform(seed, r, np.arange(len(values))) * len(values)).astype(np.int64)].mean()
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def estimate(values: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    """Mean and 95 % interval, as they stand in a metrics file."""
    low, high = bootstrap_interval(values, resamples, seed)
    return {"mean": float(np.mean(values)), "low": low, "high": high}
