"""Speeds as ratios measured side by side in one run: `make bench` appends them to results.csv beside this file.

Needs the artifacts of the stages up to `corpus` (`dvc repro corpus`).
"""

import csv
import datetime
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from dskd import artifacts, stages
from dskd.corpus import load_corpus
from dskd.harvest import harvest
from dskd.provenance import commit, machine, versions

COLUMNS = "date commit machine threads versions figure shape value unit reference_value ratio target met".split()


def side_by_side(first: Callable[[], None], second: Callable[[], None], rounds: int = 5) -> tuple[float, float]:
    """Median seconds of two functions that take turns, after one turn of each to warm up."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for function, column in zip((first, second), seconds):
            start = time.perf_counter()
            function()
            if turn:
                column.append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def bench_harvest(blocks: int = 16) -> dict:
    """Harvest (states and predicted tokens to disk) against the bare forward pass with its logits."""
    params = stages.begin()
    teacher, _ = stages.load_teacher(params)
    ids = load_corpus(Path(artifacts.CORPUS))[0]["train"][:blocks]
    size = params.harvest.batch_size

    @torch.inference_mode()
    def bare() -> None:
        for batch in ids[:, :-1].split(size):
            teacher(batch, use_cache=False)

    def harvested() -> None:
        with tempfile.TemporaryDirectory() as folder:
            harvest(teacher, {"train": ids}, params.student, params.harvest, Path(folder) / "states", "bench")

    reference, ours = (ids[:, 1:].numel() / seconds for seconds in side_by_side(bare, harvested))
    return {
        "threads": params.runtime.threads,
        "figure": "harvest against bare forward pass",
        "shape": f"{blocks} x {ids.shape[1] - 1} tokens, {params.runtime.dtype}",
        "value": round(ours),
        "unit": "tokens/s",
        "reference_value": round(reference),
        "ratio": round(ours / reference, 3),
        "target": 0.9,
        "met": ours / reference >= 0.9,
    }


def main() -> None:
    path = Path(__file__).with_name("results.csv")
    common = {
        "date": datetime.date.today().isoformat(),
        "commit": commit(artifacts.project_root()),
        "machine": f"{machine()['processor']}, {machine()['cores']} cores",
        "versions": f"torch {versions()['torch']}, transformers {versions()['transformers']}",
    }
    rows = [{**common, **bench_harvest()}]
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(f"{row['figure']}: {row['value']} of {row['reference_value']} {row['unit']} = {row['ratio']} "
              f"(target {row['target']}: {'met' if row['met'] else 'not met'})")  # fmt: skip


if __name__ == "__main__":
    main()
