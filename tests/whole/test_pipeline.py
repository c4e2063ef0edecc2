"""The whole pipeline with the real teacher, lexicon and text, at the size of the smoke profile; without a mirror of
the benchmarks and without the hub, so that of these it has SimLex alone, which the package index has."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
ENV = {
    **{name: value for name, value in os.environ.items() if name != "DSKD_MIRROR"},
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "true",
    "HF_HUB_OFFLINE": "1",
}


def run(folder: Path, *command: str, expect: int = 0) -> str:
    """Run a command in `folder`; its output, after checking its exit code."""
    done = subprocess.run(command, cwd=folder, env=ENV, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == expect, done.stdout[-4000:]
    return done.stdout


def checkout(folder: Path) -> Path:
    """A copy of what Git would commit here, as a repository of its own, with the smoke profile's values."""
    names = run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    for name in names:
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    run(folder, "git", "init", "--quiet")
    run(folder, "git", "config", "user.name", "test")  # commits and `dvc exp` need a name, wherever this runs
    run(folder, "git", "config", "user.email", "test@localhost")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "-m", "start")
    # The folder's own dskd comes first on the path: python puts the working folder there for `python -m`.
    run(folder, "python", "-m", "dskd", "profile", "smoke")
    return folder


@pytest.fixture(scope="module")
def project(whole_pipeline) -> Path:
    folder, process = whole_pipeline
    process.wait()
    log = (folder / "repro.log").read_text(errors="replace")
    assert process.returncode == 0, log[-4000:]
    (folder / "repro.log").unlink()
    return folder


def stages_to_run(folder: Path) -> list[str]:
    lines = run(folder, "dvc", "repro", "--dry").splitlines()
    return [line.split("'")[1] for line in lines if line.startswith("Running stage")]


def test_every_stage_leaves_its_results(project):
    stages = """sources lexicon prompts corpus harvest senses codes targets-kd targets-dskd distill-kd-0 distill-dskd-0
    benchmarks quality evaluate"""
    for name in stages.split():
        notebook = json.loads((project / f"reports/notebooks/{name}.ipynb").read_text())
        assert not any(
            output.get("name") == "stderr" for cell in notebook["cells"] for output in cell.get("outputs", [])
        )
    assert "<img" in (project / "reports/index.html").read_text()
    provenance = json.loads((project / "reports/provenance.json").read_text())
    assert set(provenance["stages"]) >= {*stages.split(), "report"}


def test_a_second_run_does_nothing(project):
    assert stages_to_run(project) == []


def test_metrics_tell_teacher_cut_and_students_apart(project):
    metrics = json.loads((project / "reports/metrics.json").read_text())
    assert list(metrics["models"]) == ["teacher", "cut", "kd", "dskd"]
    teacher, cut, kd, dskd = (model["heldout"] for model in metrics["models"].values())
    assert teacher["kl"]["mean"] == pytest.approx(0, abs=1e-6)
    assert teacher["agreement"]["mean"] == 1
    assert teacher["ce"]["mean"] < kd["ce"]["mean"] < cut["ce"]["mean"]
    assert dskd["kl"]["mean"] < cut["kl"]["mean"]
    assert kd["kl"] != dskd["kl"]
    # One seed: its mean is the objective's.
    assert {name: tables["heldout"]["kl"] for name, tables in metrics["seeds"].items()} == pytest.approx(
        {"kd-0": kd["kl"]["mean"], "dskd-0": dskd["kl"]["mean"]}
    )
    (of_pair,) = metrics["differences"].values()
    assert of_pair["heldout"]["kl"]["mean"] == pytest.approx(dskd["kl"]["mean"] - kd["kl"]["mean"])


def test_benchmarks_that_cannot_be_had_are_named_with_the_way_to_get_them(project):
    metrics = json.loads((project / "reports/metrics.json").read_text())
    available = [name for name, value in metrics["benchmarks"].items() if value["available"]]
    assert available == ["simlex"] and metrics["benchmarks"]["arc_easy"]["available"] is False
    assert -1 < metrics["models"]["teacher"]["similarity"]["simlex"]["mean"] < 1
    assert "cloze" not in metrics["models"]["teacher"] and "chat" not in metrics["models"]["teacher"]
    page = (project / "reports/index.html").read_text()
    assert "not available" in page and "DSKD_MIRROR" in page


