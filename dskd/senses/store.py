"""The sense dictionary: its form, how it is saved and loaded, and the senses of a span of tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from dskd.infra import processes
from dskd.infra.arithmetic import squared_distances, starts_of
from dskd.infra.artifacts import load_tensors, reading, require

if TYPE_CHECKING:  # contexts alone need them, and who trains with a dictionary may not have them
    import pandas as pd

SENSES_FILE, CONTEXTS_FILE = "senses.safetensors", "contexts.parquet"
_CONTEXTS = {
    "token": "string",  # with its leading space, if it has one
    "sense": "int32",  # row of the dictionary's centroids
    "left": "string",  # up to the token
    "right": "string",  # what follows the token; where it was predicted and is not there, what is there
    "document": "string",  # "wiki:Anarchism", "gloss:bank.n.01"; empty where the text does not tell
}


class Senses(NamedTuple):
    """The senses of all tokens, end to end: rows `offsets[t]` to `offsets[t + 1]` of `centroids` are those of
    `tokens[t]`."""

    tokens: Tensor  # (T,) int32, ascending
    offsets: Tensor  # (T + 1,) int64
    occurrences: Tensor  # (T,) int64 states of the token in the text, of which the reservoir kept some
    centroids: Tensor  # (S, d), in the dtype of the states
    counts: Tensor  # (S,) int32 states in the cluster
    contexts: Tensor  # (S, C) int64 positions (block * L + offset) of the nearest states, -1 where there are fewer

    def rows(self, token: int) -> range:
        """The rows of a token's senses; empty where the token was never seen."""
        index = int(torch.searchsorted(self.tokens, token))
        if index == len(self.tokens) or int(self.tokens[index]) != token:
            return range(0)
        return range(int(self.offsets[index]), int(self.offsets[index + 1]))


def join_senses(parts: list[Senses]) -> Senses:
    """One dictionary of those of different tokens."""
    tokens, _, occurrences, *columns = (torch.cat(column) for column in zip(*parts))
    numbers = torch.cat([part.offsets.diff() for part in parts])
    order, rows = tokens.argsort(), tokens.repeat_interleave(numbers).argsort(stable=True)
    offsets = starts_of(numbers[order])
    return Senses(tokens[order], offsets, occurrences[order], *(column[rows] for column in columns))


def save_senses(folder: Path, senses: Senses, beside: Callable[[Path, Senses], None] = lambda *_: None) -> None:
    """Write the dictionary, of which many processes have a part each, into `folder`, which appears whole or not at
    all. `beside` writes more files into the folder, which it is given with the whole dictionary."""
    state = processes.state()
    with processes.output(folder, checksums=True) as partial:
        if state.num_processes > 1:
            parts = [partial / f"part-{i}" for i in range(state.num_processes)]
            write_senses(senses, parts[state.process_index])
            state.wait_for_everyone()
        if state.is_main_process:
            if state.num_processes > 1:
                senses = join_senses([Senses(**load_tensors(part, "senses")) for part in parts])
                for part in parts:
                    part.unlink()
            write_senses(senses, partial / SENSES_FILE)
            beside(partial, senses)


def write_senses(senses: Senses, path: Path) -> None:
    """Write the dictionary as one safetensors file."""
    save_file({name: value.contiguous() for name, value in senses._asdict().items()}, path)


def load_senses(folder: str | Path) -> Senses:
    """Raises UserError if the dictionary is missing or damaged."""
    return Senses(**load_tensors(Path(folder) / SENSES_FILE, "senses", Senses._fields))


def save_contexts(folder: Path, table: "pd.DataFrame") -> None:
    """Write the table into a folder that is there; equal tables give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(_CONTEXTS.items())
    arrays = [pa.array(table[field.name].tolist(), type=field.type) for field in schema]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), folder / CONTEXTS_FILE, compression="zstd")


def load_contexts(folder: str | Path) -> "pd.DataFrame":
    """The contexts of a dictionary; UserError where they are missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = require(Path(folder) / CONTEXTS_FILE, "senses")
    with reading(path, "senses"):
        try:
            data = pq.read_table(path)
            data.validate(full=True)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(error) from None
        if data.schema.types != pa.schema(_CONTEXTS.items()).types:
            raise ValueError("it has other columns")
        return data.select(list(_CONTEXTS)).to_pandas()


def compose_span(senses: Senses, span: tuple[int, ...]) -> Tensor:
    """Senses of a word of several tokens, (K, d) float32; empty if a token has none (docs/method.md, section 3.4).

    The senses of the first token are running means; for every further token each takes in the
    nearest (L2) of that token's senses.
    """
    if not span:  # of a word that the tokenizer does not know
        return senses.centroids[:0].float()
    first = senses.rows(span[0])
    means = senses.centroids[first.start : first.stop].float()
    for already, token in enumerate(span[1:], start=1):
        rows = senses.rows(token)
        further = senses.centroids[rows.start : rows.stop].float()
        if not len(further) or not len(means):
            return means[:0]
        nearest = squared_distances(means[None], further[None])[0].argmin(dim=1)
        means = (means * already + further[nearest]) / (already + 1)
    return means


def one_sense(senses: Senses) -> Senses:
    """The dictionary with k = 1: a token's only sense is the mean of its senses, each weighted by how many states it
    stands for, which is the mean of its states. The sense keeps the contexts of the token's largest one."""
    numbers = senses.offsets.diff()
    token_of = torch.arange(len(numbers)).repeat_interleave(numbers)
    counts = torch.zeros(len(numbers), dtype=torch.int64).index_add_(0, token_of, senses.counts.long())
    sums = torch.zeros(len(numbers), senses.centroids.shape[1], dtype=torch.float64)
    sums.index_add_(0, token_of, senses.centroids.double() * senses.counts[:, None])
    rows = zip(senses.offsets[:-1].tolist(), senses.offsets[1:].tolist())
    largest = torch.tensor([first + int(senses.counts[first:end].argmax()) for first, end in rows], dtype=torch.int64)
    return senses._replace(
        offsets=torch.arange(len(numbers) + 1),
        centroids=(sums / counts[:, None]).to(senses.centroids.dtype),
        counts=counts.to(torch.int32),
        contexts=senses.contexts[largest],
    )
