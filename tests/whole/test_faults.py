"""Faults of what a run finds in its folder, as a user meets them on the command line: damage, and another run at work.

Each ends in one clear line that names the file and the way out and in a non-zero exit code, and leaves everything else
as it was. tests/tools/faults.py counts the cases.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import save_file
from tiny.project import ROOT, STAGES, files, run, said
from whole.test_pipeline import ENV
from whole.test_pipeline import run as execute

from dskd.infra import output as output_module
from dskd.infra.output import output
from dskd.students import checkpoint


def missing(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    """One bit, in place: where the file is a link into DVC's cache, what lies there changes too."""
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 4)
        byte = file.read(1)[0] ^ 1
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte]))


DAMAGE = [missing, truncated, flipped]
READ = [  # a file, the stage that makes it, and one that reads it
    ("sources/wikipedia.xml.bz2", "sources", "corpus"),
    ("sources/nltk_data/corpora/wordnet/data.adj", "sources", "lexicon"),
    ("teacher/model.safetensors", "sources", "harvest"),
    ("teacher/tokenizer.json", "sources", "benchmarks"),
    ("lexicon.parquet", "lexicon", "targets"),
    ("corpus/blocks.safetensors", "corpus", "harvest"),
    ("corpus/corpus.json", "corpus", "targets"),
    ("states/train-00001.safetensors", "harvest", "targets"),
    ("reservoir/chunk-000001.safetensors", "harvest", "senses"),
    ("states/train-00003.safetensors", "harvest", "targets"),
    ("states/heldout-00000.safetensors", "harvest", "distill"),
    ("senses/senses.safetensors", "senses", "targets"),
    ("targets/dskd/targets.safetensors", "targets", "distill"),
    ("students/dskd-0/model.safetensors", "distill", "evaluate"),
    ("students/dskd-0/heldout.json", "distill", "evaluate"),
    ("benchmarks/summary.json", "benchmarks", "evaluate"),
]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(("name", "maker", "reader"), READ)
def test_a_damaged_file_is_named_with_the_stage_that_makes_it(project, name, maker, reader, damage):
    damage(project / "artifacts" / name)
    before = files(project)
    code, text = run(reader)
    print(text)
    if damage is missing and name.startswith("states"):  # known by what is there of its split
        name = "states"
    assert code == 1 and text.startswith(f"dskd: artifacts/{name}") and "\n" not in text
    assert f"`dvc repro {maker}" in text
    assert files(project) == before


@pytest.mark.parametrize(
    ("group", "change", "stage", "says"),
    [
        ("harvest", {"top_tokens": 10**6}, "harvest", "harvest.top_tokens = 1000000, but the teacher knows "),
        ("distill", {"learning_rate": 1e30, "weight_decay": 1e10}, "distill", "objectives.dskd cannot be trained so: "),
    ],
)
def test_a_value_that_nothing_can_be_made_with_is_named(project, group, change, stage, says):
    values = yaml.safe_load(Path("params.yaml").read_text())
    values[group] |= change
    Path("params.yaml").write_text(yaml.safe_dump(values))
    code, text = run(stage)
    assert code == 1 and text.startswith(f"dskd: {says}") and "\n" not in text


def test_no_flipped_bit_of_the_lexicon_gives_another_lexicon(project):
    from dskd.errors import UserError
    from dskd.lexicon.store import load_lexicon

    path = project / "artifacts/lexicon.parquet"
    sound, table, errors = path.read_bytes(), load_lexicon(path), 0
    for place in range(0, len(sound), 5):
        path.write_bytes(sound)
        with open(path, "r+b") as file:
            file.seek(place)
            file.write(bytes([sound[place] ^ 1 << place % 8]))
        try:
            assert load_lexicon(path).equals(table)  # Parquet's metadata has parts that nothing is read from
        except UserError:
            errors += 1
    assert errors > len(sound) / 5 / 2


# ---- damage to what a stopped run left


@pytest.mark.parametrize("damage", [truncated, flipped])
@pytest.mark.parametrize("name", ["tensors.safetensors", "history.json"])
def test_a_damaged_checkpoint_is_named_and_without_it_the_run_goes_on(project, monkeypatch, name, damage):
    before, saved = files(project), []

    def stopping(*arguments):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(save_file(*arguments))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", stopping)
        assert run("distill") == (130, "dskd: stopped; run the same command to go on from the last safe point")
    (place,) = (project / "artifacts/students/.dskd-0.partial/.work").glob("checkpoint-*")
    damage(place / name)
    code, text = run("distill")
    print(text)
    folder = place.relative_to(project)
    assert code == 1 and text.startswith(f"dskd: {folder}/{name} ") and f"delete {folder} and run" in text
    shutil.rmtree(place)
    assert run("distill") == (0, "")
    assert files(project) == before


# ---- two runs at once

