"""Draws are part of every artifact: the numbers are the published ones, on every machine."""

import numpy as np
import pytest

from dskd.infra.randomness import hash_integers, text_key, uniform

GOLDEN, ALL = 0x9E3779B97F4A7C15, 2**64 - 1


def mixed(x):
    """The finalizer of splitmix64, in Python's integers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & ALL
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & ALL
    return x ^ (x >> 31)


def hashed(*keys):
    state = 0
    for key in keys:
        state = mixed(((state + GOLDEN) & ALL) ^ mixed((key + GOLDEN) & ALL))
    return state


def test_the_plain_form_is_splitmix64():
    first = [mixed(i * GOLDEN & ALL) for i in (1, 2, 3)]  # its first numbers from the seed 0, as published
    assert first == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@pytest.mark.parametrize("keys", [(0,), (1,), (0, 0), (3, 7, 2**64 - 1), (2**63, 5)])
def test_a_hash_is_that_of_the_plain_form(keys):
    assert int(hash_integers(*keys)) == hashed(*keys)
    assert float(uniform(*keys)) == (hashed(*keys) >> 11) / 2**53


def test_arrays_are_hashed_element_by_element_in_any_shape():
    rows, columns = np.arange(4)[:, None], np.arange(3)
    expected = [[hashed(9, row, column) for column in range(3)] for row in range(4)]
    assert hash_integers(9, rows, columns).tolist() == expected
    numbers = uniform(9, np.arange(100_000))
    assert numbers.dtype == np.float64 and 0 <= numbers.min() < numbers.max() < 1
    assert numbers.mean() == pytest.approx(0.5, abs=0.004)  # standard error .0009


def test_a_text_s_key_is_fnv_1a():
    published = {"": 0xCBF29CE484222325, "a": 0xAF63DC4C8601EC8C, "foobar": 0x85944171F73967E8}
    assert {text: text_key(text) for text in published} == published
