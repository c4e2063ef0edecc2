"""Halves of words and text, and the differences on one of them (tests/tools/trials.py)."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from tiny.project import ROOT
from tools import trials
from tools.trials import at_all_rates, choose, differences, grid, half_of, made_of, only, read_table, student, trial

from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.params import load_params

WORDS = [f"word{i}" for i in range(2000)]


def test_a_word_is_in_one_half_whatever_is_asked_of_it():
    for word in WORDS[:50]:
        asked = {half_of(f"{task}:{word}:{word}.n.01") for task in ("synonym", "antonym", "definition")}
        assert len(asked) == 1


def test_a_held_out_document_is_in_one_half_with_all_its_words():
    assert half_of("wiki:Anarchism") == half_of("wiki:Anarchism") == half_of("text:Anarchism")


@pytest.mark.parametrize("ids", [[f"synonym:{word}:s" for word in WORDS], [f"wiki:{i}" for i in range(2000)]])
def test_the_halves_are_about_even(ids):
    assert 0.45 < sum(half_of(i) == "dev" for i in ids) / len(ids) < 0.55


def test_a_difference_is_paired():
    rows = pd.DataFrame(
        [
            {
                "name": name,
                "seed": seed,
                "measure": "synonym",
                "id": f"synonym:{word}:s",
                "document": f"synonym:{word}:s",
            }
            | {"value": n + gain}
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
    assert (other["outcome"], other["margin"], other["p_equivalent"]) == ("different", 0.02, 1.0)


def test_blocks_of_one_document_are_one_item():
    values = np.random.default_rng(0).normal(size=60)
    rows = pd.DataFrame(
        [
            {"name": name, "seed": 0, "measure": "kl", "id": str(block), "document": f"wiki:{block // 5}"}
            | {"value": gain * values[block // 5]}
            for name, gain in (("kd", 0.0), ("other", 1.0))
            for block in range(60)
        ]
    )
    params = SimpleNamespace(evaluate=SimpleNamespace(bootstrap=400, seed=0))
    together = differences(rows, [("other", "kd")], [0], params).iloc[0]
    alone = differences(rows.assign(document=rows["id"]), [("other", "kd")], [0], params).iloc[0]
    assert together["difference"] == alone["difference"] == round(values[:12].mean(), 4)
    assert 2 < (together["high"] - together["low"]) / (alone["high"] - alone["low"]) < 3  # about the root of 5
    assert together["margin"] == 0.01


GRID = {
    "rates": [0.001, 0.002],
    "objectives": {
        "kd": {"weight": "kl", "values": [0.5, 1]},
        "dskd": {"weight": "sense", "values": [0.1, 1], "targets": "lexicon"},
    },
}


def test_a_part_of_a_grid_is_asked_for_by_name():
    families = grid(GRID)
    assert only(families, []) == families
    assert list(only(families, ["dskd"])) == ["dskd"]
    with pytest.raises(UserError, match="--only names span; the grid has kd, dskd"):
        only(families, ["span"])


def test_a_grid_has_every_rate_with_every_weight():
    found = grid(GRID)
    assert list(found["kd"]) == ["kd_kl0.5_rate0.001", "kd_kl1_rate0.001", "kd_kl0.5_rate0.002", "kd_kl1_rate0.002"]
    last = found["dskd"]["dskd_sense1_rate0.002"]
    assert last == {"targets": "lexicon", "sense": 1.0, "params": {"distill": {"learning_rate": 0.002}}}
    made = trial(load_params(ROOT / "params.yaml"), last)
    assert (made.objective.sense, made.params.distill.learning_rate) == (1.0, 0.002)
    uneven = GRID | {"objectives": GRID["objectives"] | {"kd": {"weight": "kl", "values": [1]}}}
    with pytest.raises(UserError, match=r"several sizes.*'kd': 1, 'dskd': 2"):
        grid(uneven)


def table(means, measure="kl"):
    return pd.DataFrame([{"measure": measure, "objective": name, "mean": mean} for name, mean in means.items()])


def test_the_best_trial_is_found_by_the_weight_at_the_first_rate_and_then_by_the_rate(tmp_path):
    families = grid(GRID)
    names = [name for of in families.values() for name in of]
    means = dict(zip(names, [1.4, 1.2, 1.0, 1.3, 0.8, 0.9, 0.7, 0.1]))
    found = pd.concat([table(means), table({name: -mean for name, mean in means.items()}, "ce")])
    assert at_all_rates(found, families["kd"], 2) == ["kd_kl1_rate0.001", "kd_kl1_rate0.002"]
    assert choose(found, families, 2) == {"kd": "kd_kl1_rate0.001", "dskd": "dskd_sense0.1_rate0.002"}
    repeated = pd.concat([found, table({"kd_kl0.5_rate0.001": 0.0})])  # as in a pair: the first is the mean
    assert choose(repeated, families, 2)["kd"] == "kd_kl1_rate0.001"
    tried = found[~found["objective"].isin(["kd_kl0.5_rate0.002", "dskd_sense1_rate0.002"])]  # as `search` leaves it
    assert choose(tried, families, 2) == choose(found, families, 2)
    for needed in ("dskd_sense1_rate0.001", "dskd_sense0.1_rate0.002"):
        with pytest.raises(UserError, match=f"no kl of {needed}: run that half"):
            choose(found[found["objective"] != needed], families, 2)
    with pytest.raises(UserError, match="run the half for choosing first"):
        read_table(tmp_path / "grid.csv")


def test_a_search_trains_each_weight_once_and_the_best_at_every_rate(monkeypatch):
    """KL is 1 less the weight, and .1 more at the second rate: six trials of eight."""
    asked = []

    def run(objectives, seeds, pairs, half, measures, params):
        asked.append(list(objectives))
        assert (seeds, pairs, half, measures) == ([0], [], "dev", "text")
        return table({n: 1 - of.get("sense", of.get("kl")) + 0.1 * ("rate0.002" in n) for n, of in objectives.items()})

    monkeypatch.setattr(trials, "run", run)
    found = trials.search(grid(GRID), 2, [0], None)
    first = ["kd_kl0.5_rate0.001", "kd_kl1_rate0.001", "dskd_sense0.1_rate0.001", "dskd_sense1_rate0.001"]
    assert asked == [first, [*first, "kd_kl1_rate0.002", "dskd_sense1_rate0.002"]]
    assert list(found["objective"]) == asked[1]


def test_the_registered_grid_is_one_that_can_run():
    given = YAML(typ="safe").load(ROOT / "docs/trials/grid.yaml")
    families, params = grid(given["grid"]), load_params(ROOT / "params.yaml")
    assert {len(of) for of in families.values()} == {6}
    assert not set(given["seeds"]) & set(given["confirm"])
    assert all(trial(params, changes) for of in families.values() for changes in of.values())
    assert {name for pair in given["pairs"] for name in pair} == set(families)


def test_a_trial_differs_in_its_parameters_and_has_a_folder_of_its_own():
    params = load_params(ROOT / "params.yaml")
    plain = trial(params, {"sense": 0.1, "targets": "lexicon"})
    fewer = trial(params, {"sense": 0.1, "targets": "lexicon", "params": {"senses": {"k": 3}}})
    assert (plain.params, fewer.params.senses.k) == (params, 3)
    assert plain.objective == fewer.objective and plain.objective.kl == params.objectives["kd"].kl
    assert len({student("x", seed, of) for of in (plain, fewer) for seed in (0, 1)}) == 4


def test_the_registered_trial_of_codes_is_one_that_can_run():
    given, params = YAML(typ="safe").load(ROOT / "docs/trials/codes_students.yaml"), load_params(ROOT / "params.yaml")
    trials = {name: trial(params, changes) for name, changes in given["objectives"].items()}
    assert trials["senses_16"].params.harvest.codec == "senses+16" and trials["kd"].params.harvest.codec == "exact"
    assert {name for pair in given["pairs"] for name in pair} <= set(trials)
    assert len({student(name, 0, of).name.partition("-")[0] for name, of in trials.items()}) == len(trials)
    assert {of.objective for name, of in trials.items() if name != "ce"} == {params.objectives["kd"]}
    assert trials["ce"].objective == params.objectives["ce"]


def test_students_of_exact_states_keep_their_place():
    """Codes came later; where a trial has none, the name of its folder is what it was."""
    params = load_params(ROOT / "params.yaml")
    of = trial(params, {"kl": 0.35})
    other = trial(params, {"kl": 0.35, "codec": "senses"})
    assert other.objective == of.objective and student("x", 0, other) != student("x", 0, of)
    again = of.params.model_copy(update={"harvest": of.params.harvest.model_copy(update={"batch_size": 3})})
    assert student("x", 0, of._replace(params=again)) == student("x", 0, of)


def test_a_student_of_another_text_or_teacher_is_another_one(tmp_path, monkeypatch):
    """Its blocks would have the same numbers, and be compared with those of this text."""
    monkeypatch.chdir(tmp_path)
    of, places = trial(load_params(ROOT / "params.yaml"), {"kl": 0.35}), []
    for text in ("a text", "another"):
        (tmp_path / artifacts.CORPUS).mkdir(parents=True, exist_ok=True)
        (tmp_path / artifacts.CORPUS / "corpus.json").write_text(text)
        made_of.cache_clear()
        places.append(student("x", 0, of))
    made_of.cache_clear()
    assert places[0] != places[1]


@pytest.mark.parametrize("changes", [{"lexicon": {"max_span": 1}}, {"student": {"layers": 20}}])
def test_a_trial_that_would_need_other_artifacts_is_refused(changes):
    with pytest.raises(UserError, match="trial"):
        trial(load_params(ROOT / "params.yaml"), {"params": changes})
