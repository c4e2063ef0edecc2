import os
import shutil
import signal
import subprocess

import pytest
import torch
from tiny.models import make_teacher, make_tokenizer
from tiny.project import STAGES, make_project, prepare, run
from whole.test_pipeline import ENV, checkout

from dskd.infra.arithmetic import pin


@pytest.fixture(scope="session", autouse=True)
def pinned():
    """All tests run as a stage does: threads fixed, and an operation without a deterministic form is an error."""
    pin(1)


@pytest.fixture(scope="session", autouse=True)
def whole_pipeline(request, tmp_path_factory):
    """Where the tests of the whole pipeline are asked for: (its folder, the process that runs it), beside the others.

    Most of what a stage takes at this size is the start of its kernel, on one core; so the run begins with the session.
    """
    if not any(item.path.stem == "test_pipeline" for item in request.session.items):
        yield None
        return
    folder = checkout(tmp_path_factory.mktemp("project"))
    with (folder / "repro.log").open("wb") as log:
        process = subprocess.Popen(
            ["dvc", "repro"], cwd=folder, env=ENV, stdout=log, stderr=log, start_new_session=True
        )
    yield folder, process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def teacher():
    return make_teacher()


@pytest.fixture(scope="session")
def bf16_teacher():
    return make_teacher(torch.bfloat16)


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory):
    """A project in miniature after its stages have run; `project` is a copy."""
    with pytest.MonkeyPatch.context() as patch:
        root = make_project(tmp_path_factory.mktemp("tiny"))
        patch.chdir(root)
        prepare(patch)
        for stage in list(STAGES)[:-1]:
            code, text = run(stage)
            assert code == 0, text
    return root


@pytest.fixture
def project(finished_project, tmp_path, monkeypatch):
    """A copy of the finished project, as the working folder; its stages run anew."""
    root = tmp_path / "project"
    shutil.copytree(finished_project, root, ignore=shutil.ignore_patterns("*.fingerprint"))
    monkeypatch.chdir(root)
    prepare(monkeypatch)
    return root


def pytest_collection_modifyitems(items):
    """From single functions to kernels and servers to the whole pipeline: the cheap failures come first."""
    later = ["fuzz", "sources", "own", "notebook", "faults", "killing", "sharing", "project", "pipeline"]

    def place(item):
        name = item.path.stem.removeprefix("test_")
        kinds = [item.path.parent.name, name] if item.path.parent.name in later else [name]
        return max((i for i, kind in enumerate(later) for name in kinds if name.startswith(kind)), default=-1)

    items.sort(key=place)
