"""How the benchmarks measure: speeds side by side, memory beyond what was there, and the lines of results.csv."""

import csv
import datetime
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from dskd.infra import artifacts
from dskd.infra.arithmetic import fast_bfloat16
from dskd.infra.provenance import commit, machine, versions

COLUMNS = "date commit machine threads versions figure shape value unit reference_value ratio target met".split()
FOLDER = Path(__file__).parent


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def side_by_side(first: Callable[[], object], second: Callable[[], object], rounds: int = 5) -> tuple[float, float]:
    """Median seconds of two functions that take turns, after one turn of each to warm up."""
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for function, column in zip((first, second), found):
            taken = seconds(function)
            if turn:
                column.append(taken)
    return statistics.median(found[0]), statistics.median(found[1])


def memory_beyond(function: Callable[[], object]) -> float:
    """Megabytes that the process grew by at most while the function ran. Linux only: nan elsewhere."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        before = _status("VmRSS")
        function()
        return (_status("VmHWM") - before) / 1e3
    except OSError:
        return float("nan")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def speed(figure: str, shape: str, tokens: int, pair: tuple[float, float], target: float) -> dict:
    """A line from seconds of the reference and of ours for the same tokens: speeds, their ratio, and whether it
    reaches the target."""
    reference, value = (tokens / s for s in pair)
    ratio = value / reference
    return line(figure, shape, round(value), "tokens/s", target, ratio >= target, round(reference), round(ratio, 3))


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def line(figure: str, shape: str, value, unit: str, target, met: bool, reference="", ratio="") -> dict:
    return {
        "threads": torch.get_num_threads(),
        "figure": figure,
        "shape": shape,
        "value": value,
        "unit": unit,
        "reference_value": reference,
        "ratio": ratio,
        "target": target,
        "met": met,
    }


def here() -> dict:
    """The columns that all lines of a run share."""
    capability = torch.backends.cpu.get_cpu_capability() + (" with bfloat16" if fast_bfloat16() else "")
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(artifacts.project_root()),
        "machine": f"{machine()['processor']}, {machine()['cores']} cores, {capability}",
        "versions": f"torch {versions()['torch']}, transformers {versions()['transformers']}",
    }


def append(path: Path, columns: list[str], rows: list[dict]) -> None:
    """Add rows to a CSV file, which gets its header when it is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)
