"""The whole pipeline with the real teacher, lexicon and text, at the size of the smoke profile."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
ENV = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "true",
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
def project(tmp_path_factory) -> Path:
    folder = checkout(tmp_path_factory.mktemp("project"))
    print(run(folder, "dvc", "repro"))
    return folder


def stages_to_run(folder: Path) -> list[str]:
    lines = run(folder, "dvc", "repro", "--dry").splitlines()
    return [line.split("'")[1] for line in lines if line.startswith("Running stage")]


def test_every_stage_leaves_its_results(project):
    for name in ("sources", "lexicon", "corpus", "harvest", "senses", "targets", "distill-kd-0", "distill-dskd-0"):
        assert (project / f"reports/notebooks/{name}.html").stat().st_size > 1000
        notebook = json.loads((project / f"reports/notebooks/{name}.ipynb").read_text())
        assert not any(
            output.get("name") == "stderr" for cell in notebook["cells"] for output in cell.get("outputs", [])
        )
    assert "<img" in (project / "reports/index.html").read_text()
    provenance = json.loads((project / "reports/provenance.json").read_text())
    assert set(provenance["stages"]) >= {"harvest", "distill-dskd-0", "report"}


def test_a_second_run_does_nothing(project):
    assert stages_to_run(project) == []


def test_metrics_tell_teacher_cut_and_students_apart(project):
    models = json.loads((project / "reports/metrics.json").read_text())["models"]
    assert list(models) == ["teacher", "cut", "kd-0", "dskd-0"]
    assert models["teacher"]["kl"]["mean"] == pytest.approx(0, abs=1e-6)
    assert models["teacher"]["agreement"]["mean"] == 1
    assert models["teacher"]["ce"]["mean"] < models["kd-0"]["ce"]["mean"] < models["cut"]["ce"]["mean"]
    assert models["dskd-0"]["kl"]["mean"] < models["cut"]["kl"]["mean"]
    assert models["kd-0"]["kl"] != models["dskd-0"]["kl"]


def test_heldout_words_are_in_no_training_relation_but_in_the_items(project):
    from dskd.lexicon import is_heldout

    table = pd.read_parquet(project / "artifacts/lexicon.parquet")
    words = set(table["head"]) | set(table["tail"])
    assert len(words) > 10_000
    assert not any(is_heldout(word, 0, 0.1) for word in sorted(words))
    scores = [json.loads(line) for line in (project / "reports/scores/lexical.jsonl").read_text().splitlines()]
    assert len(scores) == 4 * 3 * 16  # models, tasks, items


def test_dvc_shows_metrics_and_plots(project):
    assert "models.kd-0.kl.mean" in run(project, "dvc", "metrics", "show")
    out = run(project, "dvc", "plots", "show", "--out", "plots")
    assert "WARNING" not in out and "failed" not in out
    assert "reports_curves_dskd-0_plots_metrics_sense_tsv" in (project / "plots/index.html").read_text()


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
    assert out.strip().splitlines()[-1].startswith("dskd: ") and "dvc repro harvest" in out
    assert "Traceback" not in out
    out = run(folder, "python", "-m", "dskd", "notebook", "senses", expect=1)
    assert "dvc repro harvest" in out and "Traceback" not in out
    assert not (folder / "artifacts").exists() or not any((folder / "artifacts").iterdir())


def test_a_change_of_lambda_reruns_its_student_and_what_follows(project):
    before = json.loads((project / "reports/metrics.json").read_text())["models"]
    out = run(project, "dvc", "exp", "run", "-S", "objectives.dskd.sense=0.5")
    assert re.findall(r"Running stage '([^']+)'", out) == ["distill@dskd-0", "evaluate", "report"]
    after = json.loads((project / "reports/metrics.json").read_text())["models"]
    assert after["kd-0"] == before["kd-0"]
    assert after["dskd-0"]["kl"] != before["dskd-0"]["kl"]
    assert re.search(r"objectives\.dskd\.sense +0\.1 +0\.5", run(project, "dvc", "params", "diff"))
