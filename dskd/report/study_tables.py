"""The tables of the studies, for README.md and docs/study.md."""

import re
import textwrap
from collections.abc import Sequence

import pandas as pd

from dskd.report.metrics import SENSES
from dskd.report.statistics import holm
from dskd.report.tables import (
    MAIN_MEASURES,
    TITLES,
    difference_cell,
    differences_table,
    models_table,
    number,
    shown_differences,
    smallest_effects,
)


def study_block(metrics: dict) -> str:
    """The whole study, from `reports/runs/study/metrics.json`: means, benchmarks by both protocols, differences, and
    how small a difference it can find."""
    seeds = len({name.rsplit("-", 1)[1] for name in metrics["seeds"]})
    parts = [
        paragraph(f"""Held-out text and words: means over {seeds} seed{"s" * (seeds != 1)} of each objective, with 95 %
        intervals. Each student has {metrics["train_tokens"]:,} training tokens."""),
        markdown(*(models_table(metrics, table) for table in ("heldout", "lexical", "similarity"))),
        *_benchmarks(metrics),
        paragraph("""Differences with 95 % intervals over items and seeds. A star means p < .05 after Holm's correction
        for all differences in the table that the column comes from. *p(answer)* is the probability of the right answer
        as a share of the probabilities of all choices."""),
        markdown(_selected_differences(metrics)),
        paragraph("""The last table has the smallest true difference that this design finds in 80 % of its repetitions,
        the median over the pairs."""),
        markdown(_smallest(metrics)),
    ]
    return "\n\n".join(parts)


def _benchmarks(metrics: dict) -> list[str]:
    """Sentences and tables of both protocols, as far as the run has scored them."""
    cloze, chat = (
        next((value[protocol]["items"] for value in metrics["benchmarks"].values() if protocol in value), 0)
        for protocol in ("cloze", "chat")
    )
    parts = []
    if cloze:
        parts += [
            paragraph(f"""Benchmarks by cloze, {cloze} items each. The first table takes the choice with the highest
            log-likelihood (`acc`), the second the one with the highest log-likelihood per character (`acc_norm`)."""),
            markdown(models_table(metrics, "cloze"), models_table(metrics, "cloze_norm")),
        ]
    if chat:
        parts += [
            paragraph(f"""Benchmarks by the paper's protocol, {chat} items each. The model sees five answered examples
            and gives a letter as one greedy token. For SQuAD it sees one example and gives at most ten tokens."""),
            markdown(models_table(metrics, "chat")),
        ]
    return parts


def _smallest(metrics: dict) -> pd.DataFrame:
    """One row per measure: the smallest true difference that the design finds in 80 % of its repetitions."""
    effects = smallest_effects(metrics, _SELECTED)
    rows = [(_name(*measure), number(effect)) for measure, effect in effects.items()]
    return pd.DataFrame(rows, columns=["measure", "smallest difference"])


def claim_block(metrics: dict) -> str:
    """The paper's setting, from `reports/runs/claim/metrics.json`: means on held-out text, and differences."""
    return markdown(models_table(metrics, "heldout"), _selected_differences(metrics))


def power_block(simulated: pd.DataFrame) -> str:
    """How often the tests are wrong and how often they find what is there, from `docs/trials/power.csv`: one row per
    number of seeds and documents, means over the differences of objectives whose spread was taken."""
    margin = simulated["margin"].iloc[0]
    rows = []
    for (seeds, documents), part in simulated.groupby(["seeds", "documents"]):
        share = part.groupby("truth")[["different", "equivalent", "half_width"]].mean()
        rows.append(
            {
                "seeds": str(seeds),
                "documents": str(documents),
                "a difference where there is none": number(share.loc[0, "different"]),
                f"equivalence at a true difference of {margin:g}": number(share.loc[margin, "equivalent"]),
                f"a difference of {margin:g} found": number(share.loc[margin, "different"]),
                f"of {2 * margin:g}": number(share.loc[2 * margin, "different"]),
                "equivalence found where there is no difference": number(share.loc[0, "equivalent"]),
                "half of the interval (nats)": number(share["half_width"].mean()),
            }
        )
    return markdown(pd.DataFrame(rows))


_TRIAL = re.compile(r"(?P<objective>.+)_(?P<term>[a-z]+)(?P<weight>[\d.]+)_rate(?P<rate>[\d.]+)")


def choosing_block(found: pd.DataFrame) -> str:
    """How the objectives of a grid were tuned, from `docs/trials/grid.csv`: one row each, with each trial's mean KL on
    the half of the text that is for choosing."""
    kl = found[found["measure"] == "kl"].drop_duplicates("objective")
    named = kl["objective"].str.extract(_TRIAL).astype({"weight": float, "rate": float})
    rows = []
    for objective, trials in named.assign(kl=kl["mean"]).groupby("objective", sort=False):
        best, row = trials.loc[trials["kl"].idxmin()], {"objective": f"`{objective}`"}
        row["weight of"] = {"kl": "KL", "hidden": "the state's loss", "sense": "the sense loss"}[best["term"]]
        for rate, tried in trials.groupby("rate"):
            row[f"KL at rate {rate:g}, by weight"] = ", ".join(
                f"{weight:g}: {number(value)}" for weight, value in zip(tried["weight"], tried["kl"])
            )
        rows.append(row | {"chosen": f"{best['weight']:g} at {best['rate']:g}"})
    return markdown(pd.DataFrame(rows))


