"""The benchmarks, run by lm-evaluation-harness: it makes the prompts and the metrics from the task files in
`dskd/benchmarks/harness`; the answers of all models come from `model.inference`, which runs what they share once.

The same task files work with the harness alone, from the project's root and on any exported student:

    lm_eval run --model hf --model_args pretrained=artifacts/students/kd-0 --include_path dskd/benchmarks/harness \\
        --tasks arc_easy_cloze
"""

import logging
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import datasets
import numpy as np
from lm_eval import evaluator
from lm_eval.api.model import TemplateLM
from lm_eval.tasks import TaskManager

from dskd.benchmarks import harness
from dskd.model.inference import Choices, Models, greedy, log_likelihoods
from dskd.model.tokenizer import before_text

TASKS = Path(harness.__file__).parent


class SharedTrunk(TemplateLM):
    """All models at once, as the harness sees one: `name` says whose answers it gets.

    The first request of a kind is answered for every model; the others' answers wait for their turn.
    """

    def __init__(self, models: Models):
        super().__init__()
        self.models, self.tokenizer = models, models.tokenizer
        self.name = models.names[0]
        self.lengths: dict[str, int] = {}  # tokens of each prompt, with its longest continuation
        self._answers: dict[tuple, dict[str, list]] = {}

    @property
    def eot_token_id(self) -> int:
        return self.tokenizer.eos_token_id

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs) -> list[int]:
        # Without what the tokenizer puts after a text: a continuation follows.
        added = before_text(self.tokenizer) if add_special_tokens is not False else []
        return [*added, *self.tokenizer.encode(string, add_special_tokens=False)]

    def _loglikelihood_tokens(self, requests, **kwargs) -> list[tuple[float, bool]]:
        key = tuple(text for text, _, _ in requests)
        if key not in self._answers:
            items = []
            for (prompt, context), choices in groupby(requests, key=lambda r: (r[0][0], r[1])):
                continuations = [continuation for _, _, continuation in choices]
                longest = max(map(len, continuations))
                self.lengths[prompt] = len(context) + longest
                items.append(Choices(context[max(0, len(context) + longest - self.models.context) :], continuations))
            found = log_likelihoods(self.models, items)
            self._answers[key] = {name: [s for item in scores for s in item] for name, scores in found.items()}
        return self._answers[key][self.name]

    def generate_until(self, requests, disable_tqdm: bool = False) -> list[str]:
        key = tuple((request.args[0], request.args[1]["max_gen_toks"]) for request in requests)
        if key not in self._answers:
            self._answers[key] = {name: [""] * len(requests) for name in self.models.names}
            for tokens in sorted({tokens for _, tokens in key}):
                which = [i for i, (_, number) in enumerate(key) if number == tokens]
                prompts = [self.tok_encode(key[i][0], add_special_tokens=False) for i in which]  # they bring theirs
                self.lengths |= {key[i][0]: len(prompt) + tokens for i, prompt in zip(which, prompts)}
                prompts = [prompt[max(0, len(prompt) + tokens - self.models.context) :] for prompt in prompts]
                found = greedy(self.models, prompts, tokens, self.models.stops)
                for name, answers in found.items():
                    for i, ids in zip(which, answers):
                        self._answers[key][name][i] = self.tokenizer.decode(ids, skip_special_tokens=True)
        return self._answers[key][self.name]

    def loglikelihood_rolling(self, requests, disable_tqdm: bool = False):
        raise NotImplementedError("no task of this project asks for it")


def run_tasks(models: Models, protocol: str, names: list[str], items: int) -> tuple[list[dict], dict[str, dict]]:
    """Score every model on the first `items` items of each benchmark.

    Args:
        protocol: "cloze" or "chat".
        names: of `catalogue.CLOZE` or `catalogue.CHAT`; their files must lie in artifacts/benchmarks.

    Returns:
        Rows, one a model and item, and for each benchmark how many "items" were scored (fewer than "asked", where
        it has no more) and how many prompts were "too_long" for the models' context (their beginning was cut off).
    """
    tasks = load_tasks([f"{name}_{protocol}" for name in names])
    model, rows, counts = SharedTrunk(models), [], {}
    for model.name in models.names:
        samples = evaluator.evaluate(model, tasks, limit=items, bootstrap_iters=0, log_samples=True)["samples"]
        for name in names:
            found = sorted(samples[f"{name}_{protocol}"], key=lambda sample: sample["doc_id"])
            rows += [{"model": model.name, "protocol": protocol, "benchmark": name, **_row(s)} for s in found]
            lengths = [model.lengths[sample["arguments"][0][0]] for sample in found]
            counts[name] = {
                "items": len(found),
                "asked": items,
                "too_long": sum(length > models.context for length in lengths),
            }
    return rows, counts


def load_tasks(names: list[str]) -> Mapping:
    """The harness's task objects for task files, by name."""
    for name in ("lm_eval", "lm-eval", "evaluate"):
        logging.getLogger(name).setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    return TaskManager(include_path=str(TASKS), include_defaults=False).load(names)


def _row(sample: dict) -> dict:
    """What is kept of an item: its id, what was right, what was chosen or written, and the scores."""
    doc, answers = sample["doc"], sample["filtered_resps"]
    kept = {metric: sample[metric] for metric in sample["metrics"]}
    if isinstance(answers[0], str):
        return {"id": doc["id"], "written": answers[0], **kept}
    values = np.array([value for value, _ in answers])
    weights = np.exp(values - values.max())
    return {
        "id": doc["id"],
        "answer": sample["target"],
        "chosen": int(values.argmax()),
        **kept,
        "probability": round(float(weights[sample["target"]] / weights.sum()), 5),
    }
