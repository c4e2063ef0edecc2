"""Results beside each other: runs with what differs between them, and two models item by item."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dskd.benchmarks.catalogue import read_benchmark
from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.params import Params, student_names
from dskd.report.metrics import SENSES, pairs
from dskd.report.statistics import mcnemar
from dskd.report.tables import TABLES, TITLES
from dskd.scores.store import read_columns, read_items, read_rows


def counts(first: str, second: str) -> pd.DataFrame:
    """How many items both, one, or none of two models has right, for every task that is right or wrong."""
    columns = read_columns()
    _check(columns, first, second)
    table = []
    for name in ("lexical", "cloze", "chat"):
        for measure, a in columns[first].get(name, {}).items():
            b = columns[second][name][measure]
            if set(a) | set(b) <= {0.0, 1.0}:
                numbers = [np.sum(a * b), np.sum(a * (1 - b)), np.sum((1 - a) * b), np.sum((1 - a) * (1 - b))]
                names = ["both right", f"only {first}", f"only {second}", "neither"]
                row = dict(zip(names, map(int, numbers)))
                table.append({"table": TABLES[name], "task": TITLES[measure], **row})
    return pd.DataFrame(table).set_index(["table", "task"])


def differing_words(first: str, second: str, items: int = 20) -> pd.DataFrame:
    """The first items on held-out words that one of two models has right and the other wrong; a star marks who is
    right. As many of each task."""
    rows = pd.DataFrame(read_rows("lexical"))
    _check(set(rows["model"]), first, second)
    a, b = (rows[rows["model"] == name].set_index("id") for name in (first, second))
    known, _ = read_items()
    tasks = list(dict.fromkeys(item.task for item in known))
    table = []
    for task in tasks:
        parted = [i for i in known if (i.task, i.rung) == (task, "word") and a["correct"][i.id] != b["correct"][i.id]]
        for item in parted[: -(-items // len(tasks))]:
            row = {"task": task, "item": item.context, "answer": item.choices[item.answer].strip()}
            for name, scores in ((first, a), (second, b)):
                star = " *" if scores["correct"][item.id] else ""
                row[name] = item.choices[scores["chosen"][item.id]].strip() + star
            table.append(row)
    return pd.DataFrame(table)


def differing_benchmarks(first: str, second: str, items: int = 20) -> pd.DataFrame:
    """`parted_items` of two models."""
    return parted_items({first: [first], second: [second]}, items)


def show_disagreements(params: Params, first: str, second: str, items: int = 30) -> pd.DataFrame:
    """`parted_items` of two objectives by all of their seeds, with the teacher's choices beside them."""
    runs = {name: [f"{name}-{seed}" for seed in params.distill.seeds] for name in (first, second)}
    return parted_items(runs, items, beside=["teacher"])


def parted_items(runs: dict[str, list[str]], items: int, beside: Sequence[str] = ()) -> pd.DataFrame:
    """Items of the benchmarks by cloze that one of two has right in more of its models than the other, most parted in
    the probability of the answer first.

    A star marks a right choice; what several models chose is listed. The texts are no part of the repository: without
    `artifacts/benchmarks` an item is its id, and a choice its letter. Empty where no benchmark was scored.

    Args:
        runs: two names, each with its models.
        beside: models whose choices are shown as well.
    """
    scores = cloze_scores()
    if not len(scores):
        return pd.DataFrame()
    shown = {name: [name] for name in beside} | runs
    _check(set(scores.index.get_level_values("model")), *(model for models in shown.values() for model in models))

    # Which items part the two, and how far.
    right, probability = (
        {name: sum(scores.loc[model, column] for model in models) / len(models) for name, models in runs.items()}
        for column in ("acc", "probability")
    )
    names = list(runs)
    first, second = names[0], names[-1]  # where both are one, nothing parts them
    distance = (probability[second] - probability[first])[right[second] != right[first]]
    parted = distance.abs().sort_values(ascending=False, kind="stable").index[:items]

    # What they ask, and what was chosen.
    texts = {name: _texts(name) for name in dict.fromkeys(name for name, _ in parted)}
    table = []
    for benchmark, item in parted:
        text = texts[benchmark].get(item)
        choices = text.get("choices", ["no", "yes"]) if text else "ABCDEFGHIJ"
        answers = {name: [scores.loc[(model, benchmark, item)] for model in models] for name, models in shown.items()}
        row = {"benchmark": TITLES[benchmark], "item": _question(text) if text else item}
        row["answer"] = choices[int(answers[first][0]["answer"])].strip()
        for name, rows in answers.items():
            chosen = [choices[int(r["chosen"])].strip() + (" *" if r["acc"] else "") for r in rows]
            row[name] = " | ".join(dict.fromkeys(chosen))
        table.append({**row, f"p(answer), {second} - {first}": f"{distance[benchmark, item]:+.3f}"})
    return pd.DataFrame(table)


def _texts(benchmark: str) -> dict[str, dict]:
    """The rows of a benchmark by id; none where the benchmark is not here."""
    folder = Path(artifacts.BENCHMARKS)
    if not (folder / f"{benchmark}.test.jsonl").exists():
        return {}
    return {row["id"]: row for row in read_benchmark(folder, benchmark, "test")}


def _question(row: dict) -> str:
    return row["question"].strip() if "question" in row else f"{row['word']}: {row['sentence1']} / {row['sentence2']}"


def _check(known, *names: str) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"{artifacts.SCORES} has no scores of {name!r}; it has: {', '.join(sorted(known))}")


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


def cloze_scores() -> pd.DataFrame:
    """The rows of the cloze protocol, by model, benchmark and id."""
    rows = pd.DataFrame(read_rows("cloze"))
    return rows.set_index(["model", "benchmark", "id"]).sort_index() if len(rows) else rows


def show_items(models: list[str], per_task: int = 4) -> pd.DataFrame:
    """The first items of each task with what the models chose; a star marks a right choice."""
    items, _ = read_items()
    chosen = {(row["model"], row["id"]): row["chosen"] for row in read_rows("lexical")}
    table = []
    for task in dict.fromkeys(item.task for item in items):
        for item in [i for i in items if i.task == task][:per_task]:
            row = {"item": item.context, "answer": item.choices[item.answer].strip()}
            for model in models:
                choice = chosen[model, item.id]
                row[model] = item.choices[choice].strip() + (" *" if choice == item.answer else "")
            table.append(row)
    return pd.DataFrame(table)


def show_prompt(benchmark: str) -> str:
    """The first chat prompt of a benchmark, as the teacher's template writes it."""
    path = Path(artifacts.BENCHMARKS) / f"{benchmark}.chat.jsonl"
    return artifacts.read_jsonl(path)[0]["prompt"] if path.exists() else f"{benchmark} is not available"


def items_of_run(params: Params, students: int = 4) -> pd.DataFrame:
    """`show_items` for the teacher and the first students of the run."""
    return show_items(["teacher", *student_names(params)[:students]])


def parting_items(params: Params) -> dict[str, pd.DataFrame]:
    """title -> `show_disagreements`, for the first two pairs with a sense loss, or the first pair where none has one.

    Pairs on which nothing parts are left out.
    """
    compared = pairs(params.distill.objectives)
    chosen = [pair for pair in compared if pair[1] in SENSES][:2] or compared[:1]
    tables = {pair: show_disagreements(params, *pair) for pair in chosen}
    return {f"{len(t)} items that part {first} and {second}": t for (first, second), t in tables.items() if len(t)}
