import errno

import pytest
import torch
from safetensors import SafetensorError
from tiny.models import FIRST, LOWER_LAST, make_ids

from dskd.errors import UserError
from dskd.infra.hashes import sha256_tree
from dskd.model.cut import split_depth, teacher_top, trunk
from dskd.model.parts import run_part
from dskd.params import HarvestParams, StudentParams
from dskd.states import harvest as harvest_module
from dskd.states import store as states_module
from dskd.states.harvest import harvest, harvest_below, predict
from dskd.states.store import open_below, open_states, take_blocks, take_positions

SETTINGS = HarvestParams(batch_size=2, shard_blocks=3)
LENGTH = 6
BLOCKS = {"train": make_ids(8, LENGTH), "heldout": make_ids(2, LENGTH, seed=1)}  # shards of 3, 3, 2 and 2 blocks


def run(teacher, folder, student=LOWER_LAST, made_from="x", dtype=None, settings=SETTINGS):
    harvest(teacher, BLOCKS, student, settings, folder, made_from, dtype or teacher.dtype)


@pytest.fixture(scope="module")
def states_folder(teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("harvest") / "states"
    run(teacher, folder)
    return folder


@pytest.mark.parametrize("student", [LOWER_LAST, FIRST, StudentParams(cut="first", layers=6, trained=1)])
@torch.no_grad()
def test_the_shards_hold_what_the_whole_model_gives(teacher, tmp_path, student):
    run(teacher, tmp_path / "states", student)
    for split, ids in BLOCKS.items():
        true = teacher(input_ids=ids[:, :-1].long(), output_hidden_states=True)
        states = open_states(tmp_path / "states", split)
        assert (states.blocks, states.length) == (len(ids), LENGTH)
        torch.testing.assert_close(torch.cat(states.hidden_states), true.hidden_states[-1], rtol=1e-5, atol=1e-5)
        split_states = true.hidden_states[split_depth(student)]
        torch.testing.assert_close(torch.cat(states.split_states), split_states, rtol=1e-5, atol=1e-5)
        assert torch.equal(torch.cat(states.predicted).long(), true.logits.argmax(dim=2))
    assert sorted(path.name for path in (tmp_path / "states").iterdir()) == [
        "SHA256SUMS",
        "heldout-00000.safetensors",
        *(f"train-0000{i}.safetensors" for i in range(3)),
    ]
    assert [len(shard) for shard in open_states(tmp_path / "states", "train").predicted] == [3, 3, 2]


def test_the_states_at_the_split_alone_are_the_same_bytes_and_need_the_frozen_layers_alone(
    bf16_teacher, tmp_path, monkeypatch
):
    run(bf16_teacher, tmp_path / "states")
    lower, place = trunk(bf16_teacher, LOWER_LAST), tmp_path / "below"
    real, calls = harvest_module.save_below, []

    def save(path, split_states):
        calls.append(path.name)
        if len(calls) == 3:
            raise RuntimeError("power")
        real(path, split_states)

    monkeypatch.setattr(harvest_module, "save_below", save)
    given = lower, BLOCKS, SETTINGS, place, "x", torch.bfloat16
    with pytest.raises(RuntimeError, match="power"):
        harvest_below(*given)
    harvest_below(*given)  # goes on
    assert calls[3:] == ["train-00002.safetensors", "heldout-00000.safetensors"]
    for split in BLOCKS:
        found, whole = open_below(place, split), open_states(tmp_path / "states", split).split_states
        assert len(found) == len(whole) and all(map(torch.equal, found, whole))
    with pytest.raises(UserError, match="lacks shards of validation"):
        open_below(place, "validation")


@torch.no_grad()
def test_the_most_probable_tokens_are_kept_where_they_are_asked_for(teacher, tmp_path):
    run(teacher, tmp_path / "states", settings=SETTINGS.model_copy(update={"top_tokens": 3}))
    states = open_states(tmp_path / "states", "train")
    logits = teacher(input_ids=BLOCKS["train"][:, :-1].long()).logits
    assert torch.equal(torch.cat(states.top_tokens).long(), logits.topk(3, dim=2).indices)
    assert torch.equal(torch.cat(states.predicted), torch.cat(states.top_tokens)[:, :, 0])


def test_states_keep_the_teacher_s_dtype(bf16_teacher, tmp_path):
    run(bf16_teacher, tmp_path / "states")
    states = open_states(tmp_path / "states", "heldout")
    assert [shards[0].dtype for shards in states[:3]] == [torch.bfloat16, torch.bfloat16, torch.int32]


@torch.no_grad()
def test_states_kept_in_fewer_bits_than_they_are_computed_in_fit_together(teacher, tmp_path):
    run(teacher, tmp_path / "states", dtype=torch.bfloat16)
    states = open_states(tmp_path / "states", "train")
    hidden_states, split_states = (torch.cat(shards) for shards in states[:2])
    assert split_states.dtype == hidden_states.dtype == torch.bfloat16
    again = run_part(teacher_top(teacher, LOWER_LAST), states=split_states.float())
    assert torch.equal(again.bfloat16(), hidden_states)
    logits = teacher.get_output_embeddings()(hidden_states.float())
    assert torch.equal(logits.argmax(dim=2).int(), torch.cat(states.predicted))


@pytest.mark.parametrize("kind", ["teacher", "bf16_teacher"])
@torch.no_grad()
def test_the_cache_gives_the_teacher_s_logits_back_exactly(kind, tmp_path, request):
    teacher = request.getfixturevalue(kind)
    run(teacher, tmp_path / "states")
    head = teacher.get_output_embeddings()
    batches = BLOCKS["train"][:, :-1].long().split(SETTINGS.batch_size)
    states = torch.cat(open_states(tmp_path / "states", "train").hidden_states)
    for ids, kept in zip(batches, states.split(SETTINGS.batch_size), strict=True):
        assert torch.equal(head(kept), teacher(input_ids=ids).logits)


def test_predictions_do_not_depend_on_the_chunk(teacher, monkeypatch):
    states, head = torch.randn(4, 5, 32), teacher.get_output_embeddings().weight
    true = (states @ head.T).argmax(dim=2)
    for chunk in (1, 7, 20, 256):
        monkeypatch.setattr(harvest_module, "SCORE_CHUNK", chunk)
        assert torch.equal(predict(states, head).long(), true)


class Failing:
    """`save_shard` that counts its calls and raises at one of them."""

    def __init__(self, at: int, error: BaseException):
        self.at, self.error, self.saved = at, error, []

    def __call__(self, path, *tensors):
        if len(self.saved) == self.at:
            raise self.error
        self.saved.append(path.name)
        states_module.save_shard(path, *tensors)


@pytest.mark.parametrize("error", [RuntimeError("power"), KeyboardInterrupt()])
def test_a_run_that_was_stopped_goes_on_after_its_last_whole_shard(
    teacher, states_folder, tmp_path, monkeypatch, error
):
    folder = tmp_path / "states"
    monkeypatch.setattr(harvest_module, "save_shard", Failing(1, error))
    with pytest.raises(type(error)):
        run(teacher, folder)
    assert not folder.exists()
    second = Failing(99, error)
    monkeypatch.setattr(harvest_module, "save_shard", second)
    run(teacher, folder)
    assert second.saved == ["train-00001.safetensors", "train-00002.safetensors", "heldout-00000.safetensors"]
    assert sha256_tree(folder) == sha256_tree(states_folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".states.fingerprint", "states"]


def test_shards_of_other_inputs_are_not_taken_over(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(harvest_module, "save_shard", Failing(2, RuntimeError("power")))
    with pytest.raises(RuntimeError, match="power"):
        run(teacher, tmp_path / "states", made_from="one")
    second = Failing(99, RuntimeError())
    monkeypatch.setattr(harvest_module, "save_shard", second)
    run(teacher, tmp_path / "states", made_from="another")
    assert len(second.saved) == 4


def test_a_full_disk_is_an_error_that_names_the_output(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(harvest_module, "save_shard", Failing(1, OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(UserError, match=f"disk full while writing {tmp_path / 'states'}.*MB free"):
        run(teacher, tmp_path / "states")


def test_a_full_disk_while_a_shard_is_written_is_the_same_error(teacher, states_folder, tmp_path, monkeypatch):
    def full(tensors, path):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(states_module, "save_file", full)
    with pytest.raises(UserError, match=r"disk full while writing .*states.*MB free"):
        run(teacher, tmp_path / "states")
    monkeypatch.undo()
    run(teacher, tmp_path / "states")
    assert sha256_tree(tmp_path / "states") == sha256_tree(states_folder)


def test_a_student_deeper_than_the_teacher_stops_before_anything_is_written(teacher, tmp_path):
    with pytest.raises(UserError, match=r"student\.layers = 9"):
        run(teacher, tmp_path / "states", StudentParams(cut="first", layers=9, trained=1))
    assert not list(tmp_path.iterdir())


def test_blocks_and_positions_are_read_across_shards_in_the_order_asked_for(states_folder):
    states = open_states(states_folder, "train")
    for shards in states[:3]:
        whole = torch.cat(shards)
        order = torch.tensor([7, 0, 3, 2, 3])
        assert torch.equal(take_blocks(shards, order), whole[order])
        positions = torch.tensor([8 * LENGTH - 1, 0, 3 * LENGTH, 3 * LENGTH - 1, 20, 20, 6 * LENGTH])
        assert torch.equal(take_positions(shards, positions), whole.flatten(0, 1)[positions])
        assert take_positions(shards, positions[:0]).shape == (0, *whole.shape[2:])
        alone, order = [shards[2]], torch.tensor([1, 0, 1])
        assert torch.equal(take_blocks(alone, order), shards[2][order])


@pytest.fixture
def copy(states_folder, tmp_path):
    for path in states_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_missing_shard_is_an_error_that_names_the_way_out(copy):
    (copy / "train-00001.safetensors").unlink()
    with pytest.raises(UserError, match=r"lacks shards of train.*dvc repro harvest"):
        open_states(copy, "train")
    with pytest.raises(UserError, match="lacks shards of validation"):
        open_states(copy, "validation")


@pytest.mark.parametrize("left", [0, 5, 100, -1])
def test_a_truncated_shard_is_an_error_that_names_it(copy, left):
    path = copy / "train-00002.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=r"train-00002\.safetensors has changed.*dvc repro harvest"):
        open_states(copy, "train")
