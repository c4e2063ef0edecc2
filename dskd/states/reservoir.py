"""A bounded sample of the teacher's states of each token, taken while the teacher reads a text.

A token's sample is the states at those of its positions that have the smallest hashes of (seed, position), at most
`capacity` of them. So it is the same however the text is cut and whoever reads which part. The text is read in chunks,
and one file holds those of a chunk's states that may be in the sample. Later chunks push states out, so the files are
thinned now and then: the disk holds little more than the sample, however long the text is.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel

from dskd.errors import UserError
from dskd.infra import processes
from dskd.infra.arithmetic import starts_of
from dskd.infra.artifacts import load_tensors, require
from dskd.infra.output import output
from dskd.infra.randomness import hash_integers
from dskd.model.parts import run_part
from dskd.params import HarvestParams, SensesParams
from dskd.states import SPARE
from dskd.states.harvest import predict

_CHUNKS = "chunk-*.safetensors"


class Chunk(NamedTuple):
    """What is kept of one chunk of the text."""

    keys: Tensor  # (n,) int32, the token that each state belongs to
    positions: Tensor  # (n,) int64 in the text, ascending: block * L + offset
    states: Tensor  # (n, d)
    seen: Tensor  # (m,) int32, all keys of the chunk
    seen_counts: Tensor  # (m,) int64, how often each was seen


class Reservoir(NamedTuple):
    """The sample: P states of T tokens, by token and then by position. The states are mapped from files."""

    tokens: Tensor  # (T,) int32, ascending
    occurrences: Tensor  # (T,) int64 states of each token in the text
    sizes: Tensor  # (T,) int64 states of each token in the sample
    positions: Tensor  # (P,) int64 in the text
    rows: Tensor  # (P,) int64 in `states`, laid end to end
    states: list[Tensor]  # (n, d) each

    def take(self, places: Tensor) -> Tensor:
        """The states at these places (0 to P - 1), in the order asked for: (n, d), read into memory."""
        rows, starts = self.rows[places], starts_of(torch.tensor([len(piece) for piece in self.states]))
        out = self.states[0].new_empty(len(rows), self.states[0].shape[1])
        piece_of = torch.searchsorted(starts, rows, right=True) - 1
        for index in piece_of.unique().tolist():
            here = (piece_of == index).nonzero().squeeze(1)
            out[here] = self.states[index][rows[here] - starts[index]]
        return out


def sample_states(
    teacher: PreTrainedModel,
    blocks: Tensor,
    senses: SensesParams,
    harvest: HarvestParams,
    folder: Path,
    dtype: torch.dtype,
) -> None:
    """Run the teacher over the text once and leave in `folder` the files of the sample.

    A run that was stopped goes on after its last chunk. Many processes deal the chunks.

    Args:
        blocks: (n, L + 1) token ids; the states are those of the first L positions.
        folder: where all processes write, and what a stopped run has left stands.
        dtype: of the states that are kept.
    """
    numbers = processes.share(range(-(-len(blocks) // harvest.shard_blocks)))
    sampler = Sampler(folder, numbers, senses.seed, senses.reservoir, teacher.config.vocab_size)
    for number, states, predicted in read_chunks(teacher, blocks, harvest, sampler.waiting(), dtype, senses.key):
        start = number * harvest.shard_blocks
        labels = blocks[start : start + harvest.shard_blocks, 1:]
        keys = predicted if senses.key == "predicted" else labels
        sampler.add(number, keys.flatten(), states.flatten(0, 1), start * labels.shape[1])
    processes.state().wait_for_everyone()
    sampler.finish()


@torch.inference_mode()
def read_chunks(
    teacher: PreTrainedModel,
    blocks: Tensor,
    harvest: HarvestParams,
    numbers: Sequence[int],
    dtype: torch.dtype,
    key: str,
) -> Iterator[tuple[int, Tensor, Tensor | None]]:
    """These chunks of `harvest.shard_blocks` blocks, as the teacher reads them: number, last hidden states (b, L, d),
    and what the teacher predicts, (b, L) int32; None where no `key` needs it, as it costs a product with the head."""
    chunks, head = blocks[:, :-1].split(harvest.shard_blocks), teacher.get_output_embeddings().weight
    with tqdm(
        total=sum(chunks[number].numel() for number in numbers),
        desc="sample",
        unit="tok",
        unit_scale=True,
        mininterval=1,
        disable=not processes.state().is_main_process,
    ) as bar:
        for number in numbers:
            states, predicted = [], []
            for ids in chunks[number].split(harvest.batch_size):
                states.append(run_part(teacher.base_model, ids=ids).to(dtype))
                if key == "predicted":
                    predicted.append(predict(states[-1].to(head.dtype), head).cpu())
                bar.update(ids.numel())
            yield number, torch.cat(states).cpu(), torch.cat(predicted) if predicted else None


class Sampler:
    """Takes in some chunks of a text, in any order, and keeps in a folder what may be in the sample."""

    def __init__(self, folder: Path, numbers: Sequence[int], seed: int, capacity: int, vocabulary: int) -> None:
        self.folder, self.numbers, self.seed, self.capacity = folder, numbers, seed, capacity
        self.bounds = np.full(vocabulary, np.iinfo(np.uint64).max)  # of each token, the largest hash in the sample
        self.kept = self.stored = 0  # states in the sample when it was last known, and on disk
        self._thin(self._own())

    def waiting(self) -> list[int]:
        """The chunks that are still to be read."""
        return [number for number in self.numbers if not self._path(number).exists()]

    def add(self, number: int, keys: Tensor, states: Tensor, start: int) -> None:
        """Keep what may be in the sample of a chunk's keys (n,) and states (n, d), whose first is at `start`."""
        seen, counts = keys.unique(return_counts=True)
        positions = torch.arange(start, start + len(keys))
        here = torch.from_numpy(hash_integers(self.seed, positions.numpy()) <= self.bounds[keys.numpy()])
        self._save(number, Chunk(keys[here].int(), positions[here], states[here], seen.int(), counts))
        self.stored += int(here.sum())
        if self.stored > SPARE * (self.kept + len(keys)):
            self._thin(self._own())

    def finish(self) -> None:
        """Leave in these chunks just what is in the sample, once all chunks of the text have been read."""
        self._thin(sorted(self.folder.glob(_CHUNKS)), finishing=True)

    def _thin(self, paths: list[Path], finishing: bool = False) -> None:
        """Find the sample of all that was read into these files, and drop the rest from the sampler's own. All
        processes finish together."""
        found = [load_chunk(path) for path in paths]
        keys = np.concatenate([chunk.keys.numpy() for chunk in found] or [np.empty(0, np.int32)])
        positions = np.concatenate([chunk.positions.numpy() for chunk in found] or [np.empty(0, np.int64)])
        chosen, self.bounds = smallest(keys, hash_integers(self.seed, positions), self.capacity, len(self.bounds))
        if finishing:
            processes.state().wait_for_everyone()  # nobody writes what another still reads
        own, self.stored = set(self._own()), 0
        for path, chunk, here in zip(paths, found, torch.from_numpy(chosen).split([len(c.keys) for c in found])):
            if path in own:
                self.stored += int(here.sum())
                if not here.all():
                    kept = (column[here] for column in (chunk.keys, chunk.positions, chunk.states))
                    self._save(int(path.stem.split("-")[1]), Chunk(*kept, chunk.seen, chunk.seen_counts))
        self.kept = self.stored

    def _own(self) -> list[Path]:
        return [path for path in map(self._path, self.numbers) if path.exists()]

    def _path(self, number: int) -> Path:
        return self.folder / _CHUNKS.replace("*", f"{number:06d}")

    def _save(self, number: int, chunk: Chunk) -> None:
        with output(self._path(number)) as partial:
            save_file({name: tensor.contiguous() for name, tensor in chunk._asdict().items()}, partial)


