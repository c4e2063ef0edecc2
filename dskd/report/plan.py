"""What a run will take, said before it: tokens, floating point operations, memory, disk and hours of each stage.

All follows from the teacher's shape and the parameters; nothing is run, and torch is not imported. Hours come from a
speed: that of the run that `dvc.lock` and `reports/provenance.json` tell of, or one that the user gives.
"""

import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

from dskd.errors import UserError
from dskd.infra.artifacts import PROVENANCE, TEACHER, read_json, read_lock, reading
from dskd.infra.profiles import load_profile, overlay
from dskd.model import LOSS_CHUNK, SCORE_CHUNK
from dskd.params import Params, load_params, validated
from dskd.report.decoder_shape import (
    KNOWN,
    Shape,
    forward_flops,
    head_flops,
    parameters,
    read_shape,
    sense_count,
    state_bytes,
    stored_numbers,
    training_flops,
)

LIBRARIES = 605_000_000  # bytes of interpreter and libraries: the committed run's peak where it did nothing, targets-kd
SPANS = 1.0  # senses of spans to one of tokens, in the committed run's targets; the lexicon decides it
# Tokens read for an item, about the committed run's mean: a cloze, a chat prompt, a choice between words, a pair
# of sentences (WiC, each twice) or of words (AntSynNET, SimLex: at most). Beside it how many sets, tasks or test pairs.
CLOZE, CHAT, CHOICE, SENTENCES, WORDS = (50, 7), (480, 5), (19, 3), (37, 638), (8, 786 + 999)
# Training rows, and tokens of a prompt with its answer: the default teacher's, means over 400 rows (SQuAD: of its dev).
PROMPTS = {
    "arc_challenge": (1119, 499),
    "arc_easy": (2251, 445),
    "commonsense_qa": (9741, 372),
    "piqa": (16113, 501),
    "mmlu": (285, 610),
    "openbookqa": (4957, 355),
    "squad_v2": (130319, 294),
}
PARALLEL = ("prompts", "harvest", "distill", "evaluate")  # stages whose blocks or items can be shared out among devices


def harvest_memory(shape: Shape, params: Params, held: int) -> int:
    """The teacher, and a shard thrice (parts, whole, what is written) or once beside a pass over a batch."""
    length, settings = params.corpus.block_length, params.harvest
    shard = settings.shard_blocks * length * state_bytes(shape, kept_bytes(params))
    passing = settings.batch_size * length * stored_numbers(shape) + SCORE_CHUNK * shape.vocab_size
    return parameters(shape, shape.num_hidden_layers) * held + max(3 * shard, shard + passing * held)


def distill_memory(shape: Shape, params: Params, held: int, kl: bool) -> int:
    """The teacher, and the larger of two moments: training (weights, gradient and AdamW's two averages in float32, what
    the layers keep for the backward pass, the chunk of logits of one model or two) and export (the trained layers, and
    a copy of the student, which is rounded to what is kept where it was not held so)."""
    student, batch, kept = params.student, params.distill.batch_size * params.corpus.block_length, kept_bytes(params)
    trained = parameters(shape, student.trained) - parameters(shape, 0)
    stored = student.trained * batch * stored_numbers(shape) + (2 if kl else 1) * LOSS_CHUNK * shape.vocab_size
    written = parameters(shape, student.layers) * (held if held == kept else held + kept)
    teacher = parameters(shape, shape.num_hidden_layers) * held
    return teacher + max(4 * 4 * trained + stored * held, trained * held + written)


def kept_bytes(params: Params) -> int:
    """Of a number on disk."""
    return 4 if params.runtime.dtype == "float32" else 2


class Stage(NamedTuple):
    """Of one stage; None where it cannot be told."""

    name: str
    tokens: int
    flops: int
    memory: int | None  # bytes that its process holds, without `LIBRARIES`
    mapped: int | None  # bytes of files that it maps: the system keeps what fits, so a measured peak may count them
    disk: int | None  # bytes that it leaves


