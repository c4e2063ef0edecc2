"""From scores to metrics and tables: means with intervals, and paired differences between objectives."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from dskd import artifacts
from dskd.artifacts import UserError, require
from dskd.corpus import SOURCES
from dskd.params import Params
from dskd.stats import estimate
from dskd.tasks.lexical import Item, baseline_accuracy

TASKS = ("synonym", "antonym", "definition")
HELDOUT = ("ce", "kl", "agreement")
TITLES = {
    "ce": "CE (nats/token)",
    "bits_per_byte": "bits/byte",
    "kl": "KL to teacher (nats/token)",
    "agreement": "top token agrees",
    "synonym": "synonym",
    "antonym": "antonym",
    "definition": "definition",
}


def heldout_rows(scores: dict[str, dict[str, list[float]]], sources: Tensor) -> list[dict]:
    """One row a model and block: model, block, source, ce, kl, agreement."""
    return [
        {"model": model, "block": block, "source": SOURCES[int(sources[block])], **dict(zip(HELDOUT, values))}
        for model, columns in scores.items()
        for block, values in enumerate(zip(*(columns[key] for key in HELDOUT)))
    ]


def item_rows(items: Sequence[Item], frequency: Mapping[str, int]) -> list[dict]:
    """One row an item, all that it consists of, and how often each choice occurs in WordNet's texts."""
    return [
        {**item._asdict(), "frequencies": [frequency.get(choice.strip(), 0) for choice in item.choices]}
        for item in items
    ]


def read_items() -> tuple[list[Item], dict[str, int]]:
    """The items of the run as they were kept, and the frequency of each word among their choices."""
    rows = artifacts.read_jsonl(require(artifacts.SCORES, "evaluate") / "items.jsonl")
    frequency = {c.strip(): f for row in rows for c, f in zip(row["choices"], row.pop("frequencies"))}
    return [Item(**row) for row in rows], frequency


def baselines() -> dict[str, dict[str, float]]:
    """Task -> rule -> accuracy of guessing by frequency or length alone."""
    items, frequency = read_items()
    return {task: baseline_accuracy([i for i in items if i.task == task], frequency) for task in TASKS}


def choice_rows(scores: dict[str, Tensor], items: Sequence[Item]) -> list[dict]:
    """One row a model and item: model, task, id, answer, chosen, correct (0 or 1), log_likelihoods."""
    return [
        {
            "model": model,
            "task": item.task,
            "id": item.id,
            "answer": item.answer,
            "chosen": int(values.argmax()),
            "correct": int(int(values.argmax()) == item.answer),
            "log_likelihoods": [round(float(value), 4) for value in values],
        }
        for model, matrix in scores.items()
        for item, values in zip(items, matrix)
    ]


def read_scores() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of `heldout_rows` and of `choice_rows` as they were kept."""
    folder = require(artifacts.SCORES, "evaluate")
    return tuple(pd.DataFrame(artifacts.read_jsonl(folder / f"{name}.jsonl")) for name in ("heldout", "lexical"))


def summarise(params: Params, students: list[str]) -> dict:
    """All metrics of a run: for every model means with 95 % intervals, for every pair of objectives paired
    differences on the same blocks and items, averaged over seeds first.

    Raises:
        UserError: the scores are missing, or are of other students.
    """
    heldout, lexical = read_scores()
    found = [name for name in heldout["model"].unique() if name not in ("teacher", "cut")]
    if found != students:
        raise UserError(f"{artifacts.SCORES} holds {found}, the parameters want {students}: run `dvc repro evaluate`")
    summary = artifacts.read_json(require(Path(artifacts.CORPUS) / "corpus.json", "corpus"))
    # Separators have no bytes but cost nats: they count, as the end of a text does in a code.
    tokens = params.corpus.block_length * int((heldout["model"] == "teacher").sum())
    per_byte = tokens / summary["heldout_bytes"] / np.log(2)
    columns = _columns(heldout, lexical)
    settings = params.evaluate

    def interval(values: np.ndarray) -> dict:
        return estimate(values, settings.bootstrap, settings.seed)

    models = {}
    for name in ("teacher", "cut", *students):
        models[name] = {key: interval(values) for key, values in columns[name].items()}
        bits = {part: value * per_byte for part, value in models[name]["ce"].items()}
        models[name] |= {"bits_per_byte": bits, "command": _command(name)}
    seeds, objectives = params.distill.seeds, params.distill.objectives

    def over_seeds(objective: str, key: str) -> np.ndarray:
        return np.mean([columns[f"{objective}-{seed}"][key] for seed in seeds], axis=0)

    differences = {
        f"{second} - {first}": {
            key: interval(over_seeds(second, key) - over_seeds(first, key)) for key in (*HELDOUT, *TASKS)
        }
        for i, first in enumerate(objectives)
        for second in objectives[i + 1 :]
    }
    items = {task: len(columns["teacher"][task]) for task in TASKS}
    return {
        "models": models,
        "differences": differences,
        "train_tokens": sum(row["tokens"] for name, row in summary["by_split_and_source"].items() if "train" in name),
        "heldout_tokens": tokens,
        "items": items,
        "baselines": baselines(),
        "seeds": seeds,
    }


def _columns(heldout: pd.DataFrame, lexical: pd.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    """model -> metric -> score of every block or item, in one order for all models."""
    columns = {
        name: {key: rows.sort_values("block")[key].to_numpy() for key in HELDOUT}
        for name, rows in heldout.groupby("model", sort=False)
    }
    for (name, task), rows in lexical.groupby(["model", "task"], sort=False):
        columns[name][task] = rows.sort_values("id")["correct"].to_numpy(dtype=np.float64)
    return columns


def _command(name: str) -> str:
    return {"teacher": "dvc repro sources", "cut": "dvc repro evaluate"}.get(name, f"dvc repro distill@{name}")


def models_table(metrics: dict) -> pd.DataFrame:
    """One row a model, "mean [low, high]" for every metric that there is, and the command that makes it."""
    return pd.DataFrame(
        [
            {"model": name, **{t: _cell(model[key]) for key, t in TITLES.items()}, "command": model["command"]}
            for name, model in metrics["models"].items()
        ]
    )


def differences_table(metrics: dict) -> pd.DataFrame:
    """One row a pair of objectives, with paired 95 % intervals."""
    return pd.DataFrame(
        [
            {"difference": name, **{TITLES[key]: _cell(value, signed=True) for key, value in values.items()}}
            for name, values in metrics["differences"].items()
        ]
    )


def _cell(value: dict[str, float], signed: bool = False) -> str:
    mean, low, high = (f"{round(value[key], 3) + 0.0:{'+' if signed else ''}.3f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def setting(params: Params, metrics: dict) -> str:
    """One paragraph of Markdown: what was trained, on what, and with which weights."""
    student, distill = params.student, params.distill
    cuts = {"first": "the teacher's first layers", "lower_last": "the teacher's lower layers with its last ones on top"}
    weights = "; ".join(
        f"`{name}`: " + ", ".join(f"{key} {value:g}" for key, value in params.objectives[name].model_dump().items())
        for name in distill.objectives
    )
    return (
        f"The student has {student.layers} layers ({cuts[student.cut]}), of which the last {student.trained} train, on "
        f"{metrics['train_tokens']:,} tokens, {distill.epochs} epoch(s), learning rate {distill.learning_rate:g}, "
        f"temperature {distill.temperature:g}. Weights of the loss terms: {weights}. "
        f"Scored on {metrics['heldout_tokens']:,} held-out tokens and {sum(metrics['items'].values())} choice items."
    )
