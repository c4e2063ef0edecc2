"""Comparing a run with the committed one."""

import copy
import json
import subprocess

import pytest
import yaml
from whole.test_pipeline import ROOT

from dskd.__main__ import main
from dskd.infra import artifacts
from dskd.infra.verify import LOCK, TOLERANCES, committed_run, compare_figures, differences, verdict


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """Not that of the working tree: whoever runs the pipeline and then the tests may have no benchmarks."""
    return committed_run(ROOT, "HEAD", tmp_path_factory.mktemp("committed"))


@pytest.fixture
def found(committed):
    """A copy of the committed run, to change."""
    return copy.deepcopy(committed)


def output(run, path):
    return next(e for stage in run.lock["stages"].values() for e in stage["outs"] if e["path"] == path)


def count(run):
    return sum(len(stage["outs"]) for stage in run.lock["stages"].values())


def test_the_same_bytes_are_verified(committed, found):
    assert not len(differences(committed.lock, found.lock))
    repeated, text = verdict(committed, found)
    assert repeated and f"all {count(committed)} outputs are the same bytes" in text


@pytest.mark.parametrize(
    ("stage", "kind", "key", "named"),
    [
        ("senses", "params", "params.yaml", "params.yaml.senses.k"),
        ("senses", "deps", "dskd/senses", "dskd/senses"),
        ("harvest", "deps", "notebooks/05_harvest.ipynb", "notebooks/05_harvest.ipynb"),
    ],
)
def test_another_parameter_module_or_notebook_is_another_run(committed, found, stage, kind, key, named):
    if kind == "params":
        found.lock["stages"][stage]["params"]["params.yaml"]["senses"]["k"] = 3
    else:
        next(e for e in found.lock["stages"][stage]["deps"] if e["path"] == key)["md5"] = "0"
    repeated, text = verdict(committed, found)
    assert not repeated and "another run" in text and named in text


def test_another_command_and_a_missing_stage_are_other_runs(committed, found):
    found.lock["stages"]["senses"]["cmd"] = "true"
    assert "true" in verdict(committed, found)[1]
    del found.lock["stages"]["senses"]
    assert not verdict(committed, found)[0]


def test_on_an_equal_platform_other_bytes_are_a_failure_even_of_equal_figures(committed, found):
    output(found, "artifacts/senses")["md5"] = "0"
    repeated, text = verdict(committed, found)
    outputs = count(committed)
    assert not repeated and f"{outputs - 1} of {outputs} outputs" in text
    assert "artifacts/senses" in text and "on an equal platform" in text


@pytest.mark.parametrize(("error", "repeated"), [(0.009, True), (-0.009, True), (0.016, False), (-0.016, False)])
def test_on_another_platform_figures_may_differ_within_the_tolerance(committed, found, error, repeated):
    output(found, "artifacts/states")["md5"] = "0"
    found.provenance["machine"]["processor"] = "another"
    found.metrics["models"]["kd"]["heldout"]["kl"]["mean"] += error
    verified, text = verdict(committed, found)
    assert verified is repeated and "processor another" in text
    assert ("1 of " in text) is not repeated


def test_another_number_of_threads_is_another_platform(committed, found):
    for stage in found.lock["stages"].values():
        values = stage.get("params", {}).get("params.yaml", {})
        if "runtime" in values:
            values["runtime"]["threads"] = 1
        if "runtime.threads" in values:
            values["runtime.threads"] = 1
    output(found, "artifacts/states")["md5"] = "0"
    repeated, text = verdict(committed, found)
    assert repeated and "threads 1 (committed: 2)" in text


def test_a_small_benchmark_has_to_lie_in_the_committed_interval(committed, found):
    figure = committed.metrics["models"]["kd"]["cloze"]["wic"]
    for value, within in ((figure["low"], True), (figure["high"], True), (figure["high"] + 0.01, False)):
        found.metrics["models"]["kd"]["cloze"]["wic"]["mean"] = value
        rows = compare_figures(committed.metrics, found.metrics)
        assert rows["within"].all() == within


def test_every_tolerance_is_of_a_figure_that_there_is(committed):
    rows = compare_figures(committed.metrics, committed.metrics)
    assert set(TOLERANCES) <= set(zip(rows["table"], rows["figure"]))
    assert (rows["difference"] == 0).all() and rows["within"].all()


@pytest.mark.parametrize("kind", ["bfloat16", "avx2", "avx512"])
def test_the_committed_kinds_of_processor_agree_within_the_tolerance(committed, kind):
    """The tolerances were set from the first two; the third, and the committed run, are others."""
    other = artifacts.read_json(ROOT / f"reports/runs/{kind}/metrics.json")
    rows = compare_figures(committed.metrics, other)
    assert len(rows) > 100 and rows["within"].all(), rows[~rows["within"]]


def test_the_command_compares_with_a_revision(tmp_path, monkeypatch, capsys):
    for name in (LOCK, artifacts.METRICS, artifacts.PROVENANCE):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    assert main(["verify"]) == 1 and "no committed run at 'HEAD'" in capsys.readouterr().err
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "run"], check=True)
    assert main(["verify"]) == 0 and "same bytes" in capsys.readouterr().out
    lock = yaml.safe_load((tmp_path / LOCK).read_text())
    lock["stages"]["senses"]["outs"][0]["md5"] = "0"
    (tmp_path / LOCK).write_text(yaml.safe_dump(lock))
    assert main(["verify"]) == 1
    assert main(["verify", "--against", "nothing"]) == 1 and "'nothing'" in capsys.readouterr().err
    (tmp_path / artifacts.METRICS).write_text(json.dumps([]))
    assert main(["verify"]) == 1 and "metrics.json is damaged" in capsys.readouterr().err