def run_stages(params: Params, shape: Shape, held: int) -> list[Stage]:
    """The stages that grow with tokens or teacher, of a run from nothing, in order.

    Args:
        held: bytes of a number in arithmetic, 4 or 2 (decoder.arithmetic_dtype).

    Raises:
        UserError: the student is deeper than the teacher, or not cut from it.
    """
    if params.student.source is not None:
        raise UserError("student.source: no plan can be made for a student that is not cut from the teacher")
    wanted, layers = params.student.layers, shape.num_hidden_layers
    if wanted > layers:
        raise UserError(f"student.layers = {wanted}, but the teacher has {layers}: take at most {layers}")
    found = [_prompts(params, shape)] if params.prompts.sets else []
    found += [_harvest(params, shape, held), _senses(params, shape)]
    found += [_targets(params, shape, name) for name in params.distill.objectives]
    for name in params.distill.objectives:
        found += [_distill(params, shape, held, name, seed) for seed in params.distill.seeds]
    return [*found, _evaluate(params, shape)]


def prompt_tokens(params: Params) -> tuple[int, int]:
    """Number and tokens of all training prompts, answers counted."""
    asked = {name: max(1, round(chosen.share * PROMPTS[name][0])) for name, chosen in params.prompts.sets.items()}
    return sum(asked.values()), sum(number * PROMPTS[name][1] for name, number in asked.items())


def train_tokens(params: Params) -> int:
    """Of plain text, and of blocks of prompts: the last prompt of each, cut in the middle on average, comes again."""
    number, tokens = prompt_tokens(params)
    length = params.corpus.block_length
    blocks = math.ceil(number / max(1, length * number / tokens - 0.5)) if number else 0
    return params.corpus.train_tokens + blocks * length


