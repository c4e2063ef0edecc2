"""How time and memory grow: with tokens, vocabulary, senses a token and trained layers. Exponents are fitted.

Needs the artifacts of `harvest`, `senses` and `targets` for the objective dskd. Writes scaling.csv and scaling.svg
beside this file.
"""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import EngFormatter
from speed.measure import FOLDER, append, here, memory_beyond, seconds
from speed.training import Setting

from dskd.infra import artifacts
from dskd.model.logits import Head
from dskd.model.parts import run_part
from dskd.senses.cluster import build_senses
from dskd.states.reservoir import Reservoir, open_reservoir
from dskd.students.batches import Reader, load_batch
from dskd.students.output_loss import Heads, OutputWeights, output_loss
from dskd.students.store import new_student
from dskd.students.train import Recipe, make_goal, step_loss

COLUMNS = "date commit machine versions curve x seconds memory_mb".split()
TITLES = {  # curve -> what is measured, what it grows with
    "senses": ("senses", "states"),
    "training": ("training", "tokens"),
    "vocabulary": ("output loss", "words (1 024 positions)"),
    "k": ("senses", "senses a token (k)"),
    "layers": ("training step", "trained layers (1 024 tokens)"),
}


def measure() -> list[dict]:
    s = Setting()
    s.train(1)  # compiles
    rows = []
    for curve, points in (
        ("senses", _by_states(s)),
        ("k", _by_k(s)),
        ("vocabulary", _by_vocabulary(s)),
        ("layers", _by_layers(s)),
        ("training", _by_tokens(s)),
    ):
        for x, function in points:
            found = {}
            memory = memory_beyond(lambda: found.update(seconds=seconds(function)))  # noqa: B023 (called at once)
            rows.append(
                {**here(), "curve": curve, "x": x, "seconds": round(found["seconds"], 3), "memory_mb": round(memory)}
            )
            print(f"{curve} {x:,}: {found['seconds']:.2f} s, {memory:.0f} MB", flush=True)
    return rows


def part(sample: Reservoir, share: int) -> Reservoir:
    """Every so manieth token of the sample."""
    chosen = torch.arange(len(sample.tokens)) % share == 0
    places = chosen.repeat_interleave(sample.sizes)
    tokens = (column[chosen] for column in (sample.tokens, sample.occurrences, sample.sizes))
    return Reservoir(*tokens, sample.positions[places], sample.rows[places], sample.states)


def _by_states(s: Setting) -> Iterable[tuple[int, Callable]]:
    sample = open_reservoir(Path(artifacts.RESERVOIR))
    for share in (1000, 100, 10, 1):
        some = part(sample, share)
        yield len(some.positions), lambda some=some: build_senses(some, s.params.senses)


def _by_k(s: Setting) -> Iterable[tuple[int, Callable]]:
    sample = part(open_reservoir(Path(artifacts.RESERVOIR)), 4)
    for k in (5, 10, 20, 40):
        settings = s.params.senses.model_copy(update={"k": k})
        yield k, lambda settings=settings: build_senses(sample, settings)


def _by_vocabulary(s: Setting, positions: int = 1024) -> Iterable[tuple[int, Callable]]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(positions, s.head.weight.shape[1], generator=generator).to(s.dtype)
    weights = OutputWeights(1.0, 0.7, 2.0)
    for words in (6_144, 12_288, 24_576, 49_152, 98_304):
        head = Head(torch.randn(words, s.head.weight.shape[1], generator=generator).to(s.dtype))
        labels = torch.randint(words, (positions,), generator=generator)

        def loss(head=head, labels=labels) -> None:
            student = hidden.clone().requires_grad_()
            output_loss(student, hidden, labels, Heads(head, head), weights, compiled=True)[0].backward()

        loss()  # the first of a new size compiles
        yield words, loss


def _by_layers(s: Setting) -> Iterable[tuple[int, Callable]]:
    batch = load_batch(Reader(s.text, s.targets, s.dtype), torch.arange(s.params.distill.batch_size))
    recipe = Recipe(s.weights, s.params.distill, 0)
    goal = make_goal(recipe, s.head, s.text.states, s.targets, torch.device("cpu"))
    for layers in (1, 2, 4, 8):
        settings = s.params.student.model_copy(update={"trained": layers})
        student = new_student(s.teacher, s.teacher, settings)
        optimizer = torch.optim.AdamW(student.top.layers.parameters(), lr=1e-4, foreach=True)

        def step(student=student, optimizer=optimizer) -> None:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=s.dtype == torch.bfloat16):
                hidden_states = run_part(student.top, states=batch.split_states)
            step_loss(student, hidden_states, batch, goal)[0].backward()
            optimizer.step()
            optimizer.zero_grad()

        step()
        yield layers, step


def _by_tokens(s: Setting) -> Iterable[tuple[int, Callable]]:
    batch = s.params.distill.batch_size * s.text.states.length
    for steps in (10, 100, 1000):  # the last are ten minutes with fast bfloat16, half an hour and more without
        yield steps * batch, lambda steps=steps: s.train(steps)


def exponent(x: np.ndarray, y: np.ndarray) -> float:
    """Of the power law through the points, by least squares of the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def draw(rows: list[dict]) -> None:
    figure, axes = plt.subplots(2, len(TITLES), figsize=(2.6 * len(TITLES), 5), sharex="col", layout="constrained")
    for (upper, lower), (curve, (title, label)) in zip(axes.T, TITLES.items()):
        points = [row for row in rows if row["curve"] == curve]
        x, time, memory = (np.array([float(row[key]) for row in points]) for key in ("x", "seconds", "memory_mb"))
        fit = exponent(x, time)
        print(f"{curve}: time grows as {label} to the power {fit:.2f}")
        upper.loglog(x, time, "o-", color="#0072b2")
        upper.set(title=f"{title}\ntime: exponent {fit:.2f}", ylim=(time.min() / 3, time.max() * 3))
        upper.yaxis.set_major_formatter("{x:g}")
        upper.yaxis.set_minor_formatter("")
        lower.semilogx(x, memory, "s-", color="#d55e00")
        lower.set(xlabel=label, ylim=(0, 1.2 * memory.max()))
        lower.set_xticks(x, [EngFormatter(sep="", places=0)(value) for value in x])
        lower.minorticks_off()
        for axis in (upper, lower):
            axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("memory beyond what was there (MB)")
    figure.savefig(FOLDER / "scaling.svg", metadata={"Date": None})


def main() -> None:
    path = FOLDER / "scaling.csv"
    append(path, COLUMNS, measure())
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    draw([row for row in rows if all(row[key] == rows[-1][key] for key in ("date", "commit", "machine"))])
