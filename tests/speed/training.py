"""Training from cached states beside the published step, and what the sense loss and the reading cost.

Needs the artifacts of `harvest`, `senses` and `targets` for the objective dskd (`dvc repro targets@dskd`).
"""

import tempfile
import time
from pathlib import Path

import torch
from speed.measure import line, name_of, seconds, side_by_side, speed
from speed.published import published_step
from torch import Tensor
from transformers import PreTrainedModel

from dskd.corpus.store import load_corpus
from dskd.infra import artifacts
from dskd.lexicon.store import antonyms, load_lexicon, synonyms
from dskd.model.cut import split_depth
from dskd.model.logits import head_of
from dskd.params import Params, StudentParams
from dskd.pipeline import stages
from dskd.pipeline.inputs import cached_text, kept_dtype, load_teacher
from dskd.senses.store import load_senses
from dskd.states.harvest import harvest, likely_tokens
from dskd.states.store import States, Text
from dskd.students import train as train_module
from dskd.students.batches import Reader, load_batch
from dskd.students.sense_loss import sense_loss
from dskd.students.store import Student, assemble_student, new_student
from dskd.targets.choose import candidates, sample_positions, trimmed_lexicon
from dskd.targets.store import load_targets

OBJECTIVE = "dskd"
SAMPLED = 4096  # tokens that a step draws


class Setting:
    """What all ways of training start from."""

    def __init__(self, student: StudentParams | None = None):
        self.params = stages.begin()
        if student:  # the states stand in for those at its split, which are as large
            self.params = self.params.model_copy(update={"student": student})
        self.teacher, _ = load_teacher(self.params)
        self.head, self.text = head_of(self.teacher), cached_text("train")
        self.targets = load_targets(Path(artifacts.TARGETS) / OBJECTIVE)
        self.weights = self.params.objectives[OBJECTIVE]

    def fresh(self) -> Student:
        return new_student(self.teacher, self.teacher, self.params.student)

    @property
    def dtype(self) -> torch.dtype:
        return self.head.weight.dtype

    def train(self, steps: int, sampled_vocabulary: int | None = None) -> None:
        """As the stage does, so many steps of an epoch, from the start."""
        share = steps * self.params.distill.batch_size / len(self.text.labels)
        changes = {"epochs": share, "checkpoint_steps": steps + 1, "sampled_vocabulary": sampled_vocabulary}
        settings = self.params.distill.model_copy(update=changes)
        with tempfile.TemporaryDirectory() as folder:
            recipe = train_module.Recipe(self.weights, settings, 0)
            train_module.train(self.fresh(), self.head, self.text, self.targets, recipe, Path(folder))


def bench_training(steps: int = 16, examples: int = 6) -> list[dict]:
    s = Setting()
    tokens = s.text.states.length
    s.train(1)  # compiles
    batch = s.params.distill.batch_size * tokens
    shape = f"blocks of {tokens} tokens, {s.params.student.trained} trained layers, {name_of(s.dtype)}"
    published, ours = _published(s, examples), seconds(lambda: s.train(steps)) / (steps * batch)
    blocks = load_corpus(Path(artifacts.CORPUS))[0]["train"][:16]
    teaching = seconds(lambda: run_harvest(s.teacher, s.params, blocks)) / (len(blocks) * tokens)
    twice, ours_twice = 2 * published, teaching + 2 * ours
    return [
        speed("training against the published step", shape, 1, (published, ours), 4.0),
        speed("two epochs, harvest counted, against the published step", shape, 1, (twice, ours_twice), 2.5),
        _input_share(s, steps, shape),
        _sense_share(s, ours * batch, shape),
    ]


def bench_sampled(steps: int = 16, examples: int = 6) -> list[dict]:
    """Training with a sampled vocabulary beside the published step, and beside the whole vocabulary."""
    paper = StudentParams(cut="first", layers=16, trained=2)
    return [*_sampled(Setting(), steps, examples, 8.0), *_sampled(Setting(paper), steps, examples, 10.0)]


