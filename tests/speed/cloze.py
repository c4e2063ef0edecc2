"""The seven choice benchmarks for a teacher and its students: this project's way beside the plain harness.

Needs the artifacts of `distill` and `benchmarks`. `make bench` appends what it measures to results.csv.
"""

import time
from pathlib import Path

import torch
from lm_eval import evaluator
from lm_eval.models.huggingface import HFLM
from speed.measure import line, name_of

from dskd.benchmarks.catalogue import CLOZE
from dskd.infra import artifacts
from dskd.infra.arithmetic import arithmetic_dtype
from dskd.model.inference import Models
from dskd.pipeline import stages
from dskd.pipeline.models import load_models
from dskd.scores.harness import SharedTrunk, load_tasks, run_tasks

STUDENTS = 4


def names() -> list[str]:
    """Up to four students that are there; the benchmark needs all four."""
    return sorted(path.name for path in Path(artifacts.STUDENTS).glob("*") if path.is_dir())[:STUDENTS]


def available() -> bool:
    tests = (Path(artifacts.BENCHMARKS) / f"{name}.test.jsonl" for name in CLOZE)
    return len(names()) == STUDENTS and all(path.exists() for path in tests)


def models(dtype: str) -> Models:
    """The teacher and four students above one trunk."""
    params = stages.begin()
    runtime = params.runtime.model_copy(update={"dtype": dtype})
    found = load_models(params.model_copy(update={"runtime": runtime}), names())
    return found._replace(tops={name: top for name, top in found.tops.items() if name != "cut"})


def arithmetic() -> str:
    """What ours computes in, so that the plain harness is not slowed by a format that this processor lacks."""
    return name_of(arithmetic_dtype(torch.bfloat16))


def folders() -> dict[str, Path]:
    return {"teacher": Path(artifacts.TEACHER), **{name: Path(artifacts.STUDENTS) / name for name in names()}}


def plain(folder: Path, dtype: str, items: int) -> dict:
    """What the harness says of one model, by itself: one sequence a choice, batches of 16."""
    tasks = load_tasks([f"{name}_cloze" for name in CLOZE])
    model = HFLM(pretrained=str(folder), dtype=dtype, device="cpu", batch_size=16)
    return evaluator.evaluate(model, tasks, limit=items, bootstrap_iters=0, log_samples=True)["samples"]


def seconds_side_by_side(items: int) -> tuple[float, float]:
    """Seconds of the plain harness, one model after another, and of ours, on the same items."""
    start = time.perf_counter()
    for folder in folders().values():
        plain(folder, arithmetic(), items)
    middle = time.perf_counter()
    run_tasks(models("bfloat16"), "cloze", list(CLOZE), items)
    return middle - start, time.perf_counter() - middle


def minutes(items: int = 500) -> tuple[float, list[dict]]:
    """Minutes of ours at full size, and its rows."""
    start = time.perf_counter()
    rows, _ = run_tasks(models("bfloat16"), "cloze", list(CLOZE), items)
    return (time.perf_counter() - start) / 60, rows


def largest_difference(items: int = 2) -> float:
    """The largest difference of a log-likelihood between ours and the plain harness, in float32, teacher and one
    student."""
    whole = models("float32")
    chosen = ["teacher", names()[0]]
    shared = SharedTrunk(whole._replace(tops={name: whole.tops[name] for name in chosen}))
    tasks, largest = load_tasks([f"{name}_cloze" for name in CLOZE]), 0.0
    for shared.name in chosen:
        ours = evaluator.evaluate(shared, tasks, limit=items, bootstrap_iters=0, log_samples=True)["samples"]
        theirs = plain(folders()[shared.name], "float32", items)
        for task in ours:
            pairs = zip(_values(ours[task]), _values(theirs[task]), strict=True)
            largest = max(largest, *(abs(a - b) for a, b in pairs))
    return largest


def _values(samples: list[dict]) -> list[float]:
    ordered = sorted(samples, key=lambda sample: sample["doc_id"])
    return [value for sample in ordered for value, _ in sample["filtered_resps"]]


def bench_cloze(items: int = 500, beside: int = 4) -> list[dict]:
    """Rows for results.csv: time at full size, speed beside the plain harness, equality of the scores."""
    shape = f"teacher and {STUDENTS} students, 7 benchmarks"
    reference, ours = seconds_side_by_side(beside)
    difference = largest_difference()
    full, rows = minutes(items)
    for name in CLOZE:
        right = [row for row in rows if row["model"] == "teacher" and row["benchmark"] == name]
        accuracies = (sum(row[key] for row in right) / len(right) for key in ("acc", "acc_norm"))
        print("teacher, {}: acc {:.3f}, acc_norm {:.3f}, {} items".format(name, *accuracies, len(right)))
    kind, ratio = arithmetic(), reference / ours
    return [
        line(
            "cloze against the plain harness", f"{shape} x {beside} items, {kind}", round(ours, 1), "s",
            1.0, ratio >= 1.0, round(reference, 1), round(ratio, 3),
        ),
        line(
            "cloze, largest difference of a log-likelihood", "2 models, 7 x 2 items, float32", f"{difference:.1e}",
            "nats", 1e-3, difference <= 1e-3,
        ),
        line("cloze at full size", f"{shape} x {items} items, {kind}", round(full, 2), "min", 15, full <= 15),
    ]  # fmt: skip
