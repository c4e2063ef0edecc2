"""SIGKILL at chosen moments, in processes of their own; tests/tools/killing.py kills the real pipeline."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from infra.test_notebook import environment, tree

from dskd.infra.hashes import sha256_tree
from dskd.infra.output import output

HERE = Path(__file__).resolve().parents[1]


def die_at(count: int, place: Path) -> list[str]:
    """From now on let this process be killed just before it changes files in `place` for the time with this number."""
    seen = []

    def hook(event, arguments):
        changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")
        if event == "open" and isinstance(arguments[0], str | Path):
            changes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if changes:  # a name below an open folder (as rmtree gives it) counts as well
            seen.append(f"{event} {arguments[0]}")
            if len(seen) == count:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return seen


def killed(count: int, place: Path, work) -> bool:
    """Call `work` in a forked process that is killed at that file operation; whether it was killed before its end."""
    child = os.fork()
    if child == 0:
        try:
            die_at(count, place)
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def write_text(path: Path, text: str) -> None:
    with output(path) as partial:
        partial.write_text(text)


def parts(path: Path, fingerprint: str, written: list[str]) -> None:
    """An output of three parts, as the stages that can go on make theirs."""
    with output(path, fingerprint, checksums=True) as partial:
        for name in ("a", "b", "c"):
            if not (partial / name).exists():
                write_text(partial / name, f"{fingerprint} {name}")
                written.append(name)


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_killed_before_any_change_of_a_file_an_output_goes_on_with_what_was_whole(tmp_path):
    count, kept, end = 1, set(), False
    while not end:
        folder = tmp_path / str(count)
        path = folder / "states"
        parts(path, "earlier", [])
        end = not killed(count, folder, lambda path=path: parts(path, "now", []))
        if path.exists():  # what is visible is whole
            assert names(path) == ["SHA256SUMS", "a", "b", "c"]
            assert len({(path / name).read_text().split()[0] for name in "abc"}) == 1
        made = [p for place in (".states.partial", "states") for p in (folder / place).glob("[abc]")]
        done = {p.name for p in made if p.read_text().startswith("now")}
        written = []
        parts(path, "now", written)
        assert (path / "a").read_text() == "now a" and names(path) == ["SHA256SUMS", "a", "b", "c"]
        assert sorted([*done, *written]) == ["a", "b", "c"]  # none twice
        assert names(folder) == [".states.fingerprint", "states"]
        kept.add(len(done))
        count += 1
    assert count > 15 and kept == {0, 1, 2, 3}


def test_killed_before_any_change_of_a_file_a_file_is_the_old_or_the_new(tmp_path):
    path, count = tmp_path / "checkpoint", 1
    write_text(path, "old")
    while killed(count, tmp_path, lambda: write_text(path, "new")):
        assert path.read_text() in ("old", "new")
        write_text(path, "old")
        count += 1
    assert count > 2 and path.read_text() == "new" and names(tmp_path) == ["checkpoint"]


WORK = """
import json, os, signal, sys
from pathlib import Path
import torch
from dskd.infra.arithmetic import pin
from dskd.students import output_loss, train
pin(1)
from tiny.models import LOWER_LAST, distill_settings, make_ids, make_states, make_teacher
from dskd.model.logits import head_of
from dskd.params import HarvestParams, Objective
from dskd.states.harvest import harvest
from dskd.states.store import Text
from dskd.students.store import new_student
output_loss.fused = lambda function: function
kind, folder, pattern, count = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
seen = 0

def hook(event, arguments):
    global seen
    if event == "os.rename" and Path(str(arguments[1])).match(pattern):
        seen += 1
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
teacher, ids = make_teacher(torch.bfloat16), make_ids(10, 12)
if kind == "harvest":
    settings = HarvestParams(batch_size=2, shard_blocks=2)
    harvest(teacher, {"train": ids}, LOWER_LAST, settings, folder / "states", "x", torch.bfloat16)
