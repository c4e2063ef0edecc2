"""The sentences, tables and costs of the report, all from the metrics and the parameters."""

import math
from collections import Counter
from collections.abc import Mapping
from html import escape
from pathlib import Path

import pandas as pd
import torch
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure

from dskd.benchmarks.catalogue import BENCHMARKS
from dskd.infra import artifacts
from dskd.infra.arithmetic import arithmetic_dtype
from dskd.infra.artifacts import require
from dskd.infra.randomness import FEWEST_DOCUMENTS
from dskd.params import LaunchParams, Params
from dskd.report import figures, plan, stage_costs, tables
from dskd.report.metrics import BASELINE, GROUPS, RANKED, SENSES
from dskd.report.tables import (
    CHANCE,
    LESS_IS_BETTER,
    TABLES,
    TITLES,
    all_tables,
    differences_table,
    mean_cell,
    measure_name,
    models_table,
    signed_cell,
    smallest_effects,
    tests_table,
)

_TOLD = (("heldout", "kl"), ("heldout", "ce"), ("lexical", "synonym"), ("lexical", "antonym"), ("cloze", "all"))
_OPEN = ("heldout", "lexical")  # tables of means that stand open on the page; all others are folded
_TESTED = ("heldout", "lexical", "cloze")  # tables whose single tests are shown


def primary(metrics: dict) -> str:
    """Markdown: the primary tests of the run with their outcomes, or that it declared none."""
    if not (tests := metrics.get("primary")):
        return "This run declared no primary test (`study.primary`), so all of its comparisons are secondary."
    declared = "The one primary test" if len(tests) == 1 else f"The {len(tests)} primary tests"
    corrected = "" if len(tests) == 1 else " p values are Holm's for these tests."
    return (
        f"{declared} of `study.primary`, with the margin that stands there. *Equivalent* means that two one-sided "
        f"tests place the true difference within the margin at the 5 % level.{corrected} Everything "
        "below is secondary.\n\n" + tables.primary_table(tests).to_markdown(index=False, disable_numparse=True)
    )


def answer(metrics: dict) -> str:
    """Markdown: the primary tests, then on which measures the sense losses are better or worse than plain distillation
    and than their controls.

    A run without such pairs gets the same of every pair of objectives.
    """
    pairs = {name: of for name, of in metrics["differences"].items() if _asked(name)} or metrics["differences"]
    if not pairs:
        return "This run trained one objective, so there is nothing to compare."
    lines = [primary(metrics), *(_compared(name, of_pair) for name, of_pair in pairs.items())]
    lines.append(
        "Brackets hold 95 % confidence intervals. A difference counts as shown where p < .05 after Holm's correction "
        "for all tests of its table."
    )
    if _seeds(metrics) == 1:
        lines.append(
            "This run has one seed. Its intervals say what other text and other items would change for these students; "
            "they say nothing about students of another seed."
        )
    return "\n\n".join(lines)


def _compared(name: str, of_pair: dict) -> str:
    """Where the second objective of a pair is better and worse than the first."""
    second, _, first = name.partition(" - ")
    found: dict[str, list[str]] = {"better": [], "worse": []}
    cells = [(table, key, cell) for table, measures in of_pair.items() for key, cell in measures.items()]
    for table, key, cell in cells:
        if cell["p_holm"] < 0.05:
            side = "better" if (cell["mean"] < 0) == (key in LESS_IS_BETTER) else "worse"
            found[side].append(f"{measure_name(table, key)} {signed_cell(cell)}")
    told = [f"{side} on {', '.join(measures) or 'nothing'}" for side, measures in found.items()]
    rest = len(cells) - sum(map(len, found.values()))
    said = f"**`{second}` compared with `{first}`: {'; '.join(told)}.**"
    return f"{said} No difference is shown on {rest} other measure{'' if rest == 1 else 's'}." if rest else said