TRIAL_MEASURES = {  # of the tables in docs/trials, those that are shown, with their titles
    "kl": TITLES["kl"],
    "ce": TITLES["ce"],
    "synonym p": "synonym, p(answer)",
    "definition p": "definition, p(answer)",
    "antonym p": "antonym, p(answer)",
    "antonym_probe": TITLES["antonym_probe"],
    "cloze": "cloze, all items",
}

_HEADLINE = {  # (objective, compared with): both in plain words
    ("dskd", "kd"): ("the paper's sense loss", "plain distillation"),
    ("dskd", "kd_hidden"): ("the paper's sense loss", "regression on the teacher's state"),
    ("span", "kd"): ("our sense loss", "plain distillation"),
    ("span", "kd_whitened"): ("our sense loss", "regression on the whitened state"),
    ("span", "span_shuffled"): ("our sense loss", "control: senses of wrongly related words"),
    ("span", "span_random"): ("our sense loss", "control: random vectors as senses"),
    ("span", "span_mean"): ("our sense loss", "control: one sense for all words"),
}


def headline_block(found: pd.DataFrame) -> str:
    """What senses buy, in a few rows, from `docs/trials/study.csv`: some of the differences of `half_block`."""
    table = _sense_differences(found).set_index("difference")
    measured = [title for title in (TRIAL_MEASURES["kl"], TRIAL_MEASURES["synonym p"]) if title in table]
    rows = []
    for (objective, against), (name, other) in _HEADLINE.items():
        if (difference := f"{objective} - {against}") in table.index:
            words = {"student trained with": f"{name} (`{objective}`)", "compared with": f"{other} (`{against}`)"}
            rows.append(words | table.loc[difference, measured].to_dict())
    return markdown(pd.DataFrame(rows))


def half_block(found: pd.DataFrame) -> str:
    """What the study says on the half of text and words that guided no choice, from `docs/trials/study.csv`: means,
    and the differences of the sense losses."""
    found = found[found["measure"].isin(TRIAL_MEASURES)]
    means = found.drop_duplicates(["measure", "objective"])
    return markdown(_wide(means, "objective", means["mean"].map(number)), _sense_differences(found))


def _sense_differences(found: pd.DataFrame) -> pd.DataFrame:
    """One row per pair with a sense loss, one column per measure; Holm's correction is over all cells."""
    pairs = found[found["measure"].isin(TRIAL_MEASURES) & found["objective"].isin(SENSES) & found["against"].notna()]
    pairs = pairs.assign(
        mean=pairs["difference"],
        p_holm=holm(pairs["p"].to_numpy()),
        difference=pairs["objective"] + " - " + pairs["against"],
    )
    return _wide(pairs, "difference", [difference_cell(pair) for pair in pairs.to_dict("records")])


def _wide(rows: pd.DataFrame, index: str, cells: Sequence[str]) -> pd.DataFrame:
    """One column per measure and one row per value of `index`, in the order of `rows`."""
    table = rows.assign(cell=cells).pivot(index=index, columns="measure", values="cell").loc[rows[index].unique()]
    shown = {key: title for key, title in TRIAL_MEASURES.items() if key in table}
    return table[list(shown)].rename(columns=shown).reset_index()


_SELECTED = (*MAIN_MEASURES, ("cloze_probability", "all"))  # whose differences are shown, where a run has them


def _selected_differences(metrics: dict) -> pd.DataFrame:
    """One row per pair of objectives, one column per measure of `_SELECTED` that the run has."""
    columns = []
    for table, key in shown_differences(metrics, _SELECTED):
        shown = differences_table(metrics, table).set_index("difference")[TITLES[key]]
        columns.append(shown.rename(_name(table, key)))
    return pd.concat(columns, axis=1).reset_index()


def _name(table: str, key: str) -> str:
    """What a measure of `_SELECTED` is called at the head of a column."""
    return {"cloze": "cloze, all items", "cloze_probability": "cloze, p(answer)"}.get(table, TITLES[key])


def paragraph(text: str) -> str:
    """A paragraph of Markdown, wrapped at 100 columns."""
    return textwrap.fill(" ".join(text.split()), 100, break_on_hyphens=False, break_long_words=False)


def markdown(*tables: pd.DataFrame) -> str:
    """Tables one under another; an empty one is left out."""
    return "\n\n".join(table.to_markdown(index=False, disable_numparse=True) for table in tables if len(table))