else:
    student, steps = new_student(teacher, teacher, LOWER_LAST), []
    step = train.step_loss
    def stepped(*arguments):
        steps.append(None)
        if pattern == "step" and len(steps) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments)
    train.step_loss = stepped
    objective = Objective(ce=1.0, kl=0.7, hidden=0.0, sense=0.0, margin=1.0, targets="none")
    settings = distill_settings(epochs=3, batch_size=4, checkpoint_steps=2, log_steps=3)  # 9 steps
    text = Text(make_states(teacher, ids, LOWER_LAST), ids[:, 1:].long(), ids[:, :-1])
    train.train(student, head_of(teacher), text, None, train.Recipe(objective, settings, 0), folder / "work")
    print(json.dumps(len(steps)))
"""


def work(kind: str, folder: Path, pattern: str = "-", count: int = 0) -> subprocess.CompletedProcess:
    """Harvest or train the tiny decoder, killed as a file gets a name like `pattern` for the time with this number, or
    within a training step."""
    return subprocess.run(
        [sys.executable, "-c", WORK, kind, str(folder), pattern, str(count)],
        env=environment(PYTHONPATH=f"{HERE.parent}{os.pathsep}{HERE}"),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    for kind in ("harvest", "distill"):
        assert work(kind, folder).returncode == 0
    return folder


def test_a_killed_harvest_goes_on_after_its_last_whole_shard(tmp_path, undisturbed):
    assert work("harvest", tmp_path, "train-*.safetensors", 3).returncode == -signal.SIGKILL
    found = {path: path.stat().st_mtime_ns for path in (tmp_path / ".states.partial").glob("train-*")}
    assert len(found) == 2 and list((tmp_path / ".states.partial").glob(".train-00002.*"))
    assert work("harvest", tmp_path).returncode == 0
    assert sha256_tree(tmp_path / "states") == sha256_tree(undisturbed / "states")
    assert [(tmp_path / "states" / path.name).stat().st_mtime_ns for path in found] == list(found.values())


@pytest.mark.parametrize(
    ("pattern", "count", "left"),
    [
        ("step", 2, 9),  # before there is a checkpoint
        ("step", 6, 5),  # in the second epoch, whose last batch is a smaller one
        ("checkpoint-*", 3, 5),  # as a checkpoint takes the place of the one before
        ("checkpoint-*", 5, 1),  # the last
    ],
)
def test_a_killed_training_goes_on_from_its_checkpoint_and_ends_in_the_same_bytes(
    tmp_path, undisturbed, pattern, count, left
):
    assert work("distill", tmp_path, pattern, count).returncode == -signal.SIGKILL
    done = work("distill", tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == left
    assert sha256_tree(tmp_path / "work") == sha256_tree(undisturbed / "work")


DVC = """
import os, subprocess, sys
subprocess.run([sys.executable, "-m", "dskd", "notebook", "senses"], env={**os.environ, "DVC_STAGE": "senses"})
"""


def test_a_stage_ends_soon_when_the_dvc_that_started_it_is_killed(tmp_path):
    wait = "import os, time\nopen('pid', 'w').write(f'{os.getpid()} {os.getppid()}')\ntime.sleep(600)"
    root = tree(tmp_path, senses=[wait])
    shutil.copy(HERE.parent / "params.yaml", root)
    with subprocess.Popen([sys.executable, "-c", DVC], cwd=root, env=environment(), stderr=subprocess.PIPE) as dvc:
        while not (root / "pid").exists() or not (root / "pid").read_text():
            assert dvc.poll() is None, dvc.stderr.read()
            time.sleep(0.05)
        dvc.kill()
        said = dvc.stderr.read().decode()  # ends when all that could write to it have ended
    assert said == "dskd: DVC was killed: stopped; run `dvc repro` to go on from the last safe point\n"
    for pid in (root / "pid").read_text().split():
        with pytest.raises(ProcessLookupError):
            for _ in range(100):
                os.kill(int(pid), 0)
                time.sleep(0.05)


def test_ctrl_c_while_torch_is_imported_is_one_line():
    command = [sys.executable, "-X", "importtime", "-m", "dskd", "harvest"]
    with subprocess.Popen(
        command,
        cwd=HERE.parent,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        for line in process.stderr:
            if re.search(r"\| +torch\.", line):
                process.send_signal(signal.SIGINT)
                break
        rest = [line for line in process.stderr.read().splitlines() if not line.startswith("import time:")]
        assert process.wait(30) == 130
    assert rest == ["dskd: stopped; run the same command to go on from the last safe point"]
