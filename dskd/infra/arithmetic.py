"""What this machine is fast and repeatable at: threads, number formats, compiled code, distances."""

import functools
import os
import shutil
import sys
from collections.abc import Callable

import torch
from torch import Tensor


def arithmetic_dtype(dtype: torch.dtype) -> torch.dtype:
    """The format to compute in where weights and states are kept in `dtype`: float32 for bfloat16 on a processor
    for which PyTorch has no fast product of it (x86 without AVX512-BF16 or AMX, where it is 2 to 70 times slower)."""
    return torch.float32 if dtype == torch.bfloat16 and not fast_bfloat16() else dtype


def pin(threads: int) -> None:
    """Fix the thread count and ask torch for deterministic algorithms (an op without one raises).

    Another number of threads sums in another order, so results then agree to rounding only.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA's products need to be deterministic
    os.environ["PYTHONHASHSEED"] = "0"  # for child processes; nothing here iterates over hashed sets
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that costs 10 to 40 % here


def fast_bfloat16() -> bool:
    """Whether PyTorch has a fast product of bfloat16 matrices for this machine's GPU or, without one, processor."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    processor = torch.cpu.get_capabilities()
    if processor["architecture"] == "x86_64":  # oneDNN also emulates it, with AVX-512 alone: slower than float32
        return processor["avx512_bf16"] or processor["amx_bf16"]
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()  # what PyTorch itself asks before it hands them to oneDNN


def starts_of(sizes: Tensor) -> Tensor:
    """Where each of n ragged rows of these sizes begins when they are laid end to end, and where the last one ends:
    (n + 1,)."""
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """||x_i - y_j||^2 for batches of rows: (B, n, d), (B, m, d) -> (B, n, m), never negative.

    Both are first moved by the mean of y. A dimension that is large in all rows would cost the digits of the others.
    """
    origin = y.mean(dim=1, keepdim=True)
    x, y = x - origin, y - origin
    return _distances(x, _norms(x), y, _norms(y))


def _distances(x: Tensor, x_norms: Tensor, y: Tensor, y_norms: Tensor) -> Tensor:
    return (x_norms[:, :, None] + y_norms[:, None, :] - 2 * (x @ y.transpose(1, 2))).clamp_min_(0)


def _norms(x: Tensor) -> Tensor:
    return x.square().sum(dim=2)


@functools.cache
def fused(function: Callable) -> Callable:
    """`function` compiled; as it is, with a word to the user, where there is no C++ compiler."""
    if torch.cuda.is_available() or shutil.which("g++") or shutil.which("clang++"):
        return torch.compile(function, dynamic=True)
    print("note: no C++ compiler (g++ or clang++) found; losses run uncompiled and more slowly", file=sys.stderr)
    return function
