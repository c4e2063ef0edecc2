"""Randomness as a pure function of named integers, torch's switches for repeatable runs, and what it is fast at."""

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: np.ndarray) -> np.ndarray:
    # The finalizer of splitmix64 (Steele, Lea, Flood, OOPSLA 2014): a bijection with full avalanche.
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hash_integers(*keys: int | np.ndarray) -> np.ndarray:
    """64-bit hashes of integer tuples, elementwise over broadcast arrays: () or (n,) uint64."""
    state = np.zeros((), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for key in keys:
            state = _mix((state + _GOLDEN) ^ _mix(np.asarray(key).astype(np.uint64) + _GOLDEN))
    return state


def uniform(*keys: int | np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) that depend on the keys alone, in any order and any batch: float64."""
    return (hash_integers(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def text_key(text: str) -> int:
    """A stable 64-bit integer for a string (FNV-1a), to be used as a key of `hash_integers`."""
    value = 0xCBF29CE484222325
    for byte in text.encode("utf-8"):
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


FEWEST_DOCUMENTS = 10  # that can stand for others; where a text has fewer its blocks do
FEWEST_UNITS = 6  # items, words or documents, of which an interval can be drawn


def tells_of_others(units: int) -> bool:
    """Whether so many units say how much others would vary; of fewer there is no interval, and nothing is compared.

    Resamples stay between the least and the largest of n values. All n lie on one side of the middle of what they were
    drawn from with chance 2^(1-n), and an interval for 95 in 100 may miss it 5 times in 100: so n is 6 at least. So it
    is for the signs of n differences, which have no p below .05 before.
    """
    return units >= FEWEST_UNITS
