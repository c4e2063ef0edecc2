"""Which blocks a step trains on, and what it reads of them; the next step's while one is computed."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from dskd.infra.randomness import hash_integers
from dskd.params import DistillParams
from dskd.states.store import Text, take_blocks
from dskd.students.output_loss import IGNORE
from dskd.students.sampled_vocabulary import Sampling, Vocabulary, draw_vocabulary
from dskd.targets.store import SenseTargets


class Reader(NamedTuple):
    """What a process reads of each batch."""

    text: Text
    targets: SenseTargets | None  # needed where the objective has a sense term
    dtype: torch.dtype  # to compute in
    sampling: Sampling | None = None  # None: a step computes with the whole vocabulary
    part: int = 0  # of a batch that so many processes share
    parts: int = 1


class Counts(NamedTuple):
    """Positions of the whole batch, that of all processes: divisors of the loss terms."""

    labelled: float
    all: float
    supervised: float  # those with senses that pull


class Batch(NamedTuple):
    """What a step needs of its b blocks, in memory and in the format to compute in."""

    split_states: Tensor  # (b, L, d), the teacher's at the split
    ids: Tensor  # (b, L) tokens
    hidden_states: Tensor  # (b, L, d), the teacher's last ones
    labels: Tensor  # (b, L) int64
    pull: Tensor | None  # (b, L, kappa) int32 rows of the targets' vectors
    push: Tensor | None
    counts: Counts
    vocabulary: Vocabulary | None  # the tokens that the step computes with; None: all


def schedule(n: int, seed: int, settings: DistillParams) -> list[Tensor]:
    """Block numbers of each step of a run. Part of an epoch is its first steps, at least one."""
    epochs = [batches(n, epoch, seed, settings) for epoch in range(math.ceil(settings.epochs))]
    return [step for epoch in epochs for step in epoch][: max(1, round(settings.epochs * len(epochs[0])))]


def batches(n: int, epoch: int, seed: int, settings: DistillParams) -> list[Tensor]:
    """Block numbers of each step of an epoch, in an order that (seed, epoch) alone decide."""
    order = torch.from_numpy(hash_integers(seed, epoch, torch.arange(n).numpy()).argsort(kind="stable"))
    return list(order.split(settings.batch_size))


def load_batch(reader: Reader, blocks: Tensor, step: int = 0) -> Batch:
    """Read this process's part of the batch that has the blocks with these numbers, (b,).

    Parts are of like size. Where there are fewer blocks than parts, a part without any is given a block that weighs
    nothing, since all processes have to take part in a step.
    """
    text, targets = reader.text, reader.targets
    mine = blocks.tensor_split(reader.parts)[reader.part]
    empty, mine = len(mine) == 0, mine if len(mine) else blocks[:1]
    labels = text.labels[blocks]
    supervised = 0 if targets is None else int((targets.pull[blocks] >= 0).any(dim=-1).sum())
    counts = Counts(int((labels != IGNORE).sum()), labels.numel(), supervised)
    vocabulary = None
    if reader.sampling:  # of the whole batch, so that all processes compute with the same tokens
        likely = take_blocks(text.states.top_tokens, blocks).long()
        vocabulary = draw_vocabulary(reader.sampling, torch.cat([labels.flatten(), likely.flatten()]), step)
    return Batch(
        split_states=take_blocks(text.states.split_states, mine).to(reader.dtype),
        ids=text.ids[mine],
        hidden_states=take_blocks(text.states.hidden_states, mine).to(reader.dtype),
        labels=text.labels[mine],
        pull=None if targets is None else targets.pull[mine],
        push=None if targets is None else targets.push[mine],
        counts=Counts(math.inf, math.inf, math.inf) if empty else counts,
        vocabulary=vocabulary,
    )


def prefetched(reader: Reader, order: list[Tensor], first: int = 0) -> Iterator[Batch]:
    """The batches of these steps, of which the first has this number; while one is used, a thread reads the next, so
    that no step waits for the disk."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = None
        for step, blocks in enumerate(order, start=first):
            ready, coming = coming, thread.submit(load_batch, reader, blocks, step)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()
