"""What DVC shows of a run."""

import json
import re

import pandas as pd
import pytest
from tiny.project import ROOT
from tiny.run import EFFECT, run_params, students, write_run

from dskd.infra import artifacts
from dskd.pipeline import stages
from dskd.pipeline.summary import differences_table, main_figures
from dskd.report.metrics import summarise

COMMITTED = artifacts.read_json(ROOT / artifacts.METRICS)
DICTIONARY = artifacts.read_json(ROOT / artifacts.SENSES_REPORT)


def cell(mean: float, p: float = 1.0) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.25, "high": mean + 0.5, "p_holm": p}


def metrics(objectives: dict[str, float], differences: dict[str, dict]) -> dict:
    models = {name: {"heldout": {"ce": cell(ce), "kl": cell(ce - 2)}} for name, ce in objectives.items()}
    return {"models": {"teacher": {}, "cut": {}, **models}, "differences": differences}


def test_figures_are_those_of_the_objectives_and_of_the_dictionary():
    apart = {"heldout": {"kl": cell(0.12345), "ce": cell(-0.5)}, "lexical": {"synonym": cell(0.25)}}
    found = metrics(
        {"ce": 5.0, "kd": 4.0, "dskd": 3.5}, {"dskd - kd": apart, "dskd - ce": {"heldout": {"kl": cell(9)}}}
    )
    assert main_figures(found, {"senses": 7, "wic_auc": 0.61234, "wic_auc_random": None, "text_tokens": 99}) == {
        "s": {"n": 7, "wic": 0.612},
        "ce": {"ce": 5.0, "kl": 3.0},
        "kd": {"ce": 4.0, "kl": 2.0},
        "dskd": {"ce": 3.5, "kl": 1.5, "d_kl": 0.123, "d_ce": -0.5, "d_syn": 0.25},
    }


def test_without_plain_distillation_the_first_objective_is_what_others_are_compared_with():
    found = metrics({"ce": 5.0, "s": 4.0}, {"s - ce": {"heldout": {"kl": cell(-1.0)}}})
    assert main_figures(found, {"senses": 7}) == {
        "s": {"n": 7, "ce": 4.0, "kl": 2.0, "d_kl": -1.0},
        "ce": {"ce": 5.0, "kl": 3.0},
    }


def test_the_default_runs_figures_are_few_and_their_names_short():
    found = main_figures(COMMITTED, DICTIONARY)
    names = [f"{group}.{key}" for group, values in found.items() for key in values]
    assert len(names) == 16
    assert max(map(len, names)) == len("dskd.d_cloze")
    assert found["kd"]["kl"] == round(COMMITTED["models"]["kd"]["heldout"]["kl"]["mean"], 3)
    assert found["dskd"]["d_cloze"] == round(COMMITTED["differences"]["dskd - kd"]["cloze"]["all"]["mean"], 3)
    assert found["s"]["two"] == round(DICTIONARY["heads_with_two_senses"], 3)


def test_each_difference_is_a_row_with_its_interval():
    apart = {"heldout": {"kl": cell(0.125, p=0.04), "ce": cell(-1.0)}, "lexical": {"synonym": cell(2)}}
    other = {"heldout": {"kl": cell(3), "ce": cell(4, p=0.05)}}
    table = differences_table(metrics({"kd": 4.0}, {"dskd - kd": apart, "span - kd": other}))
    assert table.to_csv(index=False).splitlines() == [
        "pair,measure,mean,low,high,shown",
        "dskd - kd,KL to teacher (nats/token),0.125,-0.125,0.625,yes",
        "span - kd,KL to teacher (nats/token),3.0,2.75,3.5,no",
        "dskd - kd,CE (nats/token),-1.0,-1.25,-0.5,no",
        "span - kd,CE (nats/token),4.0,3.75,4.5,no",
    ]
    assert list(differences_table(metrics({"kd": 4.0}, {})).columns) == list(table.columns)


def test_the_stage_writes_all_three(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = run_params()
    write_run(params)
    artifacts.write_json(artifacts.SENSES_REPORT, {"senses": 12})
    monkeypatch.setattr(stages, "wordnet_reader", lambda: None)
    monkeypatch.setattr(stages, "asked_words", lambda reader: {})
    found = stages.report(params)
    assert found == summarise(params, students(params))
    assert artifacts.read_json(artifacts.SUMMARY) == main_figures(found, {"senses": 12})
    assert artifacts.read_json(artifacts.SUMMARY)["dskd"]["d_kl"] == pytest.approx(EFFECT, abs=0.1)
    assert pd.read_csv(artifacts.DIFFERENCES).equals(differences_table(found))


def test_the_plots_template_has_the_tables_columns():
    """DVC does not look into a template; a wrong name would draw nothing."""
    template = json.loads((ROOT / ".dvc/plots/intervals.json").read_text())
    used = {match for match in re.findall(r'"field": "(\w+)"', json.dumps(template))}
    assert used == {*differences_table(COMMITTED).columns, "rev"}
    assert template["data"]["values"] == "<DVC_METRIC_DATA>"
