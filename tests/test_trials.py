"""Halves of words and text, and the differences on one of them (tests/benchmarks/trials.py)."""

from types import SimpleNamespace

import pandas as pd
import pytest
from trials import RUN, differences, half_of

WORDS = [f"word{i}" for i in range(2000)]


def test_a_word_is_in_one_half_whatever_is_asked_of_it():
    for word in WORDS[:50]:
        asked = {half_of(f"{task}:{word}:{word}.n.01") for task in ("synonym", "antonym", "definition")}
        assert len(asked) == 1


def test_held_out_blocks_go_to_a_half_in_runs():
    assert all(half_of(str(block)) == half_of(str(block - block % RUN)) for block in range(400))


@pytest.mark.parametrize("ids", [[f"synonym:{word}:s" for word in WORDS], [str(i * RUN) for i in range(2000)]])
def test_the_halves_are_about_even(ids):
    assert 0.45 < sum(half_of(i) == "dev" for i in ids) / len(ids) < 0.55


def test_a_difference_is_paired():
    rows = pd.DataFrame(
        [
            {"name": name, "seed": seed, "measure": "synonym", "id": f"synonym:{word}:s", "value": n + gain}
            for name, gain in (("kd", 0.0), ("other", 0.5))
            for seed in (0, 1)
            for n, word in enumerate(WORDS[:100])
        ]
    )
    params = SimpleNamespace(evaluate=SimpleNamespace(bootstrap=200, seed=0))
    kd, other = (row for _, row in differences(rows, ["kd", "other"], [0, 1], params).iterrows())
    assert (other["difference"], other["low"], other["high"]) == (0.5, 0.5, 0.5)
    assert (kd["mean"], other["mean"], other["items"], other["seeds"]) == (49.5, 50.0, 100, 2)
