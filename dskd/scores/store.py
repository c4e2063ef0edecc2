"""The scores of a run as they are kept, one row a model and block or item, and as arrays to compute with."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from dskd.corpus.store import SOURCES
from dskd.infra import artifacts
from dskd.infra.artifacts import reading, require
from dskd.scores.lexical_choice import Item, baseline_accuracy

HELDOUT = ("ce", "kl", "agreement")
TASKS = ("synonym", "antonym", "definition")

# table -> measure -> array over blocks or items, the same order for every model
Columns = dict[str, dict[str, np.ndarray]]


def heldout_rows(scores: dict[str, dict[str, list[float]]], sources: Tensor, documents: Sequence[str]) -> list[dict]:
    """One row a model and block: model, block, source, document, ce, kl, agreement.

    Args:
        sources: (m,) as `corpus.build` codes them; documents: (m,) the document of each block.
    """
    return [
        {
            "model": model,
            "block": block,
            "source": SOURCES[int(sources[block])],
            "document": documents[block],
            **dict(zip(HELDOUT, values)),
        }
        for model, columns in scores.items()
        for block, values in enumerate(zip(*(columns[key] for key in HELDOUT)))
    ]


def item_rows(items: Sequence[Item], frequency: Mapping[str, int]) -> list[dict]:
    """One row an item, all that it consists of, and how often each choice occurs in WordNet's texts."""
    return [
        {**item._asdict(), "frequencies": [frequency.get(choice.strip(), 0) for choice in item.choices]}
        for item in items
    ]


def choice_rows(scores: dict[str, list[list[float]]], items: Sequence[Item]) -> list[dict]:
    """One row a model and item: model, task, rung, id, answer, chosen, correct (0 or 1), log_likelihoods."""
    return [
        {
            "model": model,
            "task": item.task,
            "rung": item.rung,
            "id": item.id,
            "answer": item.answer,
            "chosen": int(np.argmax(values)),
            "correct": int(int(np.argmax(values)) == item.answer),
            "log_likelihoods": [round(float(value), 4) for value in values],
        }
        for model, matrix in scores.items()
        for item, values in zip(items, matrix)
    ]


@reading(artifacts.SCORES, "evaluate")
def read_items() -> tuple[list[Item], dict[str, int]]:
    """The lexical items of the run as they were kept, and the frequency of each word among their choices."""
    rows = read_rows("items")
    frequency = {c.strip(): f for row in rows for c, f in zip(row["choices"], row.pop("frequencies"))}
    return [Item(**{**row, "choices": tuple(row["choices"])}) for row in rows], frequency


@reading(artifacts.SCORES, "evaluate")
def baselines() -> dict[str, dict[str, float]]:
    """Task -> rule -> accuracy of guessing by frequency or length alone, on held-out words; of the tasks that have
    items."""
    items, frequency = read_items()
    of_tasks = {task: [item for item in items if item.task == task and item.rung == "word"] for task in TASKS}
    return {task: baseline_accuracy(found, frequency) for task, found in of_tasks.items() if found}


def read_rows(name: str) -> list[dict]:
    """The rows of `reports/scores/NAME.jsonl`; UserError where the run left no scores."""
    return artifacts.read_jsonl(require(f"{artifacts.SCORES}/{name}.jsonl", "evaluate"))


def heldout_tables(sources: Collection[str]) -> dict[str, str]:
    """Source of held-out text -> the table that its scores stand in: plain text in "heldout", and glosses apart from
    it in "glosses"; where there is no plain text glosses take its place."""
    general = "wiki" if "wiki" in sources else "gloss"
    return {source: "heldout" if source == general else "glosses" for source in SOURCES if source in sources}


@reading(artifacts.SCORES, "evaluate")
def read_units() -> dict[str, dict[str, list[str]]]:
    """Table -> measure -> the document of each item, in the order of `read_columns`, where items are of documents."""
    found: dict[str, dict[str, dict[int | str, str]]] = {}
    rows = read_rows("heldout")
    tables = heldout_tables({row["source"] for row in rows})
    for row in rows:
        for measure in HELDOUT:
            found.setdefault(tables[row["source"]], {}).setdefault(measure, {})[row["block"]] = row["document"]
    for row in read_rows("in_context"):
        measure = f"{row['kind']}_{row['rung']}"
        found.setdefault("in_context", {}).setdefault(measure, {})[row["id"]] = row["document"]
    return {
        table: {measure: [names[key] for key in sorted(names)] for measure, names in measures.items()}
        for table, measures in found.items()
    }