def _asked(pair: str) -> bool:
    """Whether a sense loss is compared with the baseline or with its own control."""
    second, _, first = pair.partition(" - ")
    return second in SENSES and (first == BASELINE or first.startswith(f"{second}_"))


def shortfalls(metrics: dict) -> str:
    """Markdown: what this run cannot tell, one point a line."""
    points, teacher = [], metrics["models"]["teacher"]
    lost = [
        measure_name(table, key)
        for table in ("lexical", "cloze", "chat")
        for key, cell in teacher.get(table, {}).items()
        if key in CHANCE and cell["low"] is not None and cell["low"] <= CHANCE[key]
    ]
    if lost:
        points.append(
            "The teacher's own interval reaches down to chance on these measures, so they cannot tell one student from "
            f"another: {', '.join(lost)}."
        )
    missing = [BENCHMARKS[name].title for name, of in metrics["benchmarks"].items() if not of["available"]]
    if missing:
        points.append(f"Not scored, because they were not available: {', '.join(missing)}.")
    few = [name for name, count in metrics.get("heldout_documents", {}).items() if count < FEWEST_DOCUMENTS]
    if few:
        texts = " and ".join(TABLES[name] for name in few)
        points.append(
            f"{texts}: fewer than {FEWEST_DOCUMENTS} documents, so blocks are drawn as if each were another text, and "
            "the intervals are too narrow (`corpus.heldout_piece` gives more documents)."
        )
    few = [name for name, count in metrics.get("in_context_documents", {}).items() if count < FEWEST_DOCUMENTS]
    if few:
        points.append(
            f"{', '.join(measure_name('in_context', name) for name in few)}: their words stand in fewer than "
            f"{FEWEST_DOCUMENTS} documents, so words are drawn as if each were in another text, and the intervals are "
            "too narrow (more documents: `corpus.heldout_piece`, `corpus.heldout_tokens`)."
        )
    if coarse := _coarse(metrics):
        points.append(
            f"{' and '.join(TABLES[table] for table in coarse)}: so many tests that after Holm's correction no single "
            "one can have p < .05 with so few resamples (`evaluate.bootstrap` gives more)."
        )
    if _seeds(metrics) == 1:
        points.append("The run has one seed, so its intervals leave out what another order of the text would change.")
    effects = [f"{measure_name(*of)} {effect:.3f}" for of, effect in smallest_effects(metrics, _TOLD).items()]
    if effects:
        points.append(
            "Small differences can be missed. The smallest true difference that this design finds in four of five "
            f"repetitions is (median over the pairs): {', '.join(effects)}."
        )
    return "\n".join(f"- {point}" for point in points)


def _coarse(metrics: dict) -> list[str]:
    """The tables whose least possible p value, 2 / (resamples + 1), is not below .05 after Holm's correction."""
    tests = Counter(table for of_pair in metrics["differences"].values() for table, of in of_pair.items() for _ in of)
    known = metrics.get("resamples", math.inf)  # reports from before it was noted have none
    resamples = {table: min(known, RANKED) if table == "similarity" else known for table in tests}
    return [table for table, number in tests.items() if 2 * number / (resamples[table] + 1) >= 0.05]


def controls(metrics: dict) -> tuple[dict, str]:
    """The metrics with only the differences between sense losses and `kd` or their controls, and a sentence on whose
    they are: this run's, or those of the committed study where this run has no controls."""
    origin = "These differences are from this run."
    if not any(name.startswith(f"{own} - {own}_") for name in metrics["differences"] for own in SENSES):
        metrics = artifacts.read_json(require(artifacts.STUDY, ""))
        origin = (
            "This run trained no controls, so the pictures show [the study](runs/study/index.html): "
            f"{metrics['train_tokens']:,} training tokens for each student and {_seeds(metrics)} seeds for each "
            "objective. `make study` makes it; `dvc repro` does not."
        )
    own = {
        name: of
        for name, of in metrics["differences"].items()
        if name.partition(" - ")[0] in SENSES and not name.endswith(" - ce")
    }
    return metrics | {"differences": own}, origin


