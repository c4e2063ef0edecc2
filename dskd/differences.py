"""Where two objectives part, item by item: benchmarks by cloze."""

from pathlib import Path

import pandas as pd

from dskd import artifacts
from dskd.params import Params
from dskd.report import pairs
from dskd.scores import read_rows
from dskd.stats import mcnemar
from dskd.tables import TITLES
from dskd.tasks.benchmarks import read_benchmark


def disagreements(params: Params) -> pd.DataFrame:
    """For every pair of objectives the items that both, one, or none has right, with the first seed, and McNemar's
    exact p value; all benchmarks that were scored by cloze together. Empty where none was."""
    scores = cloze_scores()
    seed, table = params.distill.seeds[0], []
    for first, second in pairs(params.distill.objectives) if len(scores) else ():
        a, b = (scores.loc[f"{name}-{seed}", "acc"].sort_index() for name in (first, second))
        test = mcnemar(a.to_numpy(), b.to_numpy())
        table.append(
            {
                "first": first,
                "second": second,
                "both right": int(((a == 1) & (b == 1)).sum()),
                "only the first": test.only_a,
                "only the second": test.only_b,
                "neither": int(((a == 0) & (b == 0)).sum()),
                "p": test.p,
            }
        )
    return pd.DataFrame(table)


def show_disagreements(params: Params, first: str, second: str, items: int = 30) -> pd.DataFrame:
    """Items that one objective has right in more of its seeds than the other, most parted in the probability of the
    answer first: what is asked, the answer, and what teacher and both objectives chose (of several seeds: each)."""
    scores = cloze_scores()
    if not len(scores):
        return pd.DataFrame()
    runs = {name: [f"{name}-{seed}" for seed in params.distill.seeds] for name in (first, second)}
    right, probability = (
        {name: sum(scores.loc[run, column] for run in models) / len(models) for name, models in runs.items()}
        for column in ("acc", "probability")
    )
    parted = (right[second] - right[first]).loc[lambda difference: difference != 0].index
    distance = (probability[second] - probability[first]).loc[parted]
    asked = {name: {row["id"]: row for row in _rows(name)} for name in {benchmark for benchmark, _ in parted}}
    table = []
    for benchmark, item in distance.abs().sort_values(ascending=False, kind="stable").index[:items]:
        row = asked[benchmark][item]
        choices = row.get("choices", ["no", "yes"])

        def chosen(models: list[str], key: tuple = (benchmark, item), choices: list[str] = choices) -> str:
            answers = [scores.loc[(model, *key)] for model in models]
            texts = [choices[answer["chosen"]].strip() + (" *" if answer["acc"] else "") for answer in answers]
            return " | ".join(dict.fromkeys(texts))

        table.append(
            {
                "benchmark": TITLES[benchmark],
                "item": _question(row),
                "answer": choices[row["answer"]].strip(),
                "teacher": chosen(["teacher"]),
                **{name: chosen(models) for name, models in runs.items()},
                f"p(answer), {second} - {first}": f"{distance[benchmark, item]:+.3f}",
            }
        )
    return pd.DataFrame(table)


def cloze_scores() -> pd.DataFrame:
    """The rows of the cloze protocol, by model, benchmark and id."""
    rows = pd.DataFrame(read_rows("cloze"))
    return rows.set_index(["model", "benchmark", "id"]).sort_index() if len(rows) else rows


def _rows(name: str) -> list[dict]:
    return read_benchmark(Path(artifacts.BENCHMARKS), name, "test")


def _question(row: dict) -> str:
    if "sentence1" in row:
        return f"{row['word']}: {row['sentence1']} / {row['sentence2']}"
    return row["question"].strip()
