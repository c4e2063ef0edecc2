"""The teacher's states on disk: shards of whole blocks, memory-mapped, in the order of the corpus.

A token costs 2 d numbers: its last hidden state (which with the frozen head is its whole distribution,
at a fraction of the size of logits) and the state that enters the student's first trained layer.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.output import output


class States(NamedTuple):
    """Memory-mapped states of one split; each list has one tensor a shard, (blocks, L, …)."""

    hidden_states: list[Tensor]  # (b, L, d), after the final norm; of codes one that is read back block by block
    split_states: list[Tensor]  # (b, L, d), entering the first trained layer
    predicted: list[Tensor]  # (b, L) int32, the teacher's most probable next token; none where codes are read
    top_tokens: list[Tensor] | None = None  # (b, L, K) int32, its K most probable ones, where harvest.top_tokens is K

    @property
    def blocks(self) -> int:
        return sum(len(shard) for shard in self.split_states)

    @property
    def length(self) -> int:
        return self.split_states[0].shape[1]


class Text(NamedTuple):
    """The blocks of a split, n of L positions each, with the teacher's states of them."""

    states: States
    labels: Tensor  # (n, L) int64, the token that follows each position
    ids: Tensor  # (n, L) int32, the token at each position


def shard_path(folder: Path, split: str, index: int) -> Path:
    return folder / f"{split}-{index:05d}.safetensors"


def save_shard(
    path: Path, hidden_states: Tensor, split_states: Tensor, predicted: Tensor, top_tokens: Tensor | None = None
) -> None:
    """Write one shard, whole or not at all."""
    tensors = {"hidden_states": hidden_states, "split_states": split_states, "predicted": predicted}
    if top_tokens is not None:
        tensors["top_tokens"] = top_tokens
    with output(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)


def save_below(path: Path, split_states: Tensor) -> None:
    """Write a shard of the states at the split alone."""
    with output(path) as partial:
        save_file({"split_states": split_states.contiguous()}, partial)


def open_states(folder: str | Path, split: str) -> States:
    """Map the shards of `split` ("train" or "heldout"); nothing is read until it is used.

    Raises:
        UserError: no shards, a gap between them, or a shard that is not whole.
    """
    *names, top_tokens = States._fields
    paths = _shard_paths(Path(folder), split)
    shards = [artifacts.load_tensors(path, "harvest", names, [top_tokens]) for path in paths]
    return States(**{name: [shard[name] for shard in shards] for name in shards[0]})


def open_below(folder: str | Path, split: str) -> list[Tensor]:
    """Map the states at the split where they were written alone, one tensor a shard; UserError as `open_states`."""
    paths = _shard_paths(Path(folder), split)
    return [artifacts.load_tensors(path, "harvest", ["split_states"])["split_states"] for path in paths]


def _shard_paths(folder: Path, split: str) -> list[Path]:
    paths = sorted(folder.glob(f"{split}-*.safetensors"))
    if not paths or [shard_path(folder, split, i) for i in range(len(paths))] != paths:
        raise UserError(f"{folder} lacks shards of {split}: make them with `dvc repro harvest`")
    return paths


def take_blocks(shards: list[Tensor], blocks: Tensor) -> Tensor:
    """Blocks by number, in the order asked for: (len(blocks), L, …), read into memory."""
    size = len(shards[0])  # all shards but the last are equally long
    return torch.stack([shards[b // size][b % size] for b in blocks.tolist()])


def take_positions(shards: list[Tensor], positions: Tensor) -> Tensor:
    """States by position (block * L + offset), in the order asked for: (n, d), read into memory."""
    size, length = shards[0].shape[:2]
    out = torch.empty(len(positions), *shards[0].shape[2:], dtype=shards[0].dtype)
    shard_of = positions // (size * length)
    for index in shard_of.unique().tolist():
        rows = (shard_of == index).nonzero().squeeze(1)
        out[rows] = shards[index].flatten(0, 1)[positions[rows] - index * size * length]
    return out