def show_controls(metrics: dict) -> list[Markdown | Figure]:
    """The sentence on whose controls these are, and a picture of each measure."""
    chosen, origin = controls(metrics)
    return [Markdown(origin), *figures.differences(chosen)]


def cost_table(params: Params) -> pd.DataFrame:
    """Tokens, floating point operations, memory and disk (GB) of each stage that grows with text or teacher.

    `report.stage_costs` counts them. Measured times are left out, and the processes are one: the page has to be the
    same bytes after every run.
    """
    params = params.model_copy(update={"launch": LaunchParams()})
    held = arithmetic_dtype(getattr(torch, params.runtime.dtype)).itemsize
    rows = []
    for stage in stage_costs.run_stages(params, plan.default_shape(Path(".")), held):
        memory = None if stage.memory is None else stage.memory + stage_costs.LIBRARIES
        sizes = ["–" if value is None else f"{value / 1e9:.2f}" for value in (memory, stage.disk)]
        rows.append([stage.name, f"{stage.tokens:,}", f"{stage.flops:.1e}" if stage.flops else "0", *sizes])
    return pd.DataFrame(rows, columns=["stage", "tokens", "operations", "memory (GB)", "disk (GB)"])


def tables_of_means(metrics: dict) -> list[HTML]:
    """The means of every measure: held-out text and words under headings, the others folded."""
    found = all_tables(metrics, models_table)
    headed = [HTML(f"<h3>{TABLES[name]}</h3>{table_html(found[name])}") for name in _OPEN if name in found]
    return headed + folded({TABLES[name]: table for name, table in found.items() if name not in _OPEN})


def group_table(metrics: dict, measure: str) -> pd.DataFrame:
    """A measure by part of speech and frequency: one row a group, one column a model."""
    return pd.DataFrame(
        [
            {"words": f"{GROUPS[group]} ({of['items']} items)"}
            | {name: mean_cell(of[name]) for name in metrics["models"]}
            for group, of in metrics["groups"].get(measure, {}).items()
        ]
    )


def tables_of_groups(metrics: dict) -> list[HTML]:
    """The lexical measures by part of speech and frequency, folded."""
    return folded({f"By words: {TITLES[measure]}": group_table(metrics, measure) for measure in metrics["groups"]})


def tables_of_differences(metrics: dict) -> list[HTML]:
    """The differences of every measure, folded."""
    found = all_tables(metrics, differences_table)
    return folded({f"Differences: {TABLES[name]}": table for name, table in found.items()})


def tables_of_tests(metrics: dict) -> list[HTML]:
    """Every single test on held-out text, words and benchmarks by cloze, folded."""
    found = all_tables(metrics, tests_table, _TESTED)
    return folded({f"Tests: {TABLES[name]}": table for name, table in found.items()})


def folded(tables: Mapping[str, pd.DataFrame]) -> list[HTML]:
    """Tables by title, each closed behind its title; a click opens it. Empty ones are left out."""
    return [HTML(table_html(table, title)) for title, table in tables.items() if len(table)]


def shown(table: pd.DataFrame) -> HTML:
    """A table as it stands on the page."""
    return HTML(table_html(table))


def table_html(table: pd.DataFrame, fold: str = "") -> str:
    """A table whose first column heads its rows; with `fold`, closed behind this title, which opens it.

    A table without rows is one line that says so.
    """
    if not len(table):
        return f"<p>{escape(fold)}{': ' if fold else ''}this run has none.</p>"
    first = table.columns[0]
    markup = table.set_index(first).rename_axis(index=None, columns=first).to_html(border=0)
    return f"<details><summary>{escape(fold)}</summary>{markup}</details>" if fold else markup


def _seeds(metrics: dict) -> int:
    return len({name.rpartition("-")[2] for name in metrics["seeds"]})
