"""A code of a state is a row of each of some tables; the state is read back as the sum of these rows.

A dictionary is a table of senses whose row is chosen among those of a token. A residual quantiser (Chen, Guan and Wang
2010) is a list of tables of which each holds the centres of what those before it leave. A product quantiser (Jégou,
Douze and Schmid 2011) is one of which each table lies in a part of the space of its own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dskd.codes.clusters import clusters, nearest
from dskd.codes.packing import bits_for, pack, unpack

CENTRES = 256  # of a table that takes a byte


class Packed(NamedTuple):
    """The codes of n states as they are stored."""

    columns: list  # of (bytes,) uint8, one for each table
    count: int

    @property
    def bytes(self) -> int:
        return sum(column.nbytes for column in self.columns)


def packed(codes: Tensor, tables: Sequence[Tensor]) -> Packed:
    """Store codes (n, m) in as few bits as the m tables have rows for."""
    columns = [pack(column, bits_for(len(table))) for column, table in zip(codes.T, tables, strict=True)]
    return Packed(columns, len(codes))


def unpacked(stored: Packed, tables: Sequence[Tensor]) -> Tensor:
    """The codes (n, m) that were stored."""
    columns = zip(stored.columns, tables, strict=True)
    return torch.stack([unpack(column, bits_for(len(table)), stored.count) for column, table in columns], dim=1)


def decode(codes: Tensor, tables: Sequence[Tensor]) -> Tensor:
    """The states (n, d) float32 of codes (n, m): the sum of a row of each table (K, d)."""
    return sum(table[column] for column, table in zip(codes.T, tables, strict=True))


def encode(x: Tensor, tables: Sequence[Tensor]) -> Tensor:
    """Codes (n, m) of states (n, d): from the first table to the last, the row that is nearest to what is left."""
    left, codes = x, []
    for table in tables:
        codes.append(nearest(left, table))
        left = left - table[codes[-1]]
    return torch.stack(codes, dim=1)


def residual_tables(x: Tensor, number: int, seed: int, iterations: int, known: Sequence[Tensor] = ()) -> list[Tensor]:
    """Tables of a residual quantiser of the states (n, d): each has the centres of what those before it leave.

    Args:
        known: the first of them, made before; all are the same as when they are made at once.
    """
    tables, left = list(known), x
    for table in tables:
        left = left - table[nearest(left, table)]
    for step in range(len(tables), number):
        tables.append(clusters(left, min(CENTRES, len(x)), seed + step, iterations))
        left = left - tables[-1][nearest(left, tables[-1])]
    return tables


def product_tables(x: Tensor, number: int, seed: int, iterations: int) -> list[Tensor]:
    """Tables of a product quantiser of the states (n, d), d a multiple of `number`.

    The parts are sets of principal axes. Each axis in turn, from the widest, goes to the part whose variances have the
    smallest product (Ge, He, Ke and Sun 2013, section 3.2.2).
    """
    centre = x.mean(dim=0)
    values, axes = torch.linalg.eigh((x - centre).T.double() @ (x - centre).double() / len(x))
    parts, volumes = [[] for _ in range(number)], [0.0] * number
    for axis in reversed(range(len(values))):
        part = min((i for i in range(number) if len(parts[i]) < len(values) // number), key=volumes.__getitem__)
        parts[part].append(axis)
        volumes[part] += float(values[axis].clamp_min(1e-12).log())
    tables = []
    for step, part in enumerate(parts):
        own = axes[:, part].float()
        tables.append(clusters(x @ own, min(CENTRES, len(x)), seed + step, iterations) @ own.T)
    return tables