def _prompts(params: Params, shape: Shape) -> Stage:
    """The teacher's forward pass over the prompts; its memory does not follow from shapes, as that of evaluate."""
    number, tokens = prompt_tokens(params)
    flops = forward_flops(shape, shape.num_hidden_layers, tokens, tokens // number) + head_flops(shape, number)
    return Stage("prompts", tokens, flops, None, None, 4 * tokens)


def _harvest(params: Params, shape: Shape, held: int) -> Stage:
    tokens = train_tokens(params) + params.corpus.heldout_tokens
    flops = forward_flops(shape, shape.num_hidden_layers, tokens, params.corpus.block_length)
    disk = tokens * state_bytes(shape, kept_bytes(params))
    return Stage("harvest", tokens, flops + head_flops(shape, tokens), harvest_memory(shape, params, held), 0, disk)


def _senses(params: Params, shape: Shape) -> Stage:
    """k-means over at most the reservoir; seeding and the search for contexts count as an iteration each. All centroids
    are there three times in float32: as found, as one, in order."""
    settings, tokens, d, kept = params.senses, train_tokens(params), shape.hidden_size, kept_bytes(params)
    states = min(tokens, shape.vocab_size * settings.reservoir)
    flops = 2 * d * settings.k * states * (settings.iterations + 2)
    senses = sense_count(shape, tokens, settings.k)
    disk = senses * (d * kept + 4 + 8 * settings.contexts)
    return Stage("senses", tokens, flops, 3 * 4 * d * senses, tokens * d * kept, disk)


def _targets(params: Params, shape: Shape, objective: str) -> Stage:
    """Distances of at most every state to all senses of its token and of as many related words as there may be. The
    vectors are there twice, in pieces and as one."""
    name, settings, tokens = f"targets-{objective}", params.targets, train_tokens(params)
    if params.objectives[objective].targets == "none":
        return Stage(name, 0, 0, 0, 0, 0)
    numbers = shape.hidden_size * kept_bytes(params)
    vectors = round(sense_count(shape, tokens, params.senses.k) * (1 + SPANS)) * numbers
    disk = vectors + 2 * 4 * settings.neighbours * tokens
    words = 1 + settings.max_synonyms + settings.max_antonyms
    flops = 2 * shape.hidden_size * params.senses.k * words * tokens
    return Stage(name, tokens, flops, vectors + disk, tokens * numbers, disk)


def _distill(params: Params, shape: Shape, held: int, objective: str, seed: int) -> Stage:
    """Training, and the scores on the held-out text: the trained layers and two products with the head. States and
    targets are read from maps."""
    layers, length, kept = params.student.trained, params.corpus.block_length, kept_bytes(params)
    train, heldout, weights = train_tokens(params), params.corpus.heldout_tokens, params.objectives[objective]
    tokens = round(params.distill.epochs * train)
    flops = training_flops(shape, layers, tokens, length, kl=weights.kl > 0)
    flops += forward_flops(shape, layers, heldout, length) + 2 * head_flops(shape, heldout)
    mapped = (min(tokens, train) + heldout) * 2 * shape.hidden_size * kept
    mapped += _targets(params, shape, objective).disk if weights.sense else 0
    memory, disk = distill_memory(shape, params, held, weights.kl > 0), parameters(shape, params.student.layers) * kept
    return Stage(f"distill-{objective}-{seed}", tokens, flops, memory, mapped, disk)


def _evaluate(params: Params, shape: Shape) -> Stage:
    """Prompts through the shared layers once and through the top of teacher, cut and each student; the held-out text
    for the first two, students being scored when they are trained. Its memory does not follow from shapes."""
    student, given = params.student, params.evaluate
    numbers = given.cloze_items, params.benchmarks.chat_items, given.items
    prompts = sum(tokens * sets * number for (tokens, sets), number in zip((CLOZE, CHAT, CHOICE), numbers))
    prompts += SENTENCES[0] * (given.wic_train + SENTENCES[1]) + WORDS[0] * (given.antonym_train + WORDS[1])
    students = len(params.distill.objectives) * len(params.distill.seeds)
    layers = shape.num_hidden_layers + (1 + students) * student.trained
    heldout, length = params.corpus.heldout_tokens, params.corpus.block_length
    flops = forward_flops(shape, layers, prompts, length) + forward_flops(shape, student.trained, heldout, length)
    return Stage("evaluate", prompts + heldout, flops + 3 * head_flops(shape, heldout), None, None, None)


class Speed(NamedTuple):
    """What a device does: floating point operations a second by kind of stage, and what starting a stage takes."""

    flops: dict[str, float]
    start: float  # seconds
    held: int  # bytes of a number in arithmetic
    source: str


def measured_speed(root: Path, params: Params) -> Speed:
    """That of the run of which `dvc.lock` has the parameters and `reports/provenance.json` the seconds.

    A kind's speed is its operations over its seconds, without those of the quickest stage, which has nothing to do.

    Raises:
        UserError: no such run, or nothing of it is measured.
    """
    lock, record = root / "dvc.lock", root / PROVENANCE
    if not (lock.is_file() and record.is_file()):
        raise UserError(f"no {lock.name} or no {PROVENANCE}, so nothing is measured: run `dvc repro`, or say --flops")
    values, changes = params.model_dump(exclude={"prompts"}), {}  # a run from before there were any has none
    with reading(lock):
        for stage in read_lock(lock)["stages"].values():
            for key, value in stage.get("params", {}).get("params.yaml", {}).items():
                *above, last = key.split(".")
                node = changes
                for part in above:
                    node = node.setdefault(part, {})
                node[last] = value
        overlay(values, {group: value for group, value in changes.items() if group not in ("sources", "lexicon")})
    with reading(record):
        measured = read_json(record)
        machine, seconds = measured["machine"], {name: cost["seconds"] for name, cost in measured["stages"].items()}
        held = 2 if values["runtime"]["dtype"] == "bfloat16" and machine.get("fast_bfloat16", True) else 4
        start, done, took = min(seconds.values()), Counter(), Counter()
        for stage in run_stages(validated(values, lock), default_shape(root), held):
            if stage.flops and stage.name in seconds:
                done[kind(stage)] += stage.flops
                took[kind(stage)] += seconds[stage.name] - start
        source = f"{PROVENANCE} ({machine['processor']}, {machine['cores']} cores), scaled by operations"
    speeds = {name: done[name] / took[name] for name in done if took[name] > 0}
    if not speeds:
        raise UserError(f"{PROVENANCE} has no stage of the run that dvc.lock tells of: run `dvc repro`, or say --flops")
    return Speed(speeds, start, held, source)


def given_speed(flops: float, params: Params) -> Speed:
    """The same for every kind of stage, bfloat16 computed as such."""
    if not 0 < flops < math.inf:
        raise UserError(f"--flops {flops:g}: it takes a number above 0")
    kinds = ("prompts", "harvest", "senses", "targets", "distill", "evaluate")
    return Speed(dict.fromkeys(kinds, flops), 0, kept_bytes(params), f"{flops:g} operations a second and device")


def kind(stage: Stage) -> str:
    """ "distill" of "distill-kd-0"."""
    return stage.name.partition("-")[0]


def stage_seconds(stage: Stage, speed: Speed, devices: int) -> float | None:
    """None where the measured run has no stage of this kind. Blocks and items are shared out among devices."""
    if not stage.flops:
        return speed.start
    if kind(stage) not in speed.flops:
        return None
    return speed.start + stage.flops / speed.flops[kind(stage)] / (devices if kind(stage) in PARALLEL else 1)


def default_shape(root: Path) -> Shape:
    """That of the teacher that the run has fetched; before that, of SmolLM2-135M."""
    folder = root / TEACHER
    return read_shape(str(folder)) if (folder / "config.json").is_file() else KNOWN["SmolLM2-135M"]


def plan(root: Path, profile: str | None, model: str | None, devices: int, flops: float | None) -> str:
    """The table to print, and what it rests on.

    Args:
        profile: a name under profiles/; None takes params.yaml as it is.
        model: a name in `shapes.KNOWN` or a folder with a config.json; None is the teacher of the run.
        flops: floating point operations a second that one device sustains; None takes the measured run's speeds.

    Raises:
        UserError: an unknown profile or model, no such number of devices, nothing measured.
    """
    if devices < 1:
        raise UserError(f"--devices {devices}: it takes 1 or more")
    params = load_profile(profile, root) if profile else load_params(root / "params.yaml")
    shape = read_shape(model) if model else default_shape(root)
    speed = measured_speed(root, params) if flops is None else given_speed(flops, params)
    stages = run_stages(params, shape, speed.held)
    rows = [_row(stage, stage_seconds(stage, speed, devices)) for stage in stages]
    rows.append(["total", *_totals(rows)])
    headers = ["stage", "tokens", "operations", "memory (GB)", "mapped (GB)", "disk (GB)", "hours"]
    formats = ["", ",.0f", ".2e", ".2f", ".2f", ".2f", ".3f"]
    table = tabulate(rows, headers, floatfmt=formats, missingval="-", colalign=("left", *["right"] * 6))
    return f"""\
{table}

Memory is that of a stage's process, {LIBRARIES / 1e9:.2f} GB of it interpreter and libraries; mapped files are
beside it as far as memory is free. Senses and targets are estimates for English text. What shows "-" cannot be told.
Hours: {speed.source}; {devices} device(s) of that speed share blocks and items,
where this program uses one. Sources, lexicon, corpus, benchmarks and report are not counted.
"""


def _row(stage: Stage, seconds: float | None) -> list:
    memory = None if stage.memory is None else stage.memory + LIBRARIES
    sizes = [None if value is None else value / 1e9 for value in (memory, stage.mapped, stage.disk)]
    return [stage.name, float(stage.tokens), float(stage.flops), *sizes, None if seconds is None else seconds / 3600]


def _totals(rows: list[list]) -> list[float]:
    """Sums, but of memory and what is mapped the largest: stages run one after another."""
    columns = [[value for value in column if value is not None] for column in list(zip(*rows))[1:]]
    return [join(column) for join, column in zip((sum, sum, max, max, sum, sum), columns)]
