"""Processes of one run without a launcher: forked from the test's own, connected by gloo."""

import multiprocessing
import os
import socket
from collections.abc import Callable

from accelerate.state import AcceleratorState


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def run_in_processes(number: int, function: Callable[[int], int | None]) -> list[int]:
    """Call `function(rank)` in so many processes; their exit codes, which are what it returns (None: 0)."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(number)}
    place = place if number > 1 else {}
    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=_process, args=(rank, place, function)) for rank in range(number)]
    for process in started:
        process.start()
    for process in started:
        process.join(600)
        process.kill()
    return [process.exitcode for process in started]


def _process(rank: int, place: dict[str, str], function: Callable[[int], int | None]) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    if place:
        os.environ |= {**place, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
    raise SystemExit(function(rank) or 0)
