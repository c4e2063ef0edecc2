"""How often the tests of dskd/report/statistics.py are wrong, and how often they find what is there.

Writes docs/trials/power.csv.

    power.py                      a thousand repetitions of each row, some minutes
    power.py --repetitions 200    a look

The spread is real: from the study's scores, block by block of plain text, come the variances of seeds, of items and of
single scores of a difference of two objectives, and the shape of the items' effects. A repetition draws seeds from a
normal distribution, documents from the items' effects themselves, and adds noise. Each row of the table is a difference
of objectives, a number of seeds and of documents, and a true difference:

    different     share of repetitions in which the two-sided test has p < .05: its level where the truth is 0
    bare          the same of a bootstrap of documents that takes these seeds for all there are
    equivalent    share in which the two one-sided tests have p < .05: their level where the truth is the margin
    half_width    of the 95 % interval, the mean
"""

import argparse
import gzip
import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from dskd.infra import artifacts
from dskd.report.statistics import LEVEL, paired_bootstrap

SCORES = artifacts.project_root() / Path(artifacts.STUDY).parent / "scores/heldout.jsonl.gz"
TABLE = artifacts.project_root() / artifacts.POWER
PAIRS = (("dskd", "kd"), ("kd_hidden", "kd"))
SEEDS, DOCUMENTS = (3, 5, 10), (30, 100)
MARGIN = 0.01  # nats
TRUTHS = (0.0, MARGIN / 2, MARGIN, 2 * MARGIN)
RESAMPLES = 399


class Spread(NamedTuple):
    """Of a difference of two objectives: standard deviations of seeds and single scores, and the items' effects."""

    seeds: float
    noise: float
    items: np.ndarray  # (n,), of mean 0, shrunk to their own variance without the noise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    repetitions = parser.parse_args().repetitions
    scores, rows = read_scores(), []
    cases = [(pair, seeds, n, truth) for pair in PAIRS for seeds in SEEDS for n in DOCUMENTS for truth in TRUTHS]
    for pair, seeds, documents, truth in tqdm(cases, unit="row"):
        spread = spread_of(scores.loc[pair[0]].to_numpy() - scores.loc[pair[1]].to_numpy())
        about = {
            "difference": " - ".join(pair),
            "seeds": seeds,
            "documents": documents,
            "margin": MARGIN,
            "truth": truth,
        }
        rows.append(about | repeated(spread, seeds, documents, truth, repetitions) | {"repetitions": repetitions})
    pd.DataFrame(rows).to_csv(TABLE, index=False)
    return 0


def read_scores() -> pd.DataFrame:
    """KL from the teacher: one row per (objective, seed) of the study, one column per block of plain text."""
    with gzip.open(SCORES, "rt", encoding="utf-8") as file:
        table = pd.DataFrame(map(json.loads, file))
    table[["name", "seed"]] = table["model"].str.extract(r"^(.+)-(\d+)$")
    students = table[(table["source"] == "wiki") & table["name"].notna()]
    return students.pivot_table(index=["name", "seed"], columns="block", values="kl")


def spread_of(differences: np.ndarray) -> Spread:
    """The parts of the variance of (seeds, items), by the analysis of variance."""
    seeds, items = differences.shape
    rows, columns = differences.mean(axis=1), differences.mean(axis=0) - differences.mean()
    rest = differences - rows[:, None] - columns
    noise = (rest**2).sum() / ((seeds - 1) * (items - 1))
    own = max(columns.var(ddof=1) - noise / seeds, 0.0)
    shrunk = columns * np.sqrt(own / columns.var())
    return Spread(float(np.sqrt(max(rows.var(ddof=1) - noise / items, 0.0))), float(np.sqrt(noise)), shrunk)


def drawn(spread: Spread, seeds: int, documents: int, truth: float, draw: np.random.Generator) -> np.ndarray:
    """A difference (seeds, documents) whose true mean is `truth`."""
    of_seeds, of_items = draw.normal(0, spread.seeds, size=(seeds, 1)), draw.choice(spread.items, size=documents)
    return truth + of_seeds + of_items + draw.normal(0, spread.noise, size=(seeds, documents))


def repeated(spread: Spread, seeds: int, documents: int, truth: float, repetitions: int) -> dict[str, float]:
    found = {"different": [], "bare": [], "equivalent": [], "half_width": []}
    for repetition in range(repetitions):
        draw = np.random.default_rng([repetition, seeds, documents])
        b = drawn(spread, seeds, documents, truth, draw)
        test = paired_bootstrap(np.zeros_like(b), b, RESAMPLES, repetition, margin=MARGIN)
        found["different"].append(test["p"] < LEVEL)
        found["bare"].append(bare(b, draw))
        found["equivalent"].append(test["p_equivalent"] < LEVEL)
        found["half_width"].append((test["high"] - test["low"]) / 2)
    return {name: round(float(np.mean(values)), 4) for name, values in found.items()}


def bare(differences: np.ndarray, draw: np.random.Generator) -> bool:
    """Whether 0 lies outside the percentiles of means over documents alone, drawn with replacement."""
    columns = differences.mean(axis=0)
    means = columns[draw.integers(len(columns), size=(RESAMPLES, len(columns)))].mean(axis=1)
    low, high = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2])
    return not low <= 0 <= high


if __name__ == "__main__":
    sys.exit(main())