BUSY = """
import sys
from dskd.states import store
from dskd.__main__ import main
save = store.save_file
def waiting(*arguments):
    print("saving", flush=True)
    sys.stdin.readline()
    save(*arguments)
store.save_file = waiting
sys.exit(main(["harvest"]))
"""


def test_of_two_runs_the_second_says_that_the_first_is_at_work(project, monkeypatch):
    monkeypatch.setattr(output_module, "_PATIENCE", 0.1)
    before = files(project)
    command = [sys.executable, "-c", BUSY]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=env, text=True, **pipes) as first:
        assert first.stdout.readline() == "saving\n"
        between = files(project)
        code, text = run("harvest")
        print(text)
        writer = f"process {first.pid} on {os.uname().nodename}"
        assert (code, text) == (1, f"dskd: another run is writing artifacts/states ({writer}): wait for it or stop it")
        assert files(project) == between
        assert run("senses")[0] == 0  # what the first does not write may be written
        _, errors = first.communicate("\n" * 20)
        assert first.returncode == 0 and said(errors) == ""
    assert files(project) == before


def test_two_students_are_trained_at_once_and_one_is_not_trained_twice(project, monkeypatch):
    monkeypatch.setattr(output_module, "_PATIENCE", 0.1)
    before = files(project)
    with output("artifacts/students/kd-0") as partial:
        partial.write_text("")
        assert run("distill")[0] == 0
    (project / "artifacts/students/kd-0").unlink()
    with pytest.raises(ZeroDivisionError), output("artifacts/students/dskd-0"):
        code, text = run("distill")
        assert code == 1 and text.startswith("dskd: another run is writing artifacts/students/dskd-0 (process ")
        _ = 1 / 0
    assert files(project) == before


def test_a_killed_run_blocks_no_other(project):
    before = files(project)
    killed = os.fork()
    if not killed:
        with output("artifacts/senses"):
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(killed, 0)[1] == signal.SIGKILL
    assert (project / "artifacts/.senses.writer").read_text().startswith(f"{killed} on ")
    assert run("senses")[0] == 0
    assert files(project) == before


# ---- with DVC


@pytest.fixture
def with_dvc(project):
    """The project in Git and DVC, as after `dvc repro`; its stages run without notebooks."""
    for name in (".dvcignore", ".gitignore", ".dvc/config"):
        (project / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    pipeline, stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"], {}
    for name in list(STAGES)[:-2]:
        stage = stages[name] = pipeline[name]
        stage["cmd"] = stage["cmd"].replace("dskd notebook", "dskd")
        for key in ("deps", "outs"):
            stage[key] = [entry for entry in stage[key] if "artifacts/" in str(entry)]
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    execute(project, "git", "init", "--quiet")
    execute(project, "dvc", "commit", "--force", "--quiet")
    return project


def shell(folder: Path, command: str) -> str:
    return execute(folder, "sh", "-c", command)


def test_dvc_puts_the_right_bytes_back(with_dvc, monkeypatch):
    monkeypatch.setitem(ENV, "PYTHONPATH", str(ROOT))
    path, before = with_dvc / "artifacts/senses/senses.safetensors", files(with_dvc / "artifacts")
    flipped(path)  # a copy: the cache is sound
    assert re.search(r"senses:\s+changed outs:\s+modified: +artifacts/senses", execute(with_dvc, "dvc", "status"))
    assert "Stage 'senses' is cached" in execute(with_dvc, "dvc", "repro", "senses")
    assert files(with_dvc / "artifacts") == before
    assert path.stat().st_nlink == 2
    flipped(path)  # now a link: the cache holds the same damage, which DVC would put back again and again
    code, text = run("targets")
    print(text)
    assert code == 1 and "`dvc repro senses`" in text
    for command in re.findall("`(find [^`]+)`", text):
        shell(with_dvc, command)
    shell(with_dvc, "rm -r artifacts/senses")
    assert "Running stage 'senses'" in execute(with_dvc, "dvc", "repro", "senses")
    assert files(with_dvc / "artifacts") == before


def test_of_two_dvc_repro_the_second_names_the_first(tmp_path):
    execute(tmp_path, "git", "init", "--quiet")
    execute(tmp_path, "dvc", "init", "--quiet")
    os.mkfifo(tmp_path / "gate")
    stage = {"cmd": "touch began; read word < gate; echo done > out", "outs": ["out"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"slow": stage}}))
    with subprocess.Popen(["dvc", "repro", "--quiet"], cwd=tmp_path, env=ENV) as first:
        while not (tmp_path / "began").exists():
            assert first.poll() is None
        text = execute(tmp_path, "dvc", "repro", expect=255)
        print(text)
        assert f"out' is busy, it is being blocked by:\n  (PID {first.pid})" in text
        (tmp_path / "gate").write_text("go\n")
        assert first.wait() == 0
    assert (tmp_path / "out").read_text() == "done\n"
