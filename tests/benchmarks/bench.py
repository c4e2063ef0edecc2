"""Speeds as ratios measured side by side in one run: `make bench` appends them to results.csv beside this file.

Needs the artifacts of the stages up to `corpus` (`dvc repro corpus`); with four students and the benchmarks at hand
(the study has them) the evaluation is timed too. `bench.py cloze` measures that alone.
"""

import csv
import datetime
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cloze
import torch
from torch.nn import functional as F

from dskd import artifacts, stages
from dskd.corpus import load_corpus
from dskd.harvest import harvest
from dskd.losses import output_loss
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

    shape = f"{blocks} x {ids.shape[1] - 1} tokens, {params.runtime.dtype}"
    return row("harvest against bare forward pass", shape, ids[:, 1:].numel(), side_by_side(bare, harvested), 0.9)


def bench_output_loss(tokens: int = 1024) -> list[dict]:
    """CE and KL over the vocabulary, value and gradient: against all logits at once, and against the three head
    products that cannot be saved."""
    params = stages.begin()
    teacher, _ = stages.load_teacher(params)
    head = teacher.get_output_embeddings().weight
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, head.shape[1], generator=generator).to(head.dtype)
    student = (hidden + 0.3 * torch.randn(hidden.shape, generator=generator).to(head.dtype)).requires_grad_()
    labels = torch.randint(len(head), (tokens,), generator=generator)
    weights = {"ce_weight": 1.0, "kl_weight": 0.7, "temperature": 2.0}

    def ours() -> None:
        output_loss(student, hidden, head, labels, **weights, compiled=True)[0].backward()

    def naive() -> None:
        logits, teacher_logits = (student @ head.T).float(), (hidden @ head.T).float()
        targets = F.log_softmax(teacher_logits / 2.0, dim=1)
        kl = F.kl_div(F.log_softmax(logits / 2.0, dim=1), targets, log_target=True, reduction="batchmean")
        (F.cross_entropy(logits, labels) + 0.7 * 4.0 * kl).backward()

    @torch.no_grad()
    def products() -> None:
        for x, y in zip(student.split(512), hidden.split(512)):
            logits, _ = x @ head.T, y @ head.T
            logits @ head

    shape = f"{tokens} x {len(head)}, d = {head.shape[1]}, {params.runtime.dtype}"
    return [
        row("output loss against all logits at once", shape, tokens, side_by_side(naive, ours), 2.5),
        row("output loss against its head products", shape, tokens, side_by_side(products, ours), 0.6),
    ]


def row(figure: str, shape: str, tokens: int, seconds: tuple[float, float], target: float) -> dict:
    """One line of the table: speeds of the reference and of ours, their ratio, and whether it reaches the target."""
    reference, value = (tokens / s for s in seconds)
    return {
        "threads": torch.get_num_threads(),
        "figure": figure,
        "shape": shape,
        "value": round(value),
        "unit": "tokens/s",
        "reference_value": round(reference),
        "ratio": round(value / reference, 3),
        "target": target,
        "met": value / reference >= target,
    }


def main() -> None:
    path = Path(__file__).with_name("results.csv")
    common = {
        "date": datetime.date.today().isoformat(),
        "commit": commit(artifacts.project_root()),
        "machine": f"{machine()['processor']}, {machine()['cores']} cores",
        "versions": f"torch {versions()['torch']}, transformers {versions()['transformers']}",
    }
    found = [] if sys.argv[1:] == ["cloze"] else [bench_harvest(), *bench_output_loss()]
    found += cloze.bench_cloze() if cloze.available() else []
    rows = [{**common, **measured} for measured in found]
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)
    for measured in rows:
        verdict = "met" if measured["met"] else "not met"
        beside = " against {reference_value}, ratio {ratio}".format(**measured) if measured["ratio"] else ""
        print("{figure}: {value} {unit}{beside}, target {target}:".format(**measured, beside=beside), verdict)


if __name__ == "__main__":
    main()
