"""Comparing a run with the committed one."""

import copy
import json
import os
import re
import shutil
import subprocess

import pytest
import yaml
from whole.test_pipeline import ENV, ROOT

from dskd.__main__ import main
from dskd.infra import artifacts
from dskd.infra.artifacts import LOCK
from dskd.verify.compare import TOLERANCES, compare_figures, differences, lacking_figures, odd_differences
from dskd.verify.runs import committed_run
from dskd.verify.verdict import verdict


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
        ("senses", "deps", "dskd/", "dskd/"),
        ("harvest", "deps", "notebooks/", "notebooks/"),
    ],
)
def test_another_parameter_module_or_notebook_is_another_run(committed, found, stage, kind, key, named):
    if kind == "params":
        found.lock["stages"][stage]["params"]["params.yaml"]["senses"]["k"] = 3
    else:
        next(e for e in found.lock["stages"][stage]["deps"] if e["path"].startswith(key))["md5"] = "0"
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


def shift(run, model, table, figure, by):
    """Move a mean, and the differences that follow from it."""
    run.metrics["models"][model][table][figure]["mean"] += by
    for pair, tables in run.metrics["differences"].items():
        if model in pair.split(" - "):
            tables[table][figure]["mean"] += by if pair.startswith(f"{model} - ") else -by


@pytest.mark.parametrize(("error", "repeated"), [(0.009, True), (-0.009, True), (0.016, False), (-0.016, False)])
def test_on_another_platform_figures_may_differ_within_the_tolerance(committed, found, error, repeated):
    output(found, "artifacts/states")["md5"] = "0"
    found.provenance["machine"]["processor"] = "another"
    shift(found, "kd", "heldout", "kl", error)
    verified, text = verdict(committed, found)
    assert verified is repeated and "processor another" in text
    assert ("not verified: 1 of " in text) is not repeated


@pytest.mark.parametrize(
    "lacking",
    [
        "kd",
        "kd.heldout",
        "kd.lexical",
        "dskd.heldout.kl",
        "dskd.lexical.synonym",
        "dskd - kd.cloze",
        "dskd - kd.heldout.ce",
    ],
)
def test_figures_that_one_run_alone_has_are_not_verified(committed, found, lacking):
    """Those that both have may all be equal."""
    output(found, "artifacts/states")["md5"] = "0"
    found.provenance["machine"]["processor"] = "another"
    assert verdict(committed, found)[0]
    *above, last = lacking.split(".")
    node = found.metrics["differences" if " - " in lacking else "models"]
    for name in above:
        node = node[name]
    del node[last]
    for sides in ((committed, found), (found, committed)):
        repeated, text = verdict(*sides)
        assert not repeated and f"one run alone has {lacking}" in text


def test_differences_that_are_not_those_of_the_means_are_not_verified(committed, found):
    """They may change with the processor by more than their own interval, as on the Xeon, but not by themselves."""
    output(found, "artifacts/states")["md5"] = "0"
    found.provenance["machine"]["processor"] = "another"
    repeated, text = verdict(committed, found)
    assert repeated and "intervals and p values were not compared" in text.splitlines()[-1]
    found.metrics["differences"]["dskd - kd"]["heldout"]["kl"]["mean"] *= -9
    repeated, text = verdict(committed, found)
    assert not repeated and text.endswith("do not follow from the means: dskd - kd.heldout.kl")
    epyc, xeon = (artifacts.read_json(ROOT / f"reports/runs/{name}/metrics.json") for name in ("epyc", "xeon"))
    assert odd_differences(xeon) == [] == lacking_figures(epyc, xeon, other_benchmarks=False)


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
def test_the_committed_kinds_of_processor_agree_within_the_tolerance(kind):
    """The tolerances were set from the first two. All four runs are of the text as it was before 2026-11-29."""
    zen5, other = (artifacts.read_json(ROOT / f"reports/runs/{name}/metrics.json") for name in ("zen5", kind))
    rows = compare_figures(zen5, other)
    assert len(rows) > 100 and rows["within"].all(), rows[~rows["within"]]


def test_a_run_repeats_on_another_kind_of_processor():
    epyc, xeon = (artifacts.read_json(ROOT / f"reports/runs/{name}/metrics.json") for name in ("epyc", "xeon"))
    rows = compare_figures(epyc, xeon)
    assert len(rows) == 300 and rows["within"].all(), rows[~rows["within"]]


def test_what_no_change_since_has_touched_repeats_in_float32():
    """One run computes in float32, the other in bfloat16. Its `dskd` had other positions supervised, and its measures
    in context other places."""
    epyc, avx2 = (artifacts.read_json(ROOT / f"reports/runs/{name}/metrics.json") for name in ("epyc", "epyc_avx2"))
    rows = compare_figures(epyc, avx2)
    same = rows[rows["model"].isin(["teacher", "cut", "kd"]) & ~rows["table"].str.contains("context")]
    assert len(same) > 150 and same["within"].all(), same[~same["within"]]


