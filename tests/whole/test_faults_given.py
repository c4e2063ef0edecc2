"""Faults of what is given: names and numbers from a hostile hand, in params.yaml, in a profile or on the command line.

DVC puts names of params.yaml into commands and paths before dskd can refuse them, so dvc.yaml itself has to be safe.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo
from tiny.project import ROOT
from whole.test_pipeline import ENV

from dskd.__main__ import main

# What the shell, `python -m dskd` or DVC could take for more than a name.
HOSTILE = """
dskd;touch pwned;echo
dskd;touch$IFS'pwned';echo
$(touch pwned)
`touch pwned`
'; touch pwned; '
"; touch pwned; "
\\'; touch pwned; \\'
dskd && touch pwned
dskd | touch pwned
dskd > pwned
dskd & touch pwned #
{touch,pwned}
*
~
!!
--seed
--help
-x
${item.seed}
a b
é
""".strip().splitlines()
HOSTILE += ["dskd\ntouch pwned", "dskd\\", " "]
TEMPLATED = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
TEMPLATED = {name: stage for name, stage in TEMPLATED.items() if "${" in json.dumps(stage)}
# Each word of a call with a NUL at its end, and after each call a line that is no word.
RECORDER = """\
#!/bin/sh
printf '%s\\0' "$@" >> {log}
printf '/end/\\0' >> {log}
exit 1
"""


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A DVC project with the committed dvc.yaml, whose `python` writes down what it is called with, and fails."""
    root = tmp_path / "project"
    for folder in (".dvc", "bin"):
        (root / folder).mkdir(parents=True)
    (root / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    shutil.copy(ROOT / "dvc.yaml", root)
    log = tmp_path / "called"
    (root / "bin/python").write_text(RECORDER.format(log=log))
    (root / "bin/python").chmod(0o755)
    monkeypatch.chdir(root)

    def given(objectives, seeds):
        values = yaml.safe_load((ROOT / "params.yaml").read_text())
        values["distill"] |= {"objectives": objectives, "seeds": seeds}
        (root / "params.yaml").write_text(yaml.safe_dump(values, allow_unicode=True))
        return [stage for stage in Repo(str(root)).index.stages if stage.name.partition("@")[0] in TEMPLATED]

    def called(*command):
        env = {**ENV, "PATH": f"{root}/bin{os.pathsep}{ENV['PATH']}"}
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
        calls = log.read_text().split("/end/\0")[:-1] if log.exists() else []
        log.unlink(missing_ok=True)
        return done, [call.split("\0")[:-1] for call in calls]

    return root, given, called


def test_whatever_templates_take_from_the_parameters_is_one_word_of_a_command(recorded):
    root, given, called = recorded
    stages = {stage.name: stage.cmd for stage in given(["kd", *HOSTILE], [0, *HOSTILE])}
    before, expected = sorted(root.rglob("*")), []
    for word in HOSTILE:
        expected += [["-m", "dskd", "notebook", "targets", "--objective", word]]
        expected += [["-m", "dskd", "notebook", "distill", "--objective", word, "--seed", "0"]]
        expected += [["-m", "dskd", "notebook", "distill", "--objective", "kd", "--seed", word]]
    names = [n for w in HOSTILE for n in (f"targets@{w}", f"distill@{w}-0", f"distill@kd-{w}")]
    script = "\n".join(stages[name] for name in names)
    assert called("sh", "-c", script)[1] == expected
    assert sorted(root.rglob("*")) == before


def test_ordinary_names_give_the_commands_that_dvc_lock_has(recorded):
    _, given, _ = recorded
    commands_ = {stage.name: stage.cmd for stage in given(["kd", "dskd"], [0])}
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    assert len(commands_) == 4
    for name, command in commands_.items():
        assert command == lock[name]["cmd"]


@pytest.mark.parametrize("value", [{"a;touch pwned;": 1}, ["a;touch pwned"], [["a"]], {"a": {"b;c": 1}}])
@pytest.mark.parametrize("key", ["objectives", "seeds"])
def test_a_mapping_or_list_in_the_place_of_a_name_is_refused_by_dvc(recorded, key, value):
    """Keys of a mapping would not be quoted."""
    _, given, _ = recorded
    with pytest.raises(DvcException, match="Cannot interpolate"):
        given(**{"objectives": ["kd"], "seeds": [0], key: [value]})


def test_dvc_deletes_nothing_that_a_name_leads_to(recorded, tmp_path):
    """It deletes outputs before their stage runs, inside the project or not, unless they are to persist."""
    for stage in TEMPLATED.values():
        for out in stage["outs"]:
            ((path, options),) = out.items() if isinstance(out, dict) else ((out, {}),)
            assert "${" not in path or options.get("persist"), path
    root, given, called = recorded
    for place in (tmp_path / "victim", root / "own"):
        place.mkdir()
        (place / "file").write_text("mine")
    for objective in ("../../../victim", "../../own", "../.."):
        given([objective], [f"x/../{objective}"])
        done, _ = called("dvc", "repro", "--single-item", "--force", f"targets@{objective}")
        assert done.returncode
        assert (tmp_path / "victim/file").read_text() == (root / "own/file").read_text() == "mine"
    assert (root / "dvc.yaml").exists()


@pytest.mark.parametrize("name", [*HOSTILE, "../../../victim"])
def test_a_profile_with_a_hostile_name_is_one_line_and_changes_nothing(tmp_path, monkeypatch, capsys, name):
    (tmp_path / "profiles").mkdir()
    for file in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / file, tmp_path)
    changes = {"objectives": {name: {"ce": 1.0}}, "distill": {"objectives": [name]}}
    (tmp_path / "profiles/own.yaml").write_text(yaml.safe_dump(changes))
    before = (tmp_path / "params.yaml").read_bytes()
    monkeypatch.chdir(tmp_path)
    assert main(["profile", "own"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("dskd: ")
    assert (tmp_path / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["targets", "--objective", "../../../victim"], "no objective '../../../victim'"),
        (["notebook", "targets", "--objective", "../../../victim"], "no objective '../../../victim'"),
        (["distill", "--objective", "kd", "--seed", str(2**70)], f"--seed {2**70}: it takes a number from 0 to"),
        (["notebook", "distill", "--objective", "kd", "--seed=-1"], "--seed -1: it takes a number from 0 to"),
        (["profile", "../params"], "no profile '../params'; there are: "),
        (["plan", "--profile", "../params"], "no profile '../params'; there are: "),
        (["verify", "--against=--output=x"], "no committed run at '--output=x'"),
        (["chat", "--tokens", str(2**70)], f"--tokens {2**70}"),
        (["senses", os.fsdecode(b"caf\xe9")], r"the argument 'caf\udce9' is not in UTF-8: write it so"),
    ],
)
def test_an_argument_that_is_no_name_number_or_text_is_one_line(monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(ROOT)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"dskd: {says}") and error.count("\n") == 1
    assert not Path("x").exists()


@pytest.mark.parametrize(("soft", "hard", "code"), [(32, 32, 1), (32, 4096, 0)])
def test_too_few_open_files_are_one_line_unless_more_may_be_had(soft, hard, code):
    command = f"ulimit -Sn {soft} && ulimit -Hn {hard} && exec {sys.executable} -m dskd plan"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=ENV, capture_output=True, text=True)
    assert done.returncode == code
    if code:
        assert done.stderr == "dskd: only 32 files may be open at a time, 256 are needed: run `ulimit -n 1024` first\n"


def test_a_terminal_that_knows_ascii_alone_shows_the_rest_as_numbers():
    code = "import sys, dskd.__main__ as m; m.run = lambda _: print('caf\\u00e9') or 0; sys.exit(m.main())"
    env = {**ENV, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code, "readme"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "caf\\xe9\n", "")
