"""Stages done by several processes, over gloo on one machine."""

import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from senses.test_cluster import BLOCKS, LENGTH, NO_LABELS, TOKENS, WIDTH
from states.test_harvest import run as harvest
from states.test_reservoir import run as sample
from students.test_train import (
    OBJECTIVES,
    fresh_accelerator,  # noqa: F401
    make_data,
    stop_at,
    uncompiled,  # noqa: F401
    weights_of,
)
from students.test_train import curves as curves_of
from students.test_train import run as distill
from tiny.models import random_states, sampled, sense_settings
from tiny.project import ROOT
from tiny.project import run as run_stage
from tools.parallel import run_in_processes

from dskd.__main__ import main
from dskd.errors import UserError
from dskd.infra import processes
from dskd.infra.artifacts import STATES
from dskd.infra.hashes import sha256_tree
from dskd.params import Objective
from dskd.pipeline import stages
from dskd.senses.cluster import build_senses
from dskd.senses.store import save_senses
from dskd.states import harvest as harvest_module
from dskd.students import train as distill_module


@pytest.mark.parametrize("number", [2, 5])
def test_the_shards_are_the_same_bytes_from_any_number_of_processes(teacher, tmp_path, number):
    harvest(teacher, tmp_path / "one")
    assert run_in_processes(number, lambda _: harvest(teacher, tmp_path / "more")) == [0] * number
    assert sha256_tree(tmp_path / "more") == sha256_tree(tmp_path / "one")


@pytest.mark.parametrize("number", [2, 5])  # 5: one has no chunk
def test_the_sample_is_the_same_bytes_from_any_number_of_processes(teacher, tmp_path, number):
    sample(teacher, tmp_path / "one")
    assert run_in_processes(number, lambda _: sample(teacher, tmp_path / "more") and None) == [0] * number
    assert sha256_tree(tmp_path / "more") == sha256_tree(tmp_path / "one")


@pytest.mark.parametrize("number", [2, 4])
def test_the_senses_are_the_same_bytes_from_any_number_of_processes(tmp_path, number):
    settings = sense_settings(min_states=2)
    drawn = sampled(random_states(BLOCKS, LENGTH, WIDTH, TOKENS), NO_LABELS, settings)

    def make(folder):
        save_senses(folder, build_senses(drawn, settings))

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


def distill_in_processes(number, teacher, data, folder, **changes):
    """Exit codes of a run; each process leaves its weights in `folder`."""

    def work(rank):
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


@pytest.mark.parametrize("sharded", [False, True])
def test_another_number_of_processes_goes_on_where_one_was_stopped(teacher, data, tmp_path, monkeypatch, sharded):
    whole = weights_of(distill(teacher, data, tmp_path / "one", epochs=1))
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power"):
        stop_at(patch, 5)
        distill(teacher, data, tmp_path / "more", epochs=1)
    assert [path.name for path in (tmp_path / "more/work").glob("checkpoint-*")] == ["checkpoint-000000004"]
    with monkeypatch.context() as patch:
        patch.setattr(distill_module, "is_sharded", lambda _: sharded)  # as FSDP, which accelerate has for GPUs alone
        assert distill_in_processes(2, teacher, data, tmp_path / "more", epochs=1) == [0, 0]
    assert [path.name for path in (tmp_path / "more/work").glob("checkpoint-*")] == ["checkpoint-000000006"]
    torch.testing.assert_close(load_file(tmp_path / "more/weights-0"), whole, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(points(tmp_path / "more"), points(tmp_path / "one"), rtol=1e-5, atol=1e-6)
    again = weights_of(distill(teacher, data, tmp_path / "more", epochs=1))  # one process reads what they have left
    torch.testing.assert_close(again, whole, rtol=1e-3, atol=1e-4)


def with_processes(number):
    """Ask for so many in the project's params.yaml."""
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("processes: 1\n", f"processes: {number}\n"))


def test_a_stage_starts_the_processes_that_the_parameters_ask_for(project, monkeypatch):
    before = sha256_tree(STATES)
    with_processes(2)
    monkeypatch.setattr(stages, "harvest_states", None)  # this process does nothing of it
    shutil.rmtree(STATES)
    assert run_stage("harvest") == (0, "")
    assert sha256_tree(STATES) == before


# What Python runs before all else where it finds it: the disk is full, for the second process alone.
FULL_DISK = """
import os
if os.environ.get("RANK") == "1":
    import safetensors.torch
    def save_file(*_):
        raise OSError(28, "No space left on device")
    safetensors.torch.save_file = save_file
"""


def test_a_failure_in_one_of_the_processes_is_one_line_and_can_be_mended(project, tmp_path, monkeypatch):
    with_processes(2)
    before = sha256_tree(STATES)
    (tmp_path / "sitecustomize.py").write_text(FULL_DISK)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
        code, said = run_stage("harvest")
    assert code == 1 and re.fullmatch(r"dskd: disk full while writing \S+train-00001.safetensors \(.*", said)
    assert sha256_tree(STATES) == before
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("processes: 2", "processes: 1"))
    shutil.rmtree(STATES)
    assert run_stage("harvest") == (0, "")
    assert sha256_tree(STATES) == before


def test_a_process_that_loses_the_others_ends_too(project, capfd):
    def work(rank):
        if rank == 1:
            harvest_module.save_shard = None  # a bug: it cannot be called
        return main(["harvest"])

    assert run_in_processes(2, work) == [1, 1]
    assert "dskd: this process has lost the others" in capfd.readouterr().err


def test_accelerate_s_launcher_of_one_cpu_process_is_refused(monkeypatch):
    for name, value in {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="starts one process only: write --multi_gpu"):
        processes.state()


def test_other_stages_refuse_more_than_one_process(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["lexicon"]) == 1
    assert "dskd: lexicon runs in one process; harvest, senses, distill can be shared" in capsys.readouterr().err