# ---- benchmarks that one of the two runs lacks


def without_benchmarks(run, names):
    """Make `run` one that could not get these benchmarks, nor the gold lists: other bytes of all that hangs on them."""
    for name in names:
        run.metrics["benchmarks"][name] = {"available": False, "how": "the hub could not be reached"}
        for part, mean in (("models", 0.5), ("differences", 0.0)):
            for tables in run.metrics[part].values():
                for table in ("cloze", "cloze_norm", "cloze_probability", "chat"):
                    tables.get(table, {}).pop(name, None)
                    tables.get(table, {}).get("all", {})["mean"] = mean  # of the others
    run.quality["gold"] = [row for row in run.quality["gold"] if row["gold"] != "Roget antonyms"]
    for stage in ("benchmarks", "quality", "evaluate", "report"):
        for entry in run.lock["stages"][stage]["outs"]:
            entry["md5"] = "0"


def hanging(run):
    return sum(len(run.lock["stages"][stage]["outs"]) for stage in ("benchmarks", "quality", "evaluate", "report"))


def test_what_hangs_on_benchmarks_that_are_not_here_is_named_and_not_held_against_the_run(committed, found):
    without_benchmarks(found, ["piqa", "wic"])
    repeated, text = verdict(committed, found)
    assert repeated, text
    assert f"{count(committed) - hanging(committed)} of {count(committed)} outputs are the same bytes" in text
    assert "piqa: the hub could not be reached" in text and "Roget antonyms: not here" in text
    assert "reports/metrics.json" in text and "figures that both runs have are equal" in text
    assert "artifacts/states" not in text
    repeated, text = verdict(found, committed)  # the other way round
    assert repeated and "piqa: the committed run lacks it" in text


def test_without_benchmarks_all_else_must_be_equal(committed, found):
    without_benchmarks(found, ["piqa"])
    shift(found, "kd", "heldout", "kl", 1e-9)  # on an equal platform
    repeated, text = verdict(committed, found)
    assert not repeated and "not verified: 1 of " in text and "heldout" in text
    found.provenance["machine"]["processor"] = "another"
    output(found, "artifacts/states")["md5"] = "0"
    assert verdict(committed, found)[0]
    found.provenance["machine"]["processor"] = committed.provenance["machine"]["processor"]
    shift(found, "kd", "heldout", "kl", -1e-9)
    assert not verdict(committed, found)[0]  # the states hang on no benchmark


def test_with_the_same_benchmarks_no_output_is_excused(committed, found):
    for entry in found.lock["stages"]["evaluate"]["outs"]:
        entry["md5"] = "0"
    assert not verdict(committed, found)[0]


# ---- the command, in a small project

CODE = "def loss(): return 1.0\n"
SMALL = {
    "benchmarks": {"deps": ["code/benchmarks.py"], "outs": [{"artifacts/benchmarks": {"push": False}}]},
    "senses": {"deps": ["code/senses.py"], "outs": ["artifacts/senses", {"artifacts/states": {"push": False}}]},
    "report": {
        "deps": ["code/report.py", "artifacts/benchmarks", "artifacts/senses"],
        "params": ["senses.k"],
        "outs": [{name: {"cache": False}} for name in (artifacts.METRICS, artifacts.QUALITY)],
    },
}


def git(folder, *arguments):
    own = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", *own, *arguments], cwd=folder, check=True, env=ENV)


def dvc(folder, *arguments):
    subprocess.run(["dvc", *arguments], cwd=folder, check=True, env=ENV, capture_output=True)


@pytest.fixture(scope="module")
def made(committed, tmp_path_factory):
    """A project of three stages in Git and DVC, with the committed run's figures."""
    root = tmp_path_factory.mktemp("made")
    files = {f"code/{name}.py": CODE for name in SMALL} | {"params.yaml": "senses: {k: 10}\n"}
    files |= {"dvc.yaml": yaml.safe_dump({"stages": {n: {"cmd": f"make {n}", **s} for n, s in SMALL.items()}})}
    files |= {f"artifacts/{name}/data": name for name in ("benchmarks", "senses", "states")}
    for name, value in zip((artifacts.METRICS, artifacts.PROVENANCE, artifacts.QUALITY), committed[1:]):
        files[name] = json.dumps(value)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "--quiet")
    dvc(root, "init", "--quiet")
    (root / ".gitignore").write_text("/artifacts/\n")
    dvc(root, "commit", "--force", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "run")
    return root


