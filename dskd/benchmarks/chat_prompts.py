"""The paper's benchmarks as chat prompts: a letter after five answered examples, or a span after one.

The conversation has a user and an assistant turn for each example and ends where the assistant is to speak, so
that the answer is tokenised as in the examples: one token where the tokenizer has the label as one. Examples
are drawn by hashes of (seed, item, example): each is fixed whatever else is asked, and in whatever order.
"""

import string
import sys
from collections.abc import Collection
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
from transformers import PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

from dskd.benchmarks.catalogue import CHAT, read_benchmark
from dskd.benchmarks.squad import NO_ANSWER
from dskd.errors import UserError, one_line
from dskd.infra.artifacts import write_jsonl
from dskd.infra.randomness import hash_integers, text_key
from dskd.params import BenchmarksParams

LETTERS = string.ascii_uppercase
LABELS = {"piqa": "01"}  # all others have letters
NO_TEMPLATE = "the teacher's tokenizer has no chat template: take a model tuned for chat (sources.teacher)"

# Where a model is to think first, its first token is no letter. A template that knows neither name passes over it.
_ASKED = {"enable_thinking": False, "thinking": False}
_OPEN = "<think>"
_WAY_OUT = "mend it (chat_template in the model's folder) or take another teacher (sources.teacher)"

_CHOOSE = "Answer each question with the {} of the right choice, and nothing else."
_EXTRACT = (
    "Answer each question in as few words as possible, copied from the passage. "
    f'If the passage does not answer it, reply "{NO_ANSWER}".'
)
_SEED = text_key("tasks.chat")
_key = cache(text_key)  # a pool's ids are asked for again with every item


class _OneDay(datetime):
    """The day that templates take for today: with the real one the prompts would have other bytes every day."""

    @classmethod
    def now(cls, tz=None) -> datetime:
        return cls(2024, 7, 26, tzinfo=tz)


def shots(row: dict, pool: list[dict], number: int, seed: int) -> list[dict]:
    """`number` rows of the pool in drawn order, or all where it has fewer; never `row` itself.

    Ids are strings, and each is once in the pool; the pool's order does not matter. A row with a subject (MMLU)
    gets rows of that subject only.
    """
    others = [other for other in pool if other["id"] != row["id"] and other.get("subject") == row.get("subject")]
    keys = np.array([_key(other["id"]) for other in others], dtype=np.uint64)
    draws = hash_integers(_SEED, seed, _key(row["id"]), keys)
    return [others[place] for place in np.argsort(draws)[:number]]


def paragraphs(rows: list[dict]) -> dict[str, list[dict]]:
    """SQuAD's rows by their passage."""
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row["context"], []).append(row)
    return found


def squad_example(row: dict, by_paragraph: dict[str, list[dict]], seed: int) -> dict | None:
    """Another question on the same passage (see `paragraphs`); None where there is no other."""
    return next(iter(shots(row, by_paragraph.get(row["context"], []), 1, seed)), None)


def choice_messages(row: dict, examples: list[dict], labels: str) -> list[dict]:
    """Turns of a chat: question and labelled choices from the user, the bare label from the assistant; last `row`.

    `labels` has a character for each choice, or more. The instruction stands in the first user turn: some
    templates (Mistral 7B Instruct v0.1) take no system turn.
    """
    instruction = _CHOOSE.format("number" if labels.isdigit() else "letter")
    turns = [(_choice_question(other, labels), labels[other["answer"]]) for other in examples]
    return _conversation(instruction, turns, _choice_question(row, labels))


def squad_messages(row: dict, example: dict | None) -> list[dict]:
    """Turns of a chat: the passage, once, with the example's question and its first gold or "No answer"; last `row`.

    Without an example the passage stands with the question of `row`.
    """
    instruction = f"{_EXTRACT}\n\nPassage: {row['context'].strip()}"
    turns = []
    if example is not None:
        turns = [(_squad_question(example), example["answers"][0].strip() if example["answers"] else NO_ANSWER)]
    return _conversation(instruction, turns, _squad_question(row))


def render(messages: list[dict], tokenizer) -> str:
    """The chat as the tokenizer's template writes it, up to where the assistant speaks. It has its special tokens.

    The same chat gives the same text on every day; a model that can answer without thinking first is asked to.

    Raises:
        UserError: the tokenizer has no chat template, or one that fails, leaves a turn out or makes the model think; a
            message spells one of the tokenizer's special tokens, which would be read as it.
    """
    if not tokenizer.chat_template:
        raise UserError(NO_TEMPLATE)
    said = "\n".join(message["content"] for message in messages)
    if token := next((token for token in _special(tokenizer, len(tokenizer)) if token in said), None):
        raise UserError(
            f"a row has {token!r} in its text, a special token of the teacher's: leave it out of the rows "
            f"(prompts.sets) or take another teacher; it says {messages[-1]['content'][:60]!r}"
        )
    prompt = _written(messages, tokenizer, add_generation_prompt=True)
    if lost := [message["role"] for message in messages if message["content"].strip() not in prompt]:
        raise UserError(f"the teacher's chat template leaves out what the {lost[0]} says: {_WAY_OUT}")
    if prompt.rstrip().endswith(_OPEN):
        raise UserError(f"the teacher's chat template makes the model think before each answer ({_OPEN}): {_WAY_OUT}")
    return prompt