def _sampled(s: Setting, steps: int, examples: int, least: float) -> list[dict]:
    s.text = _with_top_tokens(s)
    tokens = steps * s.params.distill.batch_size * s.text.states.length
    for drawn in (None, SAMPLED):
        s.train(1, drawn)  # compiles
    pair = side_by_side(lambda: s.train(steps), lambda: s.train(steps, SAMPLED), rounds=3)
    whole, sampled = (taken / tokens for taken in pair)
    published = _published(s, examples)
    trained = f"{s.params.student.trained} trained layers of {s.params.student.layers}"
    shape = f"{SAMPLED} drawn tokens, {trained}, {name_of(s.dtype)}"
    return [
        speed("sampled vocabulary against the published step", shape, 1, (published, sampled), least),
        speed("sampled vocabulary against the whole one", shape, 1, (whole, sampled), 1.9),
    ]


def _with_top_tokens(s: Setting, top: int = 16) -> Text:
    """The blocks of the first shard, with the tokens that the teacher finds most probable."""
    states, blocks = s.text.states, len(s.text.states.predicted[0])
    tokens = likely_tokens(states.hidden_states[0], s.head.weight, top)[1]
    first = States(*(shards[:1] for shards in states[:3]), [tokens])
    return Text(first, s.text.labels[:blocks], s.text.ids[:blocks])


def _published(s: Setting, examples: int) -> float:
    """Seconds a token of the published step, without the first example."""
    ids = load_corpus(Path(artifacts.CORPUS))[0]["train"][: examples + 1].long()
    table = load_lexicon(Path(artifacts.LEXICON))
    relations = synonyms(table), antonyms(table)
    vectors, by_token = candidates(trimmed_lexicon(load_senses(artifacts.SENSES), *relations, s.params.targets))
    student = assemble_student(s.teacher, s.fresh().top, s.params.student)
    layers = student.base_model.layers[split_depth(s.params.student) :]
    optimizer = torch.optim.AdamW(layers.parameters(), lr=s.params.distill.learning_rate, weight_decay=1e-3)
    related = {token for token, c in by_token.items() if len(c.synonyms) or len(c.antonyms)}
    with_relations, own_only = sample_positions(s.text.labels[: len(ids)], related, set(by_token), s.params.targets)
    given = vectors, by_token, s.weights, s.params.distill.temperature, s.params.targets.neighbours
    for i, example in enumerate(ids):
        if i == 1:
            start = time.perf_counter()
        published_step(s.teacher, student, optimizer, example, with_relations[i], own_only[i], *given)
    return (time.perf_counter() - start) / (examples * s.text.states.length)


def run_harvest(teacher: PreTrainedModel, params: Params, ids: Tensor) -> None:
    """The stage's work on these blocks; what it writes is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        given = teacher, {"train": ids}, params.student, params.harvest, Path(folder) / "states", "bench"
        harvest(*given, kept_dtype(params))


def _input_share(s: Setting, steps: int, shape: str) -> dict:
    """The share of its time that training waits for the next batch."""
    waited, read = [], train_module.prefetched

    def timed(*arguments):
        batches = read(*arguments)
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            waited.append(time.perf_counter() - start)
            if batch is None:
                return
            yield batch

    train_module.prefetched = timed
    try:
        whole = seconds(lambda: s.train(steps))
    finally:
        train_module.prefetched = read
    share = sum(waited) / whole
    return line("share of training spent waiting for states", shape, round(share, 5), "of time", 0.01, share <= 0.01)


def _sense_share(s: Setting, step_seconds: float, shape: str) -> dict:
    """What the sense loss adds to a step, its gradient counted."""
    blocks = torch.arange(s.params.distill.batch_size)
    batch = load_batch(Reader(s.text, s.targets, s.dtype), blocks)
    student = batch.hidden_states.flatten(0, 1).clone().requires_grad_()

    def sense() -> None:
        pull, push = batch.pull.flatten(0, 1), batch.push.flatten(0, 1)
        chosen = (pull >= 0).any(dim=1).nonzero().squeeze(1)
        given = student[chosen], s.targets.vectors, pull[chosen], push[chosen], s.weights.margin, len(chosen)
        sense_loss(*given).backward()

    share = side_by_side(sense, sense, rounds=20)[0] / step_seconds
    return line("what the sense loss adds to a training step", shape, round(share, 5), "of time", 0.01, share <= 0.01)