def smallest(keys: np.ndarray, hashes: np.ndarray, capacity: int, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of n states have one of the `capacity` smallest hashes of their key, (n,) bool; and of each token of the
    vocabulary the largest hash among these, or the largest of all numbers where it has fewer."""
    order = np.lexsort((hashes, keys))
    sizes = np.bincount(keys, minlength=vocabulary)
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(keys), np.int64)
    rank[order] = np.arange(len(keys)) - np.repeat(starts, sizes)
    bounds = np.full(vocabulary, np.iinfo(np.uint64).max)
    full = np.flatnonzero(sizes >= capacity)
    bounds[full] = hashes[order[starts[full] + capacity - 1]]
    return rank < capacity, bounds


def load_chunk(path: Path) -> Chunk:
    """The chunk of a file, mapped; UserError where it is damaged."""
    return Chunk(**load_tensors(path, "harvest", Chunk._fields))


def open_reservoir(folder: Path) -> Reservoir:
    """Map the sample; UserError where there is none, or files of it are missing or damaged."""
    paths = sorted(require(folder, "harvest").glob(_CHUNKS))
    if not paths or [int(path.stem.split("-")[1]) for path in paths] != list(range(len(paths))):
        raise UserError(f"{folder} lacks chunks of the sample: make them with `dvc repro harvest`")
    return gathered([load_chunk(path) for path in paths])


def gathered(chunks: list[Chunk]) -> Reservoir:
    """The sample that lies in these chunks, in the order of the text."""
    keys, positions = (torch.cat(column) for column in list(zip(*chunks))[:2])
    rows = keys.argsort(stable=True)
    seen, place = torch.cat([chunk.seen for chunk in chunks]).unique(return_inverse=True)
    counts = torch.cat([chunk.seen_counts for chunk in chunks])
    occurrences = torch.zeros(len(seen), dtype=torch.int64).index_add_(0, place, counts)
    sizes = torch.searchsorted(keys[rows], seen, right=True) - torch.searchsorted(keys[rows], seen)
    return Reservoir(seen, occurrences, sizes, positions[rows], rows, [chunk.states for chunk in chunks])
