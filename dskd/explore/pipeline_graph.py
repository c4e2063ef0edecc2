"""The pipeline as a picture, drawn from dvc.yaml."""

from pathlib import Path
from textwrap import wrap

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from ruamel.yaml import YAML

_LINE = "#0072B2"
HEIGHT = 0.48  # inches for each stage


def draw(path: str | Path = "dvc.yaml") -> Figure:
    """The stages of a dvc.yaml from top to bottom, with an arrow from each stage to those that need what it makes.

    An arrow is left out where other arrows lead from the one stage to the other by way of a third.
    """
    stages = YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))["stages"]
    rows = {name: row for row, name in enumerate(stages)}
    figure, axis = plt.subplots(figsize=(3.35, HEIGHT * len(rows)))
    for first, second in edges(stages):
        steps = rows[second] - rows[first]
        bend = 0 if steps == 1 else 2 * (0.1 + 0.5 * steps / len(rows)) / (HEIGHT * steps)  # long ones bulge more
        arrow = FancyArrowPatch(
            (0, -rows[first]), (0, -rows[second]), connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>",
            mutation_scale=8, shrinkA=4, shrinkB=4, color=_LINE, alpha=0.75, linewidth=1,
        )  # fmt: skip
        axis.add_patch(arrow)
    axis.plot([0] * len(rows), [-row for row in rows.values()], "o", color=_LINE, markersize=5)
    for name, row in rows.items():
        axis.text(0.2, 0.15 - row, name, fontsize=9, weight="bold", va="center")
        axis.text(0.2, -0.07 - row, "\n".join(wrap(stages[name].get("desc", ""), 46)), fontsize=7.5, va="top")
    axis.set(xlim=(-0.95, 3.45), ylim=(0.3 - len(rows), 0.4))
    axis.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    plt.close(figure)
    return figure


def edges(stages: dict) -> list[tuple[str, str]]:
    """Pairs of stages of which the second needs what the first makes; pairs that follow from others are left out."""
    made = {
        name: [_path(out) for kind in ("outs", "metrics") for out in stage.get(kind, ())]
        for name, stage in stages.items()
    }
    direct = {
        second: {
            first
            for first, outs in made.items()
            if first != second and any(_touch(out, _path(dep)) for out in outs for dep in stage.get("deps", ()))
        }
        for second, stage in stages.items()
    }

    def before(name: str) -> set[str]:
        return direct[name].union(*(before(first) for first in direct[name]))

    implied = {name: set().union(*(before(first) for first in firsts)) for name, firsts in direct.items()}
    return [(first, name) for name in stages for first in stages if first in direct[name] - implied[name]]


def _path(entry: str | dict) -> str:
    """The path of an entry in dvc.yaml, which may have settings below it."""
    return entry if isinstance(entry, str) else next(iter(entry))


def _touch(out: str, dep: str) -> bool:
    """Whether one path is the other, or lies in it."""
    return out == dep or out.startswith(f"{dep}/") or dep.startswith(f"{out}/")
