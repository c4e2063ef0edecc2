"""Halves of words and text, and the differences on one of them (tests/tools/trials.py)."""

from types import SimpleNamespace

import pandas as pd
import pytest
from tiny.project import ROOT
from tools.trials import RUN, differences, half_of, student, trial

from dskd.errors import UserError
from dskd.params import load_params

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
    pairs = [("kd", "kd"), ("other", "kd"), ("kd", "other")]
    kd, other, back = (row for _, row in differences(rows, pairs, [0, 1], params).iterrows())
    assert (other["difference"], other["low"], other["high"]) == (0.5, 0.5, 0.5)
    assert (back["difference"], back["against"]) == (-0.5, "other")
    assert (kd["mean"], other["mean"], other["items"], other["seeds"]) == (49.5, 50.0, 100, 2)


def test_a_trial_differs_in_its_parameters_and_has_a_folder_of_its_own():
    params = load_params(ROOT / "params.yaml")
    plain = trial(params, {"sense": 0.1, "targets": "lexicon"})
    fewer = trial(params, {"sense": 0.1, "targets": "lexicon", "params": {"senses": {"k": 3}}})
    assert (plain.params, fewer.params.senses.k) == (params, 3)
    assert plain.objective == fewer.objective and plain.objective.kl == params.objectives["kd"].kl
    assert len({student("x", seed, of) for of in (plain, fewer) for seed in (0, 1)}) == 4


@pytest.mark.parametrize("changes", [{"lexicon": {"max_span": 1}}, {"student": {"layers": 20}}])
def test_a_trial_that_would_need_other_artifacts_is_refused(changes):
    with pytest.raises(UserError, match="trial"):
        trial(load_params(ROOT / "params.yaml"), {"params": changes})
