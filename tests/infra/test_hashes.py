"""What a project's code is known by."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dskd
from dskd.errors import UserError
from dskd.infra.hashes import check_code

CODE = Path(dskd.__file__).parent


@pytest.fixture
def clone(tmp_path):
    """A second clone, which is not the one that is installed."""
    shutil.copytree(CODE, tmp_path / "dskd", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(CODE.parent / name, tmp_path)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def test_equal_code_and_no_code_are_no_other_code(clone, tmp_path):
    check_code(CODE.parent)
    check_code(clone)
    shutil.rmtree(clone / "dskd")
    check_code(clone)


@pytest.mark.parametrize("kind", ["changed", "more", "less"])
def test_other_code_does_not_run_on_a_project(clone, kind):
    path = clone / "dskd" / ("students/more.py" if kind == "more" else "students/train.py")
    if kind == "less":
        path.unlink()
    else:
        path.write_text("# another loss\n")
    with pytest.raises(UserError, match=rf"has other code \(students/{path.name}\): run `python -m dskd` in "):
        check_code(clone)


def test_a_command_in_a_folder_of_another_clone_says_whose_code_it_is(clone):
    """`python -m` takes the code of the working folder, where there is some; in a folder below, what is installed."""
    (clone / "dskd/students/train.py").write_text("# another loss\n")
    command = [sys.executable, "-m", "dskd", "plan"]
    for place, ran in ((clone, False), (clone / "notebooks", True)):
        done = subprocess.run(
            command, cwd=place, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(CODE.parent)}
        )
        assert done.returncode == 1 and ("has other code (students/train.py)" in done.stderr) == ran, done.stderr
