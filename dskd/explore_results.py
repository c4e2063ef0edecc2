"""Results beside each other: runs with what differs between them, and two models item by item."""

from pathlib import Path

import dvc.api
import numpy as np
import pandas as pd
from dvc.exceptions import DvcException
from dvc.scm import SCMError
from matplotlib.figure import Figure

from dskd import artifacts, figures
from dskd.artifacts import UserError
from dskd.differences import cloze_scores
from dskd.params import Params
from dskd.scores import read_columns, read_items, read_rows
from dskd.tables import TABLES, TITLES
from dskd.tasks.benchmarks import read_benchmark

_MEASURES = {
    "KL to teacher": "heldout.kl",
    "CE": "heldout.ce",
    "synonym": "lexical.synonym",
    "antonym": "lexical.antonym",
    "benchmarks, cloze": "cloze.all",
}


def runs() -> pd.DataFrame:
    """The runs that `dvc exp show` knows, one row a run and model: its main measures, and the parameters in which the
    runs differ.

    Raises:
        UserError: this folder is no clone of a repository with DVC, so that it has no runs.
    """
    try:
        found = dvc.api.exp_show()
    except (DvcException, SCMError) as error:
        raise UserError(f"no runs to compare ({artifacts.one_line(error)}): clone the repository with git") from None
    groups = set(Params.model_fields)
    parameters = [key for key in dict.fromkeys(k for run in found for k in run) if key.split(".")[0] in groups]
    differing = [key for key in parameters if len({repr(run.get(key)) for run in found}) > 1]
    table = []
    for run in found:
        models = [key.split(".")[1] for key in run if key.endswith(".heldout.kl.mean") and key.startswith("models.")]
        for model in [name for name in models if run[f"models.{name}.heldout.kl.mean"] is not None]:
            values = {title: run.get(f"models.{model}.{key}.mean") for title, key in _MEASURES.items()}
            name = {"run": run.get("Experiment") or run["rev"], "created": run.get("Created") or "", "model": model}
            table.append({**name, **values, **{key: run.get(key) for key in differing}})
    if not table:
        raise UserError("no run has metrics: make them with `dvc repro`")
    return pd.DataFrame(table).round(4).set_index(["run", "created", "model"])


def curves(names: list[str]) -> Figure:
    """The training curves of those of the names that are students (`figures.curves`)."""
    there = [name for name in names if (Path(artifacts.CURVES) / name).is_dir()]
    if not there:
        known = sorted(path.name for path in Path(artifacts.CURVES).glob("*"))
        raise UserError(f"{artifacts.CURVES} has no curves of {' and '.join(names)}; it has: {', '.join(known)}")
    return figures.curves(there)


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
        parted = [i for i in known if i.task == task and a["correct"][i.id] != b["correct"][i.id]]
        for item in parted[: -(-items // len(tasks))]:
            row = {"task": task, "item": item.context, "answer": item.choices[item.answer].strip()}
            for name, scores in ((first, a), (second, b)):
                star = " *" if scores["correct"][item.id] else ""
                row[name] = item.choices[scores["chosen"][item.id]].strip() + star
            table.append(row)
    return pd.DataFrame(table)


def differing_benchmarks(first: str, second: str, items: int = 20) -> pd.DataFrame:
    """Items of the benchmarks by cloze that one of two models has right and the other wrong, most parted in the
    probability of the answer first. The texts are no part of the repository: without `artifacts/benchmarks` an item
    is its id, and a choice its letter. Empty where no benchmark was scored."""
    scores = cloze_scores()
    if not len(scores):
        return pd.DataFrame()
    _check(set(scores.index.get_level_values("model")), first, second)
    a, b = scores.loc[first], scores.loc[second]
    distance = (b["probability"] - a["probability"])[a["acc"] != b["acc"]]
    chosen = distance.abs().sort_values(ascending=False, kind="stable").index[:items]
    asked = {name: _texts(name) for name in dict.fromkeys(name for name, _ in chosen)}
    table = []
    for benchmark, item in chosen:
        text = asked[benchmark].get(item)
        choices = text.get("choices", ["no", "yes"]) if text else "ABCDEFGHIJ"
        row = {"benchmark": TITLES[benchmark], "item": _question(text) if text else item}
        row["answer"] = choices[int(a.loc[(benchmark, item), "answer"])].strip()
        for name, rows in ((first, a), (second, b)):
            answer = rows.loc[(benchmark, item)]
            row[name] = choices[int(answer["chosen"])].strip() + (" *" if answer["acc"] else "")
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
