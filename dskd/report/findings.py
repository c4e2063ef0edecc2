"""What a report says in sentences, and what a run costs: all from the metrics and the parameters."""

from html import escape
from pathlib import Path

import pandas as pd
import torch

from dskd.benchmarks.catalogue import BENCHMARKS
from dskd.infra import artifacts
from dskd.infra.arithmetic import arithmetic_dtype
from dskd.infra.artifacts import require
from dskd.params import Params
from dskd.report import plan
from dskd.report.metrics import BASELINE, SENSES
from dskd.report.tables import CHANCE, LESS_IS_BETTER, measure_name, signed_cell, smallest_effects

_TOLD = (("heldout", "kl"), ("heldout", "ce"), ("lexical", "synonym"), ("lexical", "antonym"), ("cloze", "all"))


def answer(metrics: dict) -> str:
    """Markdown: where the sense losses are better or worse than plain distillation and than their own controls, and
    where no difference is shown; of a run without these, the same of every pair of objectives."""
    pairs = {name: of for name, of in metrics["differences"].items() if _asked(name)} or metrics["differences"]
    lines = []
    for name, of_pair in pairs.items():
        second, _, first = name.partition(" - ")
        found: dict[str, list[str]] = {"better": [], "worse": []}
        cells = [(table, key, cell) for table, measures in of_pair.items() for key, cell in measures.items()]
        for table, key, cell in cells:
            if cell["p_holm"] < 0.05:
                side = "better" if (cell["mean"] < 0) == (key in LESS_IS_BETTER) else "worse"
                found[side].append(f"{measure_name(table, key)} {signed_cell(cell)}")
        told = [f"{side} in {', '.join(measures) or 'nothing'}" for side, measures in found.items()]
        rest = len(cells) - sum(map(len, found.values()))
        lines.append(
            f"**`{second}` against `{first}`: {'; '.join(told)}.** Of {rest} other measures no difference is shown "
            "(95 % intervals; p < .05 after Holm's correction)."
        )
    if not pairs:
        lines.append("One objective was trained, so that nothing is compared.")
    elif _seeds(metrics) == 1:
        lines.append(
            "There is one seed: the intervals are over other text and items, for these students, not for others."
        )
    return "\n\n".join(lines)


def _asked(pair: str) -> bool:
    second, _, first = pair.partition(" - ")
    return second in SENSES and (first == BASELINE or first.startswith(f"{second}_"))


def shortfalls(metrics: dict) -> str:
    """Markdown: what this run cannot tell, one point a line."""
    points, teacher = [], metrics["models"]["teacher"]
    lost = [
        measure_name(table, key)
        for table in ("lexical", "cloze", "chat")
        for key, cell in teacher.get(table, {}).items()
        if key in CHANCE and cell["low"] <= CHANCE[key]
    ]
    if lost:
        points.append(
            f"The teacher itself is not above chance in {', '.join(lost)}: these tell no student from another."
        )
    missing = [BENCHMARKS[name].title for name, of in metrics["benchmarks"].items() if not of["available"]]
    if missing:
        points.append(f"Not available, so not scored: {', '.join(missing)}.")
    if _seeds(metrics) == 1:
        points.append("One seed: what another order of the text would change is not in the intervals.")
    effects = [f"{measure_name(*of)} {effect:.3f}" for of, effect in smallest_effects(metrics, _TOLD).items()]
    if effects:
        points.append(
            "What this design finds in four of five repetitions is no smaller than (median over the pairs): "
            f"{', '.join(effects)}."
        )
    return "\n".join(f"- {point}" for point in points)


def controls(metrics: dict) -> tuple[dict, str]:
    """The metrics with the differences of the sense losses from `kd` and their controls alone, and what they are of:
    this run, or the committed study if this run has no controls."""
    origin = "These are of this run."
    if not any(name.startswith(f"{own} - {own}_") for name in metrics["differences"] for own in SENSES):
        metrics = artifacts.read_json(require(artifacts.STUDY, ""))
        origin = (
            f"This run has none. These are of [the study](study/index.html), whose students had "
            f"{metrics['train_tokens']:,} tokens each and {_seeds(metrics)} seeds; `dvc repro` does not make it again."
        )
    own = {
        name: of
        for name, of in metrics["differences"].items()
        if name.partition(" - ")[0] in SENSES and not name.endswith(" - ce")
    }
    return metrics | {"differences": own}, origin


def cost_table(params: Params) -> pd.DataFrame:
    """Tokens, floating point operations, memory and disk (GB) of each stage that grows with text or teacher, as
    `report.plan` counts them. Measured times are no part of a page that is the same bytes after every run."""
    held = arithmetic_dtype(getattr(torch, params.runtime.dtype)).itemsize
    rows = []
    for stage in plan.run_stages(params, plan.default_shape(Path(".")), held):
        memory = None if stage.memory is None else stage.memory + plan.LIBRARIES
        sizes = ["–" if value is None else f"{value / 1e9:.2f}" for value in (memory, stage.disk)]
        rows.append([stage.name, f"{stage.tokens:,}", f"{stage.flops:.1e}" if stage.flops else "0", *sizes])
    return pd.DataFrame(rows, columns=["stage", "tokens", "operations", "memory (GB)", "disk (GB)"])


def table_html(table: pd.DataFrame, fold: str = "") -> str:
    """A table whose first column heads its rows; with `fold` closed behind this title, which opens it. A line that says
    so where there are no rows."""
    if not len(table):
        return f"<p>{escape(fold)}{': ' if fold else ''}nothing in this run.</p>"
    first = table.columns[0]
    markup = table.set_index(first).rename_axis(index=None, columns=first).to_html(border=0)
    return f"<details><summary>{escape(fold)}</summary>{markup}</details>" if fold else markup


def _seeds(metrics: dict) -> int:
    return len({name.rpartition("-")[2] for name in metrics["seeds"]})