@reading(artifacts.SCORES, "evaluate")
def read_columns() -> dict[str, Columns]:
    """model -> table -> measure -> scores.

    heldout, glosses      ce, kl (nats/token), agreement: of each block of plain text, and of each of glosses
    lexical               accuracy of the choice tasks on held-out words, and of what is told from the states of
                          words: WiC, antonyms against synonyms by a threshold and by a probe
    ladder                whether the answer on synonyms and antonyms is right, by rung and by whether the teacher's is:
                          "synonym_trained_right"; groups of fewer than two items are left out
    ladder_probability    of the same items the share of the answer in the choices' probabilities
    in_context            by kind and rung how much likelier a related word is than an unrelated one, in nats
    similarity            simlex: of each pair of words the cosine; of the model "human" people's judgement
    cloze, cloze_norm     benchmark -> whether the likeliest choice, or the likeliest a character, is the answer
    cloze_probability     benchmark -> share of the answer in the choices' probabilities
    chat                  benchmark -> whether the letter is right; squad_v2 (F1) and squad_v2_em
    """
    found: dict[str, Columns] = {}

    def put(model: str, table: str, measure: str, key: str | int, value: float) -> None:
        found.setdefault(model, {}).setdefault(table, {}).setdefault(measure, {})[key] = value

    heldout = read_rows("heldout")
    tables = heldout_tables({row["source"] for row in heldout})
    for row in heldout:
        for measure in HELDOUT:
            put(row["model"], tables[row["source"]], measure, row["block"], row[measure])
    lexical = read_rows("lexical")
    groups = _ladder(lexical)
    for row in lexical:
        if row["rung"] == "word":
            put(row["model"], "lexical", row["task"], row["id"], row["correct"])
        if group := groups.get(row["id"]):
            put(row["model"], "ladder", group, row["id"], row["correct"])
            put(row["model"], "ladder_probability", group, row["id"], answer_share(row))
    for row in read_rows("in_context"):
        put(row["model"], "in_context", f"{row['kind']}_{row['rung']}", row["id"], row["value"])
    for row in read_rows("pairs"):
        table = "similarity" if row["task"] == "simlex" else "lexical"
        put(row["model"], table, row["task"], row["id"], row["value"])
    for row in [*read_rows("cloze"), *read_rows("chat")]:
        model, name = row["model"], row["benchmark"]
        if row["protocol"] == "cloze":
            for table, value in (("cloze", "acc"), ("cloze_norm", "acc_norm"), ("cloze_probability", "probability")):
                put(model, table, name, row["id"], row[value])
        elif "f1" in row:
            put(model, "chat", name, row["id"], row["f1"])
            put(model, "chat", f"{name}_em", row["id"], row["em"])
        else:
            put(model, "chat", name, row["id"], row["acc"])
    return {
        model: {
            table: {
                measure: np.array([values[key] for key in sorted(values)], dtype=np.float64)
                for measure, values in measures.items()
            }
            for table, measures in tables.items()
        }
        for model, tables in found.items()
    }


def answer_share(row: Mapping) -> float:
    """The right answer's share in the probabilities of an item's choices."""
    values = np.array(row["log_likelihoods"], dtype=np.float64)
    weights = np.exp(values - values.max())
    return float(weights[row["answer"]] / weights.sum())


def _ladder(rows: Sequence[Mapping]) -> dict[str, str]:
    """Item's id -> its group on the ladder, of synonyms and antonyms in groups of two items or more."""
    found = {
        row["id"]: f"{row['task']}_{row['rung']}_{'right' if row['correct'] else 'wrong'}"
        for row in rows
        if row["model"] == "teacher" and row["task"] != "definition"
    }
    counts = Counter(found.values())
    return {name: group for name, group in found.items() if counts[group] > 1}


def mean_scores(columns: dict[str, Columns]) -> pd.DataFrame:
    """The mean of every measure: one row per table and measure, one column per model, without people's judgements."""
    means = {
        model: {(table, measure): values.mean() for table, of in tables.items() for measure, values in of.items()}
        for model, tables in columns.items()
        if model != "human"
    }
    return pd.DataFrame(means)


def baseline_table() -> pd.DataFrame:
    """`baselines` as a table: one row per task, one column per rule of guessing."""
    return pd.DataFrame(baselines()).T
