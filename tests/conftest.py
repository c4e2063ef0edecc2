import shutil

import pytest
import torch
from tiny import make_teacher, make_tokenizer
from tiny_project import STAGES, make_project, prepare, run

from dskd import determinism


@pytest.fixture(scope="session", autouse=True)
def pinned():
    """All tests run as a stage does: threads fixed, and an operation without a deterministic form is an error."""
    determinism.pin(1)


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
        return max((i for i, kind in enumerate(later) if name.startswith(kind)), default=-1)

    items.sort(key=place)
