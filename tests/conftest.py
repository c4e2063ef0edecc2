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
