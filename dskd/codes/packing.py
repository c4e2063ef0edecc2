"""Whole numbers of few bits as bytes."""

import numpy as np
import torch
from torch import Tensor


def bits_for(values: int) -> int:
    """How many bits tell this many values apart."""
    return max(values - 1, 0).bit_length()


def pack(numbers: Tensor, bits: int) -> np.ndarray:
    """(n,) integers from 0 to 2^bits - 1 as (ceil(n · bits / 8),) uint8, the lowest bit of each first.

    Raises:
        ValueError: a number that does not fit.
    """
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < 2**bits:
        raise ValueError(f"numbers from {int(numbers.min())} to {int(numbers.max())} do not fit in {bits} bits")
    places = np.arange(bits, dtype=np.int64)
    return np.packbits((numbers.numpy().astype(np.int64)[:, None] >> places & 1).astype(np.uint8), bitorder="little")


def unpack(packed: np.ndarray, bits: int, count: int) -> Tensor:
    """The (count,) int64 numbers that `pack` was given."""
    read = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(count, bits)
    return torch.from_numpy(read.astype(np.int64) @ (1 << np.arange(bits, dtype=np.int64)))