def test_heldout_words_are_in_no_training_relation_but_in_the_items(project):
    from dskd.lexicon.relations import heldout_pairs, is_heldout

    table = pd.read_parquet(project / "artifacts/lexicon.parquet")
    words = set(table["head"]) | set(table["tail"])
    assert len(words) > 10_000
    assert table["flipped"].any() and {"good", "Good"} <= set(table["form"])
    negations = pd.read_csv(project / "reports/lexicon/negations.csv")
    assert not any(is_heldout(word, 0, 0.1) for word in [*negations["word"], *table["head"].unique()])
    assert not any(is_heldout(word, 0, 0.1) for word in sorted(words))
    scores = [json.loads(line) for line in (project / "reports/scores/lexical.jsonl").read_text().splitlines()]
    assert len([row for row in scores if row["rung"] == "word"]) == 4 * 3 * 16  # models, tasks, items
    assert {row["rung"] for row in scores if row["task"] == "synonym"} == {"trained", "relation", "word"}
    assert not heldout_pairs(zip(table["head"], table["tail"]), 0, 0.1)


def test_dvc_shows_metrics_and_plots(project):
    shown = run(project, "dvc", "metrics", "show")
    assert "kd.kl" in shown and "dskd.d_kl" in shown and "s.two" in shown and len(shown.splitlines()) == 2
    out = run(project, "dvc", "plots", "show", "--out", "plots")
    assert "WARNING" not in out and "failed" not in out
    page = (project / "plots/index.html").read_text()
    assert "reports_curves_dskd-0_plots_metrics_sense_tsv" in page and "Differences with 95 % intervals" in page


def test_the_student_needs_no_dskd(project, tmp_path):
    code = (
        "import sys\n"
        "sys.meta_path = [f for f in sys.meta_path if 'dskd' not in getattr(f, '__module__', '')]\n"
        "import importlib.util\n"
        "assert importlib.util.find_spec('dskd') is None\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "folder = sys.argv[1]\n"
        "model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)\n"
        "chat = [{'role': 'user', 'content': 'What is the capital of France?'}]\n"
        "ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors='pt', return_dict=True)\n"
        "out = model.generate(**ids, max_new_tokens=8, do_sample=False)\n"
        "print(model.config.num_hidden_layers, out.shape[1] - ids['input_ids'].shape[1])\n"
    )
    folder = project / "artifacts/students/dskd-0"
    layers, new_tokens = run(tmp_path, sys.executable, "-I", "-c", code, str(folder)).split()[-2:]
    assert int(layers) == 24 and int(new_tokens) >= 1
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: other") and '"sense": 0.1' in card and '"targets": "' in card


def test_missing_input_names_the_command_that_makes_it(project, tmp_path):
    folder = checkout(tmp_path)
    out = run(folder, "python", "-m", "dskd", "senses", expect=1)
    assert out.strip().splitlines()[-1].startswith("dskd: ") and "dvc repro sources" in out
    assert "Traceback" not in out
    out = run(folder, "python", "-m", "dskd", "notebook", "senses", expect=1)
    assert "dvc repro sources" in out and "Traceback" not in out
    assert not (folder / "artifacts").exists() or not any((folder / "artifacts").iterdir())


def test_a_change_of_lambda_reruns_its_student_and_what_follows(project):
    students = {name: project / f"artifacts/students/{name}/heldout.json" for name in ("kd-0", "dskd-0")}
    before = {name: json.loads(path.read_text()) for name, path in students.items()}
    out = run(project, "dvc", "exp", "run", "-S", "objectives.dskd.sense=0.5", "distill@dskd-0")
    assert re.findall(r"Running stage '([^']+)'", out) == ["distill@dskd-0"]
    after = {name: json.loads(path.read_text()) for name, path in students.items()}
    assert after["kd-0"] == before["kd-0"] and after["dskd-0"]["kl"] != before["dskd-0"]["kl"]
    assert re.search(r"objectives\.dskd\.sense +0\.1 +0\.5", run(project, "dvc", "params", "diff"))
    assert stages_to_run(project) == ["evaluate", "report"]
