"""Many processes for one stage: who takes which part, what the main one alone does, and how they are started.

`accelerate launch` starts them, torch.distributed connects them; with one process nothing here does anything.
They share a file system, on which all see the same project. Results do not depend on how many they are
(docs/processes.md).
"""

import codecs
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import torch
from accelerate import PartialState
from accelerate.commands.config.config_args import load_config_from_file
from torch import Tensor, nn

from dskd import LAUNCHED
from dskd.errors import UserError, one_line
from dskd.infra import output as output_module
from dskd.infra.output import partial_path
from dskd.params import LaunchParams

_PATIENCE = timedelta(hours=12)  # that one waits for another, which may have a last shard to write


def state() -> PartialState:
    """This process among those of the run: `process_index`, `num_processes`, `is_main_process`.

    Raises:
        UserError: `accelerate launch --cpu` has started one process where several were meant.
    """
    use_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    if use_cpu and "MASTER_ADDR" in os.environ and "LOCAL_RANK" not in os.environ:
        raise UserError("`accelerate launch --cpu` starts one process only: write --multi_gpu, with or without a GPU")
    return PartialState(cpu=use_cpu or not torch.cuda.is_available(), timeout=_PATIENCE)


def share(items: Sequence) -> Sequence:
    """Those of `items` that are this process's: each is one process's, dealt in turn."""
    return items[state().process_index :: state().num_processes]


@contextmanager
def output(path: str | Path, fingerprint: str | None = None, checksums: bool = False) -> Iterator[Path]:
    """`artifacts.output` of a folder that all processes write into: it is there when the block begins, and renamed
    when the block of every process has succeeded."""
    path = Path(path)
    if state().is_main_process:
        with output_module.output(path, fingerprint, checksums) as partial:
            partial.mkdir(exist_ok=True)
            state().wait_for_everyone()
            yield partial
            state().wait_for_everyone()
    else:
        state().wait_for_everyone()
        yield partial_path(path)
        state().wait_for_everyone()
    state().wait_for_everyone()


def shard(layers: nn.ModuleList) -> None:
    """Leave each process its share of every weight of these layers (FSDP 2), in place."""
    from torch.distributed.fsdp import fully_shard  # 600 modules that nothing else needs

    for layer in layers:
        fully_shard(layer)


def whole(tensor: Tensor) -> Tensor:
    """All of a weight of which each process may have a share; then every process has to call it."""
    return tensor.full_tensor() if is_shared(tensor) else tensor


def shared_as(weight: Tensor, tensor: Tensor) -> Tensor:
    """This process's share of `tensor`, where `weight` is shared; the inverse of `whole`."""
    if not is_shared(weight):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, weight.device_mesh, weight.placements)


def is_shared(tensor: Tensor) -> bool:
    return hasattr(tensor, "device_mesh")  # a DTensor, without the import of what defines it


def launch(settings: LaunchParams, stage: str, **instance: str | int) -> bool:
    """Let `settings.processes` processes do a stage, and say whether they did: not where one is enough, nor within
    such a process. Their progress goes to stderr. They end with this process.

    Raises:
        UserError: one of them has failed; with what it said.
    """
    if settings.processes == 1 or "LOCAL_RANK" in os.environ:
        return False
    if settings.config is None:
        options = ["--multi_gpu", "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]
        options.append("--main_process_port=0")  # a free one
    else:
        options = [f"--config_file={settings.config}"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *options, f"--num_processes={settings.processes}"]
    command += ["-m", "dskd", stage, *(f"--{key}={value}" for key, value in instance.items())]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, LAUNCHED: "1"}
    ) as processes:
        fault = _relay(processes.stderr)
    if processes.returncode:
        raise UserError(fault or f"{stage} has failed in one of {settings.processes} processes: see above")
    return True


def _relay(stream: BinaryIO) -> str | None:
    """Pass on what processes write, up to the first line of dskd's own about a failure; returns that line.

    What follows it says the same again: of the other processes, and of the launcher that ends them.
    """
    decoder, mark, passed, fault = codecs.getincrementaldecoder("utf-8")("replace"), "dskd: ", "", None
    for chunk in iter(lambda: stream.read1(1 << 16), b""):
        text = decoder.decode(chunk)
        if fault is not None:
            fault += text
            continue
        before, found, after = (passed + text).partition(mark)
        new = before[len(passed) :]
        if found:
            fault = after
            new += "\n" if before and not before.endswith("\n") else ""  # where a bar stands in the line
        sys.stderr.write(new)
        sys.stderr.flush()
        passed = before[-len(mark) :]
    return None if fault is None else fault.partition("\n")[0]


# Of accelerate's types; MULTI_GPU is for processors too. By NO and MULTI_CPU it would start one process that counts as
# none of many and starts the next; the others split a model in their own way.
TAKEN = ("MULTI_GPU", "FSDP")


def check_launch(settings: LaunchParams) -> None:
    """Nothing is checked where the file is not used, as with one process.

    Raises:
        UserError: accelerate cannot read the file, or it asks for DeepSpeed or another type that is none of `TAKEN`.
    """
    if settings.processes == 1 or settings.config is None:
        return
    try:
        kind = load_config_from_file(settings.config).distributed_type
    except Exception as error:  # of its own, the file system's, and those of a parser that meets anything
        raise UserError(f"launch.config: {settings.config} cannot be used: {one_line(error)[:300]}") from None
    if kind not in TAKEN:
        kind = getattr(kind, "value", kind)  # a bare NO is read as false
        raise UserError(
            f"launch.config: {settings.config} has `distributed_type: {kind}`; it takes {' or '.join(TAKEN)} "
            "(MULTI_GPU with or without GPUs; docs/launch has a file for each)"
        )
