"""The tables of the studies, for README.md and docs/study.md."""

from collections.abc import Sequence

import pandas as pd

from dskd.report.metrics import SENSES
from dskd.report.statistics import holm
from dskd.report.tables import (
    TITLES,
    difference_cell,
    differences_table,
    models_table,
    number,
    shown_differences,
    smallest_effects,
)


def study_block(metrics: dict) -> str:
    """The study, from `reports/study/metrics.json`: means, benchmarks by both protocols, and differences."""
    cloze, chat = (
        next((value[protocol]["items"] for value in metrics["benchmarks"].values() if protocol in value), 0)
        for protocol in ("cloze", "chat")
    )
    seeds = len({name.rsplit("-", 1)[1] for name in metrics["seeds"]})
    lexical = (models_table(metrics, table) for table in ("heldout", "lexical", "similarity"))
    tokens = f"{metrics['train_tokens']:,} training tokens"
    return f"""Held-out text and lexical measures, {seeds} seed(s) an objective, {tokens} each:

{markdown(*lexical)}

Benchmarks by cloze, {cloze} items each: how often the likeliest choice is right (`acc`), then the likeliest a
character (`acc_norm`):

{markdown(models_table(metrics, "cloze"), models_table(metrics, "cloze_norm"))}

Benchmarks by the paper's protocol, {chat} items each: the letter as one greedy token after five examples; SQuAD in
at most ten tokens after one example:

{markdown(models_table(metrics, "chat"))}

Differences, with 95 % intervals over items and seeds. A star: p < .05 after Holm's correction for all differences of
the table that a column is from; *p(answer)* is the answer's share in the choices' probabilities:

{markdown(_selected_differences(metrics))}

The smallest true difference that this design finds in 80 % of its repetitions, median over the pairs:
{", ".join(f"{_name(*of)} {effect:.3f}" for of, effect in smallest_effects(metrics, _SELECTED).items())}."""


def claim_block(metrics: dict) -> str:
    """The paper's regime, from `reports/claim/metrics.json`: means on held-out text, and differences."""
    return markdown(models_table(metrics, "heldout"), _selected_differences(metrics))


_HALF = {  # measures of docs/trials/study.csv that are shown
    "kl": TITLES["kl"],
    "ce": TITLES["ce"],
    "synonym p": "synonym, p(answer)",
    "definition p": "definition, p(answer)",
    "antonym p": "antonym, p(answer)",
    "antonym_probe": TITLES["antonym_probe"],
    "cloze": "cloze, all items",
}


def half_block(found: pd.DataFrame) -> str:
    """What the study says on the half by which nothing was chosen, from `docs/trials/study.csv`: means, and differences
    of the sense losses, with Holm's correction over all cells."""
    found = found[found["measure"].isin(_HALF)]
    means = found.drop_duplicates(["measure", "objective"])
    pairs = found[found["objective"].isin(SENSES) & found["against"].notna()]
    pairs = pairs.assign(
        mean=pairs["difference"],
        p_holm=holm(pairs["p"].to_numpy()),
        difference=pairs["objective"] + " - " + pairs["against"],
    )
    cells = [difference_cell(pair) for pair in pairs.to_dict("records")]
    return markdown(_wide(means, "objective", means["mean"].map(number)), _wide(pairs, "difference", cells))


def _wide(rows: pd.DataFrame, index: str, cells: Sequence[str]) -> pd.DataFrame:
    """A column a measure and a row a value of `index`, in the order of `rows`."""
    table = rows.assign(cell=cells).pivot(index=index, columns="measure", values="cell").loc[rows[index].unique()]
    shown = {key: title for key, title in _HALF.items() if key in table}
    return table[list(shown)].rename(columns=shown).reset_index()


_SELECTED = (  # the differences that are shown, where a run has them
    ("heldout", "kl"),
    ("heldout", "ce"),
    ("lexical", "synonym"),
    ("lexical", "antonym"),
    ("lexical", "definition"),
    ("lexical", "antonym_probe"),
    ("cloze", "all"),
    ("cloze_probability", "all"),
)


def _selected_differences(metrics: dict) -> pd.DataFrame:
    columns = []
    for table, key in shown_differences(metrics, _SELECTED):
        shown = differences_table(metrics, table).set_index("difference")[TITLES[key]]
        columns.append(shown.rename(_name(table, key)))
    return pd.concat(columns, axis=1).reset_index()


def _name(table: str, key: str) -> str:
    return {"cloze": "cloze, all items", "cloze_probability": "cloze, p(answer)"}.get(table, TITLES[key])


def markdown(*tables: pd.DataFrame) -> str:
    """Tables one under another; an empty one is left out."""
    return "\n\n".join(table.to_markdown(index=False, disable_numparse=True) for table in tables if len(table))
