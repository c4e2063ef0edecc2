import pytest
import torch
from tiny import make_teacher, make_tokenizer

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


def pytest_collection_modifyitems(items):
    """From single functions to kernels and servers to the whole pipeline: the cheap failures come first."""
    later = ["fuzz", "sources", "sources_hub", "notebook", "sharing", "project", "pipeline"]

    def place(item):
        name = item.path.stem.removeprefix("test_")
        name = "fuzz" if name.startswith("fuzz_") else name
        return later.index(name) if name in later else -1

    items.sort(key=place)