@lru_cache(maxsize=1)
def _special(tokenizer, _: int) -> list[str]:
    """The tokens that a text cannot spell without being read as them; the second argument is how many tokens it has."""
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return sorted(added | set(tokenizer.all_special_tokens))


def end_of_turn(tokenizer, stops: Collection[int]) -> int:
    """That of `stops` which the chat template writes after an answer; else the tokenizer's eos token, or the first.

    Raises:
        UserError: as `render`.
    """
    said = "the answer"
    chat = [{"role": "user", "content": "the question"}, {"role": "assistant", "content": said}]
    after = _written(chat, tokenizer, add_generation_prompt=False).rpartition(said)[2]
    found = [token for token in tokenizer(after, add_special_tokens=False)["input_ids"] if token in stops]
    return next(iter([*found, *{tokenizer.eos_token_id} & set(stops), *sorted(stops)]))


def _written(messages: list[dict], tokenizer, *, add_generation_prompt: bool) -> str:
    try:
        with patch.object(chat_template_utils, "datetime", _OneDay):
            return tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=add_generation_prompt, **_ASKED
            )
    except Exception as error:  # whatever a template raises; it is a program of the model's
        raise UserError(f"the teacher's chat template fails ({one_line(error)[:300]}): {_WAY_OUT}") from None


def write_chat_prompts(
    folder: Path, summary: dict, tokenizer: PreTrainedTokenizerBase, settings: BenchmarksParams
) -> None:
    """Write `NAME.chat.jsonl` of each benchmark that the paper's protocol asks and that `gather` left in `folder`.

    Without a chat template none is written; `summary` (of `gather`) then says so under "no_chat".
    """
    for name in CHAT:
        if not summary[name]["available"]:
            continue
        if not tokenizer.chat_template:
            summary[name]["no_chat"] = NO_TEMPLATE
            print(f"{name}: no chat prompts; {NO_TEMPLATE}", file=sys.stderr)
            continue
        rows = read_benchmark(folder, name, "test")
        pool = rows if name == "squad_v2" else read_benchmark(folder, name, "train")
        prompts = chat_rows(name, rows[: settings.chat_items], pool, tokenizer, settings.seed, settings.shots)
        write_jsonl(folder / f"{name}.chat.jsonl", prompts)


def chat_rows(name: str, rows: list[dict], pool: list[dict], tokenizer, seed: int, shots: int = 5) -> list[dict]:
    """Prompts of a benchmark, one for each row: {id, prompt, labels, answer}, or {id, prompt, answers} for SQuAD.

    `answer` is the label. Examples come from the pool: rows of another split, or for SQuAD (one example, or none
    where `shots` is 0) all rows of the same. Tokenise a prompt without adding special tokens.

    Raises:
        UserError: as `render`, or where the tokenizer changes a label, as one that has small letters alone does.
    """
    if name.startswith("squad"):
        by_paragraph = paragraphs(pool) if shots else {}
        return [_squad_row(row, squad_example(row, by_paragraph, seed), tokenizer) for row in rows]
    labels = LABELS.get(name, LETTERS)
    for label in labels[: max((len(row["choices"]) for row in rows), default=0)]:
        if (read := letter(tokenizer.decode(tokenizer(label, add_special_tokens=False)["input_ids"]))) != label:
            raise UserError(
                f"the teacher's tokenizer makes {read!r} of the label {label!r}, so that no answer to {name} would be "
                "right: take another teacher (sources.teacher)"
            )
    return [_choice_row(row, pool, labels, tokenizer, seed, shots) for row in rows]


def letter(text: str) -> str:
    """The label in the text of the one token that a model wrote: right if it equals the row's answer exactly."""
    return text.strip()


def _choice_row(row: dict, pool: list[dict], labels: str, tokenizer, seed: int, number: int) -> dict:
    prompt = render(choice_messages(row, shots(row, pool, number, seed), labels), tokenizer)
    own = list(labels[: len(row["choices"])])
    return {"id": row["id"], "prompt": prompt, "labels": own, "answer": own[row["answer"]]}


def _squad_row(row: dict, example: dict | None, tokenizer) -> dict:
    return {"id": row["id"], "prompt": render(squad_messages(row, example), tokenizer), "answers": row["answers"]}


def _choice_question(row: dict, labels: str) -> str:
    choices = (f"{label}. {choice.strip()}" for label, choice in zip(labels, row["choices"]))
    return "\n".join([f"Question: {row['question'].strip()}", *choices, "Answer:"])


def _squad_question(row: dict) -> str:
    return f"Question: {row['question'].strip()}\nAnswer:"


def _conversation(instruction: str, turns: list[tuple[str, str]], last: str) -> list[dict]:
    messages = []
    for question, answer in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    messages.append({"role": "user", "content": last})
    messages[0]["content"] = f"{instruction}\n\n{messages[0]['content']}"
    return messages
