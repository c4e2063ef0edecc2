"""Which blocks a step trains on, and what it reads of them; the next step's while one is computed."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from dskd.infra.randomness import hash_integers
from dskd.params import DistillParams
from dskd.states.store import States, take_blocks
from dskd.students.losses import IGNORE
from dskd.targets.store import SenseTargets


class Batch(NamedTuple):
    """What a step needs of its b blocks, in memory and in the format to compute in."""

    split_states: Tensor | None  # (b, L, d); none where there are `ids`
    hidden_states: Tensor  # (b, L, d), the teacher's
    labels: Tensor  # (b, L) int64
    pull: Tensor | None  # (b, L, kappa) int32 rows of the targets' vectors
    push: Tensor | None
    counts: tuple[float, float, float]  # of all processes' batch: positions with a label, positions, those pulled
    ids: Tensor | None = None  # (b, L) tokens, for a student with frozen layers of its own


def schedule(n: int, seed: int, settings: DistillParams) -> list[Tensor]:
    """Block numbers of each step of a run. Part of an epoch is its first steps, at least one."""
    epochs = [batches(n, epoch, seed, settings) for epoch in range(math.ceil(settings.epochs))]
    return [step for epoch in epochs for step in epoch][: max(1, round(settings.epochs * len(epochs[0])))]


def batches(n: int, epoch: int, seed: int, settings: DistillParams) -> list[Tensor]:
    """Block numbers of each step of an epoch, in an order that (seed, epoch) alone decide."""
    order = torch.from_numpy(hash_integers(seed, epoch, torch.arange(n).numpy()).argsort(kind="stable"))
    return list(order.split(settings.batch_size))


def load_batch(
    states: States,
    labels: Tensor,
    targets: SenseTargets | None,
    dtype: torch.dtype,
    blocks: Tensor,
    part: int = 0,
    parts: int = 1,
    ids: Tensor | None = None,
) -> Batch:
    """Read one of the parts, of like size, of the batch that has the blocks with these numbers, (b,).

    Where there are fewer blocks than parts, a part without any is given a block that weighs nothing, since all
    processes have to take part in a step.
    """
    mine = blocks.tensor_split(parts)[part]
    empty, mine = len(mine) == 0, mine if len(mine) else blocks[:1]
    split_states = take_blocks(states.split_states, mine).to(dtype) if ids is None else None
    hidden_states = take_blocks(states.hidden_states, mine).to(dtype)
    whole = labels[blocks]
    pull, push = (None, None) if targets is None else (targets.pull[mine], targets.push[mine])
    supervised = 0 if targets is None else int((targets.pull[blocks] >= 0).any(dim=-1).sum())
    counts = (math.inf,) * 3 if empty else (int((whole != IGNORE).sum()), whole.numel(), supervised)
    return Batch(split_states, hidden_states, labels[mine], pull, push, counts, None if ids is None else ids[mine])


def prefetched(
    order: list[Tensor],
    states: States,
    labels: Tensor,
    targets: SenseTargets | None,
    dtype: torch.dtype,
    part: int = 0,
    parts: int = 1,
    ids: Tensor | None = None,
) -> Iterator[Batch]:
    """One part of the batches of these steps; while one is used, a thread reads the next, so that no step waits for
    the disk."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = None
        for blocks in order:
            ready, coming = coming, reader.submit(load_batch, states, labels, targets, dtype, blocks, part, parts, ids)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()