@pytest.fixture
def copied(made, tmp_path, monkeypatch):
    root = tmp_path / "copied"
    shutil.copytree(made, root)
    monkeypatch.chdir(root)
    return root


def test_an_untouched_run_is_verified(copied, capsys):
    assert main(["verify"]) == 0
    assert "verified: all 5 outputs are the same bytes" in capsys.readouterr().out
    assert not subprocess.check_output(["git", "status", "--porcelain"], cwd=copied)


@pytest.mark.parametrize("path", ["code/senses.py", "artifacts/senses/data", artifacts.METRICS, "params.yaml"])
def test_an_edit_is_seen_on_the_disk_even_with_the_old_size_and_time(copied, capsys, path):
    assert main(["verify"]) == 0  # whoever remembers hashes has them now
    before, text = os.stat(copied / path), (copied / path).read_text()
    old, new = next(
        pair for pair in (("1.0", "2.0"), ("10", "20"), ("senses", "sensed"), ("true", "tru ")) if pair[0] in text
    )
    (copied / path).chmod(0o644)
    (copied / path).write_text(text.replace(old, new, 1))
    os.utime(copied / path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(copied / path).st_size == before.st_size
    assert main(["verify"]) == 1
    out = capsys.readouterr().out
    named = {"params.yaml": "senses.k", "artifacts/senses/data": "artifacts/senses"}.get(path, path)
    assert "does not hold the run" in out and named in out and "changed" in out


def test_a_clone_without_a_run_is_not_verified(copied, tmp_path, monkeypatch, capsys):
    git(tmp_path, "clone", "--quiet", str(copied), "fresh")
    monkeypatch.chdir(tmp_path / "fresh")
    assert main(["verify"]) == 1
    assert re.search(r"artifacts/senses +missing", capsys.readouterr().out)


def test_what_a_remote_does_not_get_cannot_be_compared_and_is_named(copied, capsys):
    """As after `dvc pull --allow-missing`."""
    for name in ("benchmarks", "states"):
        shutil.rmtree(copied / "artifacts" / name)
    assert main(["verify"]) == 0
    out = capsys.readouterr().out
    assert "3 of 5 outputs are the same bytes" in out
    assert "not pushed: artifacts/benchmarks, artifacts/states" in out


def test_a_run_without_benchmarks_says_what_was_compared_and_succeeds(copied, committed, capsys):
    other = copy.deepcopy(committed)
    for name in ("benchmarks", "quality", "evaluate", "report"):
        other.lock["stages"].setdefault(name, {"outs": []})
    without_benchmarks(other, ["arc_easy"])
    (copied / artifacts.METRICS).write_text(json.dumps(other.metrics))
    (copied / artifacts.QUALITY).write_text(json.dumps(other.quality))
    (copied / "artifacts/benchmarks/data").chmod(0o644)
    (copied / "artifacts/benchmarks/data").write_text("none")
    dvc(copied, "commit", "--force", "--quiet")
    assert main(["verify"]) == 0
    out = capsys.readouterr().out
    assert "2 of 5 outputs are the same bytes" in out and "arc_easy: the hub could not be reached" in out


def test_the_command_compares_with_a_revision_and_takes_it_for_nothing_else(copied, capsys):
    for revision in ("nothing", "", ":0", "--output=x", "HEAD:code", "HEAD\n"):
        assert main(["verify", f"--against={revision}"]) == 1
        error = capsys.readouterr().err
        assert f"no committed run at {revision!r}" in error and error.count("\n") == 1
    assert not (copied / "x").exists()
    (copied / "code/senses.py").write_text("# other\n")
    dvc(copied, "commit", "--force", "--quiet")
    git(copied, "commit", "--quiet", "--all", "-m", "another")
    assert main(["verify"]) == 0
    assert main(["verify", "--against", "HEAD~1"]) == 1
    assert "another run than the committed one" in capsys.readouterr().out
    (copied / artifacts.METRICS).write_text(json.dumps([]))
    assert main(["verify"]) == 1 and "metrics.json is damaged" in capsys.readouterr().err


CONFLICT = "<<<<<<< HEAD\nschema: '2.0'\n=======\nstages: {}\n>>>>>>> theirs\n"


@pytest.mark.parametrize("text", [CONFLICT, "", "- 1\n", "stages: [\n", "stages: {a: {outs: [1]}}\n", "stages: 1\n"])
def test_a_lock_with_a_merge_conflict_or_damage_is_one_line(copied, capsys, text):
    (copied / LOCK).write_text(text)
    shutil.copy(ROOT / "params.yaml", copied)
    for command in ("verify", "plan"):
        assert main([command]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and ("holds a merge conflict" if text == CONFLICT else "is damaged") in error
