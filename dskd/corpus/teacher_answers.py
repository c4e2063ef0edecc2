"""The paper's training text: prompts of the benchmarks' training rows, each with what the teacher answers.

The prompts are those of the chat protocol (`benchmarks.chat_prompts`). No item of an evaluation is among them, neither
as question nor as answered example.
"""

import sys
from collections import Counter
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dskd import params
from dskd.benchmarks.catalogue import BENCHMARKS, read_benchmark
from dskd.benchmarks.chat_prompts import chat_rows, end_of_turn, letter
from dskd.benchmarks.gather import canonical_rows, gather
from dskd.benchmarks.squad import answer_text, f1
from dskd.corpus.prompts import Prompts, join_prompts, load_prompts, save_prompts
from dskd.errors import UserError
from dskd.infra.hashes import letters
from dskd.model.inference import Models, greedy
from dskd.model.logits import head_of
from dskd.model.parts import part
from dskd.model.tokenizer import stop_tokens
from dskd.sources.fetch import fetch

_TOKENS = {"squad_v2": 10}  # most tokens of an answer; a choice has one
_NUMBERED = ("mmlu", "piqa")  # sets with labels that are places
_MANY = 20  # rows, of which one has its first choice as the answer (all but 0.3 % of MMLU's samples)
_SHARD = 1024  # prompts a file: a run that was stopped loses at most so many


def answer_sets(
    settings: params.PromptsParams,
    mirror: Path | None,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
) -> dict[str, dict]:
    """Ask the teacher the prompts of each set in `settings.sets`, and write them with its answers to `folder`.

    Returns set -> what `training_prompts` says of it, and "teacher_score", how good the answers are.
    """
    asked, summary = training_prompts(settings, mirror, tokenizer)
    models = teacher_alone(teacher, tokenizer)
    for name, rows in asked.items():
        answer(models, name, rows, folder)
        summary[name]["teacher_score"] = teacher_score(name, rows, folder, tokenizer)
    return summary


def training_prompts(
    settings: params.PromptsParams, mirror: Path | None, tokenizer: PreTrainedTokenizerBase
) -> tuple[dict[str, list[dict]], dict[str, dict]]:
    """Prompts of each set in `settings.sets`, as `chat_rows` makes them, and an account of them.

    A set's rows stand in the order of a hash, so that its share of them, taken from the beginning, is a fair sample.
    Examples come from all of its training rows.

    Returns:
        prompts: set -> rows of `chat_rows`.
        summary: set -> "rows" that it has, "left_out" since they are items of an evaluation too, "prompts" asked.

    Raises:
        UserError: a set cannot be had, or its file is not of that set; the tokenizer has no chat template.
    """
    prompts, summary = {}, {}
    with TemporaryDirectory() as work:
        found = gather(Path(work), mirror)  # of all, since each may hold another's question
        scored = {
            key
            for name in get_args(params.PromptSetName)
            if found[name]["available"]
            for row in read_benchmark(Path(work), name, "test")
            for key in items(row)
        }
        for name, chosen in settings.sets.items():
            every = _rows(name, chosen, Path(work), found)
            rows = [row for row in every if scored.isdisjoint(items(row))]
            if not rows:
                raise UserError(f"prompts.sets.{name}: no training rows, or none that is no item of an evaluation")
            asked = rows[: max(1, round(chosen.share * len(rows)))]
            prompts[name] = chat_rows(name, asked, rows, tokenizer, settings.seed, settings.shots)
            summary[name] = {"rows": len(every), "left_out": len(every) - len(rows), "prompts": len(asked)}
    return prompts, summary


def items(row: dict) -> set[tuple[str, ...]]:
    """Of two rows that are one item some of these are equal: the article of a passage and the passage, or the question
    with its choices in any order. Letters and digits alone count, in whatever case."""
    if "context" in row:
        return {(kind, _spelt(row[kind])) for kind in ("title", "context")}
    return {("question", _spelt(row["question"]), *sorted(map(_spelt, row["choices"])))}


def _spelt(text: str) -> str:
    return letters(text) or text.strip()  # "+" and "-" have no letters


