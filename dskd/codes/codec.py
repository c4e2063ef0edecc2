"""What `harvest.codec` names: the tables of a code, and how states become codes by them.

senses          the token that the teacher predicts and the nearest of its senses, as one row of a dictionary
token_mean      the token alone: its one sense is the mean of its states
random_sense    the token, and a sense of it that is drawn at random
residual+M      M bytes of a residual quantiser, which knows no words
context         a linear guess from the state that enters the first trained layer, which the reader has anyway
context+senses, context+token_mean    token and sense, or the token alone, for what the guess leaves
senses+M, context+M    the same, and M bytes for what it leaves
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dskd.codes.additive import encode, residual_tables
from dskd.codes.keyed import nearest_rows, random_rows, token_means
from dskd.codes.material import Material, context_line, rounded, stored, token_senses
from dskd.codes.reading import Book, guess
from dskd.senses.store import Senses

ITERATIONS = 6  # of a codebook's k-means


class Code(NamedTuple):
    """How states in the metric of the head become codes. All numbers are as they are stored."""

    senses: Senses | None = None  # the first table has their centroids
    rest: tuple[Tensor, ...] = ()  # (256, d) each, of a residual quantiser for what sense or guess leave
    line: Tensor | None = None  # (d + 1, d) of the guess (`material.context_line`)
    drawn: int | None = None  # seed of the random sense that stands in the place of the nearest

    @property
    def tables(self) -> list[Tensor]:
        return [*([] if self.senses is None else [self.senses.centroids]), *self.rest]


def make_code(codec: str, of: Material) -> Code:
    """The code that a value of `harvest.codec` other than `exact` names."""
    parts = codec.split("+")
    code = Code(line=context_line(of)) if "context" in parts else Code()
    if {"senses", "token_mean", "random_sense"} & set(parts):
        senses = rounded(token_senses(of, code.line))
        if "token_mean" in parts:
            senses = rounded(token_means(senses))
        code = code._replace(senses=senses, drawn=of.settings.seed if "random_sense" in parts else None)
    if parts[-1].isdigit():
        tables = residual_tables(left_of_sample(code, of), int(parts[-1]), of.settings.seed, ITERATIONS)
        code = code._replace(rest=tuple(map(stored, tables)))
    return code


def left_of_sample(code: Code, of: Material) -> Tensor:
    """What sense and guess leave of the sample that codebooks are made of, (s, d)."""
    here = of.sample
    return _first(code, of.x(here), of.keys[here], of.below(here))[1]


def encode_states(code: Code, x: Tensor, keys: Tensor, below: Tensor) -> Tensor:
    """Codes (n, m) of states in the metric, one column for each table.

    Args:
        x: (n, d) float32; keys: (n,) the tokens that the teacher predicts there; below: (n, d).
    """
    columns, left = _first(code, x, keys, below)
    if code.rest:
        columns.append(encode(left, code.rest))
    return torch.cat(columns, dim=1) if columns else torch.empty(len(x), 0, dtype=torch.int64)


def _first(code: Code, x: Tensor, keys: Tensor, below: Tensor) -> tuple[list[Tensor], Tensor]:
    """The column of the senses, if the code has them, and what guess and sense leave of the states."""
    left = x if code.line is None else x - guess(below, code.line)
    if code.senses is None:
        return [], left
    if code.drawn is None:
        rows = nearest_rows(left, keys, code.senses)
    else:
        rows = random_rows(left, keys, code.senses, code.drawn)
    return [rows[:, None]], left - code.senses.centroids[rows]


def encode_text(code: Code, of: Material) -> Tensor:
    """Codes (n, m) of all positions of the text, a shard of its states at a time."""
    found = []
    shards = zip(of.states.hidden_states, of.states.predicted, of.states.split_states)
    for index, (hidden_states, keys, below) in enumerate(shards):
        own = code if code.drawn is None else code._replace(drawn=code.drawn + index)
        x = hidden_states.flatten(0, 1).float() @ of.metric
        found.append(encode_states(own, x, keys.flatten(), below.flatten(0, 1)))
    return torch.cat(found)


def book_of(code: Code, metric: Tensor) -> Book:
    """What a reader needs of a code that was made with this metric."""
    return Book(code.tables, code.line, torch.linalg.inv(metric.double()).float())
