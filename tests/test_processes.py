"""Stages done by several processes, over gloo on one machine."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from parallel import run_in_processes
from test_distill import OBJECTIVES, make_data, stop_at, weights_of
from test_distill import curves as curves_of
from test_distill import run as distill
from test_distill import uncompiled  # noqa: F401
from test_harvest import run as harvest
from test_senses import NO_LABELS, BLOCKS, LENGTH, WIDTH, TOKENS
from test_senses import settings as sense_settings
from tiny import random_states

from dskd.artifacts import UserError, sha256_tree
from dskd.params import Objective
from dskd.senses import build_senses, save_senses


@pytest.mark.parametrize("number", [2, 5])
def test_the_shards_are_the_same_bytes_from_any_number_of_processes(teacher, tmp_path, number):
    harvest(teacher, tmp_path / "one")
    assert run_in_processes(number, lambda _: harvest(teacher, tmp_path / "more")) == [0] * number
    assert sha256_tree(tmp_path / "more") == sha256_tree(tmp_path / "one")


@pytest.mark.parametrize("number", [2, 4])
def test_the_senses_are_the_same_bytes_from_any_number_of_processes(tmp_path, number):
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)

    def make(folder):
        save_senses(folder, build_senses(states, NO_LABELS, sense_settings()))

    make(tmp_path / "one")
    assert run_in_processes(number, lambda _: make(tmp_path / "more")) == [0] * number
    assert sha256_tree(tmp_path / "more") == sha256_tree(tmp_path / "one")
    assert sorted(path.name for path in (tmp_path / "more").iterdir()) == ["SHA256SUMS", "senses.safetensors"]


@pytest.fixture(scope="module")
def data(teacher):
    return make_data(teacher)


def points(folder):
    """The curves: name -> values by step."""
    return {
        name: torch.tensor([float(line.split("\t")[1]) for line in text.splitlines()[1:]])
        for name, text in curves_of(folder).items()
    }


def distill_in_processes(number, teacher, data, folder, before=lambda: None, **changes):
    """Exit codes of a run; the main process leaves its weights in `folder`."""

    def work(rank):
        before()
        top = distill(teacher, data, folder, **changes)
        save_file(weights_of(top), folder / f"weights-{rank}")

    return run_in_processes(number, work)


ALL_TERMS = Objective(ce=1.0, kl=0.7, hidden=0.5, sense=1.0, margin=1.0, targets="lexicon")


@pytest.mark.parametrize(("number", "batch_size"), [(2, 4), (3, 4), (4, 2)])  # 3: uneven; 4: two have no block
def test_more_processes_train_as_one_does(teacher, data, tmp_path, monkeypatch, number, batch_size):
    monkeypatch.setitem(OBJECTIVES, "all", ALL_TERMS)
    changes = {"objective": "all", "batch_size": batch_size, "epochs": 1}
    one = weights_of(distill(teacher, data, tmp_path / "one", **changes))
    assert distill_in_processes(number, teacher, data, tmp_path / "more", **changes) == [0] * number
    every = [load_file(tmp_path / "more" / f"weights-{rank}") for rank in range(number)]
    for found in every:
        assert found.keys() == one.keys()
        assert all(torch.equal(found[name], every[0][name]) for name in one)  # processes stay together
    torch.testing.assert_close(every[0], one, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(points(tmp_path / "more"), points(tmp_path / "one"), rtol=1e-5, atol=1e-6)
    assert points(tmp_path / "one").keys() == {"ce", "kl", "hidden", "sense"}


def test_another_number_of_processes_goes_on_where_one_was_stopped(teacher, data, tmp_path, monkeypatch):
    whole = weights_of(distill(teacher, data, tmp_path / "one", epochs=1))
    stop_at(monkeypatch, 5)
    with pytest.raises(RuntimeError, match="power"):
        distill(teacher, data, tmp_path / "more", epochs=1)
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "more/work").glob("checkpoint-*")] == ["checkpoint-000000004"]
    assert distill_in_processes(2, teacher, data, tmp_path / "more", epochs=1) == [0, 0]
    torch.testing.assert_close(load_file(tmp_path / "more/weights-0"), whole, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(points(tmp_path / "more"), points(tmp_path / "one"), rtol=1e-5, atol=1e-6)
