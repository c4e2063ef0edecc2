"""Prompts with the teacher's answers as training text: their form on disk, and their blocks of tokens.

`answers` makes them; the corpus takes them in beside its plain text.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file

from dskd.infra import artifacts
from dskd.infra.output import output
from dskd.infra.randomness import hash_integers, text_key

_ORDER = text_key("prompts.order")


class Prompts(NamedTuple):
    """Token ids, one prompt with its answer after the other."""

    tokens: np.ndarray  # (T,) int32
    answers: np.ndarray  # (E,) int64: where in `tokens` each answer begins
    ends: np.ndarray  # (E,) int64: where each ends


def join_prompts(pairs: list[tuple[list[int], list[int]]]) -> Prompts:
    """Of token ids of prompts, each with those of its answer."""
    tokens = np.array([token for pair in pairs for part in pair for token in part], dtype=np.int32)
    ends = np.cumsum([len(prompt) + len(answer) for prompt, answer in pairs], dtype=np.int64)
    return Prompts(tokens, ends - np.array([len(answer) for _, answer in pairs], dtype=np.int64), ends)


def save_prompts(path: Path, prompts: Prompts) -> None:
    """Write one file, whole or not at all."""
    with output(path) as partial:
        save_file({name: torch.from_numpy(values) for name, values in prompts._asdict().items()}, partial)


def load_prompts(folder: str | Path, name: str = "*") -> Prompts:
    """Those of one set, or of all, that lie in the stage's folder; none where no set was asked for.

    Raises:
        UserError: no such folder, or a damaged one.
    """
    paths = sorted(artifacts.require(folder, "prompts").glob(f"{name}-*.safetensors"))
    files = [artifacts.load_tensors(path, "prompts", Prompts._fields) for path in paths]
    before = np.cumsum([0, *(len(file["tokens"]) for file in files)])
    return Prompts(
        np.concatenate([np.empty(0, np.int32), *(file["tokens"].numpy() for file in files)]),
        *(
            np.concatenate([np.empty(0, np.int64), *(file[key].numpy() + n for file, n in zip(files, before))])
            for key in ("answers", "ends")
        ),
    )


def too_long(prompts: Prompts, length: int) -> int:
    """How many do not fit a block of `length` + 1 tokens."""
    return int((np.diff(prompts.ends, prepend=0) > length + 1).sum())


def pack_prompts(prompts: Prompts, length: int, seed: int) -> np.ndarray:
    """Blocks of tokens, (n, `length` + 1) int32, in which every answer stands after its whole prompt.

    The paper takes one example a step. Cut like running text, most answers would follow half a prompt; padded, a
    block would hold states that nobody asked for. So the prompts stand in seeded order, a block begins where the
    first one begins that the block before it has not finished, and is filled to its end with what comes after: the
    beginning of a prompt there stands in the next block again, whole, and the last block goes on with the first
    prompts. Such a beginning costs half a prompt a block and is trained on as all else is; its answer comes in the
    next block. Of a prompt longer than a block the end is kept, with question and answer. A prompt sees those
    before it in its block, as a document does.
    """
    sizes = np.diff(prompts.ends, prepend=0)
    order = np.argsort(hash_integers(_ORDER, seed, np.arange(len(sizes))), kind="stable")
    pieces = [prompts.tokens[prompts.ends[i] - sizes[i] : prompts.ends[i]] for i in order]
    stream, ends = np.concatenate([np.empty(0, np.int32), *pieces]), np.cumsum(sizes[order])
    blocks, first = [np.empty((0, length + 1), np.int32)], 0
    while first < len(ends):
        start = ends[first] - min(sizes[order[first]], length + 1)
        stop = start + length + 1
        blocks.append(stream.take(range(start, stop), mode="wrap")[None])
        first = int(np.searchsorted(ends, stop, side="right"))  # of those that the block does not finish
    return np.concatenate(blocks)