def _rows(name: str, chosen: params.PromptSet, work: Path, found: dict) -> list[dict]:
    if chosen.source is None:
        if not found[name]["available"]:
            raise UserError(f"prompts.sets.{name}: {found[name]['how']}")
        return read_benchmark(work, name, "train")
    path = work / name / PurePosixPath(chosen.source.source).name  # the name's ending tells its form
    fetch(chosen.source, path)
    if not path.is_file():
        raise UserError(f"prompts.sets.{name}: {chosen.source.source} is a folder; name one file")
    faults: Counter[str] = Counter()
    rows = canonical_rows(BENCHMARKS[name], [path], faults)
    if wrong := _other_labels(name, rows, faults["label_outside"]):
        raise UserError(f"prompts.sets.{name}: {chosen.source.source}: {wrong}")
    kept = [row for row in rows if "choices" not in row or row["choices"].count(row["choices"][row["answer"]]) == 1]
    if left_out := len(rows) - len(kept) + faults["empty_choice"]:
        print(f"prompts.sets.{name}: {left_out} rows with an empty choice or two right ones left out", file=sys.stderr)
    return kept


def _other_labels(name: str, rows: list[dict], outside: int) -> str:
    """What is wrong with the labels of a user's file, or ""."""
    if outside:
        return (
            f"{outside} of {outside + len(rows)} rows have a label that is none of their choices': MMLU's and PIQA's "
            "count from 0, or are MMLU's letters A to D; an answerKey is one of the row's labels"
        )
    if name in _NUMBERED and len(rows) >= _MANY and all(row["answer"] for row in rows):
        return f"none of {len(rows)} rows has the first choice as its answer: labels count from 0, do these from 1?"
    for row in rows if name == "squad_v2" else ():
        passage = letters(row["context"])
        if gold := next((gold for gold in row["answers"] if letters(gold) not in passage), None):
            return f"the answer {gold[:60]!r} of the question {row['id']!r} is not in its passage"
    return ""


def teacher_alone(teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Models:
    """The teacher as `model.inference` takes models."""
    first, *others = range(teacher.config.num_hidden_layers)
    lower, top = part(teacher, [first], norm=False), part(teacher, others, norm=True)
    context, stops = teacher.config.max_position_embeddings, stop_tokens(teacher, tokenizer)
    return Models(lower, {"teacher": top}, head_of(teacher), tokenizer, context, stops=stops)


def answer(models: Models, name: str, rows: list[dict], folder: Path) -> None:
    """Write the rows' prompts with the teacher's greedy answers to `folder`, in files of a thousand.

    An answer is one token, or for SQuAD at most ten, and the end of the turn, whether the teacher wrote that or not.
    A prompt that is too long for the teacher loses its beginning. Files that are there already are left as they are.

    Raises:
        UserError: no token ends an answer.
    """
    if not models.stops:
        raise UserError("the teacher's tokenizer has no eos token, which ends an answer: set its eos_token")
    tokenizer, tokens, end = models.tokenizer, _TOKENS.get(name, 1), end_of_turn(models.tokenizer, models.stops)
    for number, start in enumerate(range(0, len(rows), _SHARD)):
        path = folder / f"{name}-{number:05d}.safetensors"
        if path.exists():
            continue
        texts = [row["prompt"] for row in rows[start : start + _SHARD]]
        asked = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]  # they bring theirs
        asked = [ids[max(0, len(ids) + tokens - models.context) :] for ids in asked]
        written = greedy(models, asked, tokens, models.stops)["teacher"]
        save_prompts(path, join_prompts([(ids, [*found, end]) for ids, found in zip(asked, written)]))


def teacher_score(name: str, rows: list[dict], folder: Path, tokenizer: PreTrainedTokenizerBase) -> float:
    """Share of the right letters in the answers that `answer` wrote, or SQuAD's mean F1, 0 to 1."""
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for _, ids in _pairs(load_prompts(folder, name))]
    if name == "squad_v2":
        scores = [f1(answer_text(text), row["answers"]) for text, row in zip(texts, rows, strict=True)]
    else:
        scores = [float(letter(text) == row["answer"]) for text, row in zip(texts, rows, strict=True)]
    return round(sum(scores) / len(scores), 4)


def example(prompts: Prompts, number: int, tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of one prompt, and after a line the answer, special tokens shown."""
    return "\n--- the teacher answers:\n".join(tokenizer.decode(ids) for ids in _pairs(prompts)[number])


def _pairs(prompts: Prompts) -> list[tuple[np.ndarray, np.ndarray]]:
    starts = [0, *prompts.ends[:-1]]
    bounds = zip(starts, prompts.answers, prompts.ends)
    return [(prompts.tokens[start:middle], prompts.tokens[middle:end]) for start, middle, end in bounds]
