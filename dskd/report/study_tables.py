"""The tables of the studies: of a grid, whose objectives are tuned alike and compared on other text, of the earlier
study, and of the power of such a design."""

import re
import textwrap
from collections.abc import Iterable

import pandas as pd

from dskd.report.metrics import SENSES
from dskd.report.statistics import holm
from dskd.report.tables import TITLES, difference_cell, number, signed_cell

_NUMBER = r"\d+(?:\.\d+)?(?:e[-+]\d+)?"  # as `:g` writes it
_TRIAL = re.compile(rf"(?P<objective>.+)_(?P<term>[a-z]+)(?P<weight>{_NUMBER})_rate(?P<rate>{_NUMBER})$")
_KL, _DSKD = "kl", "dskd"
_ROWS = {  # of a grid's table, the measures that are shown, with their titles
    _KL: "KL to teacher, articles",
    "kl of glosses": "KL to teacher, glosses",
    "ce": "CE, articles",
    "ce of glosses": "CE, glosses",
    **{
        f"{task} {rung}p": f"{task}, {name}, p(answer)"
        for task in ("synonym", "antonym")
        for rung, name in (("trained ", "trained"), ("relation ", "held-out relation"), ("", "held-out word"))
    },
    "definition p": "definition, held-out word, p(answer)",
    **{
        f"{kind} in context {rung}": f"{TITLES[f'{kind}_{rung}']}, in context"
        for kind in ("synonym", "antonym")
        for rung in ("trained", "relation", "word")
    },
    "wic_states": TITLES["wic_states"],
    "antonym_probe": TITLES["antonym_probe"],
}
_AGAINST = {  # what `dskd` is compared with, in plain words
    "kd": "plain distillation",
    "kd_hidden": "regression on the teacher's own state",
    "token_mean": "one sense for each token, the mean of its states",
    "dskd_mean": "one sense for all tokens",
    "dskd_shuffled": "senses of wrongly related words",
    "dskd_random": "random vectors as senses",
}


def choosing_block(found: pd.DataFrame) -> str:
    """How the objectives of a grid were tuned, from the table of the half for choosing (`docs/trials/grid.csv`): one
    row each, with each trial's mean KL there."""
    kl = found[found["measure"] == _KL].drop_duplicates("objective")
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


def grid_block(found: pd.DataFrame) -> str:
    """What a grid says on the other half, from `docs/trials/grid.test.csv`: each objective's means, and the differences
    of `dskd` from the others. Holm's correction is over all differences of the table but those of KL on articles, which
    are primary."""
    found = found[found["measure"].isin(_ROWS)]
    means = found.drop_duplicates(["measure", "objective"])
    pairs = found[(found["objective"] == _DSKD) & found["against"].notna()].drop_duplicates(["measure", "against"])
    secondary = pairs["measure"] != _KL
    pairs = pairs.assign(mean=pairs["difference"], p_holm=1.0, against=f"{_DSKD} - " + pairs["against"])
    pairs.loc[secondary, "p_holm"] = holm(pairs.loc[secondary, "p"].to_numpy())
    tables = (
        _by_measure(means, "objective", means["mean"].map(number), _ROWS),
        _by_measure(pairs, "against", map(difference_cell, pairs.to_dict("records")), _ROWS),
    )
    return markdown(*(table.reset_index(names="measure") for table in tables))


def headline_block(grid: pd.DataFrame, claim: pd.DataFrame) -> str:
    """What the paper's sense loss buys, from `docs/trials/grid.test.csv` and `claim_long.test.csv`: its difference in
    KL from each control, and what the test decided."""
    tuned, paper = _outcomes(grid), _outcomes(claim)
    rows = [
        {
            "`dskd` compared with": f"{_AGAINST[control]} (`{control}`)",
            "A: weight and rate tuned": decided,
            "B: the paper's setting, rate tuned": paper.get(control, "-"),
        }
        for control, decided in tuned.items()
    ]
    return markdown(pd.DataFrame(rows))


def _outcomes(found: pd.DataFrame) -> dict[str, str]:
    """Control -> the difference of `dskd` from it in KL, and the outcome of the test."""
    pairs = found[(found["measure"] == _KL) & (found["objective"] == _DSKD) & found["against"].notna()]
    return {
        pair["against"]: f"{signed_cell(pair | {'mean': pair['difference']})} {pair['outcome']}"
        for pair in pairs.drop_duplicates("against").to_dict("records")
    }


TRIAL_MEASURES = {  # of the tables in docs/trials, those that are shown, with their titles
    "kl": TITLES["kl"],
    "ce": TITLES["ce"],
    "synonym p": "synonym, p(answer)",
    "definition p": "definition, p(answer)",
    "antonym p": "antonym, p(answer)",
    "antonym_probe": TITLES["antonym_probe"],
    "cloze": "cloze, all items",
}


def half_block(found: pd.DataFrame) -> str:
    """What the study says on the half of text and words that guided no choice, from `docs/trials/study.csv`: means,
    and the differences of the sense losses, with Holm's correction over all cells of their table."""
    found = found[found["measure"].isin(TRIAL_MEASURES)]
    means = found.drop_duplicates(["measure", "objective"])
    pairs = found[found["objective"].isin(SENSES) & found["against"].notna()]
    pairs = pairs.assign(
        mean=pairs["difference"],
        p_holm=holm(pairs["p"].to_numpy()),
        difference=pairs["objective"] + " - " + pairs["against"],
    )
    tables = {
        "objective": _by_measure(means, "objective", means["mean"].map(number), TRIAL_MEASURES),
        "difference": _by_measure(pairs, "difference", map(difference_cell, pairs.to_dict("records")), TRIAL_MEASURES),
    }
    return markdown(*(table.T.reset_index(names=name) for name, table in tables.items()))


def _by_measure(rows: pd.DataFrame, name: str, cells: Iterable[str], titles: dict[str, str]) -> pd.DataFrame:
    """One row per measure of `titles` that is there, and one column per value of the column `name`, in the order of
    `rows`."""
    table = rows.assign(cell=list(cells)).pivot(index="measure", columns=name, values="cell")[rows[name].unique()]
    return table.loc[[measure for measure in titles if measure in table.index]].rename(index=titles)


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


def paragraph(text: str) -> str:
    """A paragraph of Markdown, wrapped at 100 columns."""
    return textwrap.fill(" ".join(text.split()), 100, break_on_hyphens=False, break_long_words=False)


def markdown(*tables: pd.DataFrame) -> str:
    """Tables one under another; an empty one is left out."""
    return "\n\n".join(table.to_markdown(index=False, disable_numparse=True) for table in tables if len(table))
