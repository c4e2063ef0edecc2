"""All that models are measured by beside held-out text, as rows to keep: lexical choice, what the states of words
tell, and the benchmarks. Every model is scored in one go."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nltk.corpus.reader.wordnet import WordNetCorpusReader
from transformers import PreTrainedTokenizerBase

from dskd.benchmarks.catalogue import CHAT, CLOZE, read_benchmark
from dskd.errors import UserError
from dskd.infra.artifacts import read_json, write_json, write_jsonl
from dskd.lexicon.rungs import Trained
from dskd.model.inference import Choices, Models, log_likelihoods, states_at
from dskd.model.tokenizer import begun
from dskd.params import EvaluateParams, Params
from dskd.scores.harness import run_tasks
from dskd.scores.in_context import HeldoutText, find_places, in_context_rows
from dskd.scores.lexical_choice import Item, build_items, read_vocabulary
from dskd.scores.store import choice_rows, item_rows
from dskd.scores.word_states import (
    Threshold,
    antonym_scores,
    overlap,
    sentence_queries,
    simlex_similarity,
    wic_scores,
    word_queries,
)


class Words(NamedTuple):
    """What the lexical measures are made of."""

    reader: WordNetCorpusReader
    trained: Trained  # the relations that the training text could teach
    text: HeldoutText


def measure(models: Models, words: Words, benchmarks: Path, params: Params, folder: Path) -> None:
    """Score all models on lexical items, words in context, states of words and benchmarks, and write the rows to
    `folder`.

    A part whose file is there already is not done again.

    Args:
        benchmarks: the folder that the stage of that name left.
    """
    summary = read_json(benchmarks / "summary.json")
    available = [name for name, value in summary.items() if value["available"]]
    with_chat = [name for name in available if "no_chat" not in summary[name]]

    if not (folder / "lexical.jsonl").exists():
        vocabulary = read_vocabulary(words.reader)
        items = build_items(params.lexicon, params.evaluate.seed, params.evaluate.items, vocabulary, words.trained)
        settings = params.evaluate.seed, params.evaluate.items
        places = find_places(words.text, params.lexicon, vocabulary, words.trained, models.tokenizer, settings)
        write_jsonl(folder / "in_context.jsonl", in_context_rows(models, words.text, places))
        write_jsonl(folder / "items.jsonl", item_rows(items, vocabulary.frequency))
        write_jsonl(folder / "lexical.jsonl", lexical_rows(models, items))

    parts = {
        "pairs": lambda: pair_rows(models, benchmarks, available, params.evaluate),
        "cloze": lambda: benchmark_rows(models, "cloze", available, params.evaluate.cloze_items),
        "chat": lambda: benchmark_rows(models, "chat", with_chat, params.benchmarks.chat_items),
    }
    for part, score in parts.items():
        if not (folder / f"{part}.json").exists():
            rows, facts = score()
            write_jsonl(folder / f"{part}.jsonl", rows)
            write_json(folder / f"{part}.json", facts)  # last: it marks the part as done


def lexical_rows(models: Models, items: Sequence[Item]) -> list[dict]:
    """The choice tasks."""
    tokenizer = models.tokenizer
    asked = [_tokenised(item, tokenizer) for item in items]
    found = log_likelihoods(models, asked)
    return choice_rows({name: [[value for value, _ in item] for item in rows] for name, rows in found.items()}, items)


def _tokenised(item: Item, tokenizer: PreTrainedTokenizerBase) -> Choices:
    """The item's choices as what follows its context: alone, SentencePiece would put a space of its own before each."""
    context = begun(tokenizer, item.context)
    whole = [begun(tokenizer, item.context + choice) for choice in item.choices]
    if any(ids[: len(context)] != context for ids in whole):
        raise UserError(f"{item.id}: this tokenizer joins the context with what follows: use another teacher")
    return Choices(context, [ids[len(context) :] for ids in whole])


def pair_rows(
    models: Models, folder: Path, available: Sequence[str], settings: EvaluateParams
) -> tuple[list[dict], dict]:
    """WiC, SimLex-999 and AntSynNET by the models' states, those of them that are available.

    Args:
        settings: how many training rows thresholds and probe are fitted on.

    Returns:
        Rows {model, task, id, value} and the facts beside them: thresholds, accuracies on train, overlap of words.
        SimLex's rows of the model "human" are people's judgements.
    """
    rows, facts = [], {}

    def keep(model: str, task: str, tested: Sequence[dict], values: Sequence[float]) -> None:
        rows.extend(
            {"model": model, "task": task, "id": row["id"], "value": round(float(value), 5)}
            for row, value in zip(tested, values)
        )

    if "wic" in available:
        train, test = (read_benchmark(folder, "wic", split) for split in ("train", "test"))
        train = train[: settings.wic_train]
        queries = sentence_queries([*train, *test], models.tokenizer, repeated=True)
        seen, tested = queries.pairs[: len(train)], queries.pairs[len(train) :]
        answers, golds = ([row["answer"] for row in part] for part in (train, test))
        for name, states in states_at(models, queries.sequences, queries.positions).items():
            found = wic_scores(states, seen, answers, tested, golds)
            keep(name, "wic_states", test, found.correct)
            facts.setdefault("wic", {})[name] = _facts(found)
    if "simlex" in available:
        test = read_benchmark(folder, "simlex", "test")
        human = [row["similarity"] for row in test]
        queries = word_queries(test, models.tokenizer)
        keep("human", "simlex", test, human)
        for name, states in states_at(models, queries.sequences, queries.positions).items():
            keep(name, "simlex", test, simlex_similarity(states, queries.pairs))
    if "antsynnet" in available:
        train, test = (read_benchmark(folder, "antsynnet", split) for split in ("train", "test"))
        train = train[: settings.antonym_train]
        queries = word_queries([*train, *test], models.tokenizer)
        seen, tested = queries.pairs[: len(train)], queries.pairs[len(train) :]
        opposed, golds = ([row["relation"] == "antonym" for row in part] for part in (train, test))
        known = overlap(train, test)
        facts["antsynnet"] = {"words": known["words"], "words_in_train": known["words_seen"]}
        facts["antsynnet"] |= {"pairs": len(test), "pairs_in_train": int(known["pairs_seen"].sum())}
        for name, states in states_at(models, queries.sequences, queries.positions).items():
            found = antonym_scores(states, seen, opposed, tested, golds)
            keep(name, "antonym_cosine", test, found.cosine.correct)
            keep(name, "antonym_probe", test, found.probe_correct)
            unseen = found.probe_correct[~known["pairs_seen"]].mean()
            accuracies = {"probe_train_accuracy": found.probe_train_accuracy, "probe_accuracy_unseen_pairs": unseen}
            facts["antsynnet"][name] = _facts(found.cosine) | {k: round(float(v), 5) for k, v in accuracies.items()}
    return rows, facts


def benchmark_rows(
    models: Models, protocol: str, available: Sequence[str], items: int
) -> tuple[list[dict], dict[str, dict]]:
    """The benchmarks of a protocol ("cloze" or "chat") that are available; see `harness.run_tasks`."""
    names = [name for name in {"cloze": CLOZE, "chat": CHAT}[protocol] if name in available]
    return run_tasks(models, protocol, names, items) if names else ([], {})


def _facts(found: Threshold) -> dict[str, float | None]:
    values = {
        "threshold": found.threshold,
        "sign": found.sign,
        "auc": found.auc,
        "train_accuracy": found.train_accuracy,
    }
    return {name: None if value is None else round(float(value), 5) for name, value in values.items()}
