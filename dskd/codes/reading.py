"""How states are read back from codes: the sum of a row of each table, and of a guess from the state below."""

from typing import NamedTuple

import torch
from torch import Tensor

from dskd.codes.additive import decode
from dskd.states.store import take_blocks


class Book(NamedTuple):
    """What a reader of codes needs. Rows and guess are in the metric of the head (`divergence.head_metric`)."""

    tables: list[Tensor]  # (K, d) float32
    line: Tensor | None  # (d + 1, d) float32, the guess (`material.context_line`)
    back: Tensor  # (d, d) float32, from that metric to states


def guess(below: Tensor, line: Tensor) -> Tensor:
    """What the affine map (d + 1, d) makes of the states (n, d) that enter the first trained layer: (n, d) float32."""
    return with_one(below) @ line


def with_one(states: Tensor) -> Tensor:
    """(n, d + 1) float32, states (n, d) with a one behind each."""
    return torch.cat([states.float(), torch.ones(len(states), 1)], dim=1)


def read_back(book: Book, codes: Tensor, below: Tensor, dtype: torch.dtype) -> Tensor:
    """The states (n, d) that codes (n, m) stand for.

    Args:
        below: (n, d) the states that enter the first trained layer.
    """
    x = torch.zeros(len(codes), len(book.back)) if book.line is None else guess(below, book.line)
    if book.tables:
        x = x + decode(codes, book.tables)
    return (x @ book.back).to(dtype)


class CodedStates:
    """The last hidden states of a text, each block read back from its code when it is asked for. It stands where a
    shard of states (n, L, d) stands: it has a length, a shape, and blocks by number."""

    def __init__(self, book: Book, codes: Tensor, below: list[Tensor], dtype: torch.dtype) -> None:
        self.book, self.codes, self.below, self.dtype = book, codes, below, dtype
        length = below[0].shape[1]
        self.shape = torch.Size([len(codes) // length, length, len(book.back)])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, block: int) -> Tensor:
        here = slice(block * self.shape[1], (block + 1) * self.shape[1])
        (below,) = take_blocks(self.below, torch.tensor([block]))
        return read_back(self.book, self.codes[here].long(), below, self.dtype)
