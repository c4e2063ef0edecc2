"""What each stage of a run costs, from the teacher's shape and the parameters alone: tokens, floating point operations,
memory and disk. Nothing is run, and torch is not imported."""

import math
from typing import NamedTuple

from dskd.errors import UserError
from dskd.model import LOSS_CHUNK, SCORE_CHUNK
from dskd.params import Params
from dskd.report.decoder_shape import (
    Shape,
    count_up_to,
    forward_flops,
    head_flops,
    parameters,
    state_bytes,
    stored_numbers,
    training_flops,
)
from dskd.scores import RANDOM_DRAWS

LIBRARIES = 605_000_000  # bytes of interpreter and libraries: the committed run's peak where it did nothing, targets-kd
COMPILER = 100_000_000  # bytes more once the losses are compiled (a trial: 88 MB, at its peak 120)
CONTEXT = 46  # bytes of a context, compressed, in the committed run
WHOLE = 0.7  # senses of `min_states` states or more to what the states would make, in the committed run
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


def reading_memory(shape: Shape, params: Params, held: int, of_token: int) -> int:
    """The teacher, and a shard thrice (parts, whole, what is written) or once beside a pass over a batch.

    Args:
        of_token: bytes that are kept of a token.
    """
    length, settings = params.corpus.block_length, params.harvest
    shard = settings.shard_blocks * length * of_token
    passing = settings.batch_size * length * stored_numbers(shape) + SCORE_CHUNK * shape.vocab_size
    return parameters(shape, shape.num_hidden_layers) * held + max(3 * shard, shard + passing * held)


def distill_memory(shape: Shape, params: Params, held: int, kl: bool) -> int:
    """The teacher, the compiler, and the larger of two moments: training (weights, gradient and AdamW's two averages in
    float32, what the layers keep for the backward pass, the chunk of logits of one model or two) and export (the
    trained layers, and a copy of the student, which is rounded to what is kept where it was not held so)."""
    student, batch, kept = params.student, params.distill.batch_size * params.corpus.block_length, kept_bytes(params)
    trained = parameters(shape, student.trained) - parameters(shape, 0)
    stored = student.trained * batch * stored_numbers(shape) + (2 if kl else 1) * LOSS_CHUNK * shape.vocab_size
    written = parameters(shape, student.layers) * (held if held == kept else held + kept)
    teacher = parameters(shape, shape.num_hidden_layers) * held
    return teacher + COMPILER + max(4 * 4 * trained + stored * held, trained * held + written)


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
    found += [_harvest(params, shape, held), _senses(params, shape, held)]
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


def dictionary_tokens(params: Params) -> int:
    """Of the text that the dictionary is made of."""
    return params.senses.tokens if params.senses.text == "own" else train_tokens(params)


def _harvest(params: Params, shape: Shape, held: int) -> Stage:
    """The teacher's pass over the corpus, of which all states are kept, and over the dictionary's text, of which a
    sample is kept. Of each state in the sample the process knows eight numbers: its key, position and hash, and what
    their order takes. Each process thins what it has read alone; while it reads, the disk may hold `states.SPARE`
    times the sample."""
    length, d, kept = params.corpus.block_length, shape.hidden_size, kept_bytes(params)
    corpus, text = train_tokens(params) + params.corpus.heldout_tokens, dictionary_tokens(params)
    processes = params.launch.processes
    states = processes * count_up_to(shape, text // processes, params.senses.reservoir)

    flops = forward_flops(shape, shape.num_hidden_layers, corpus + text, length) + head_flops(shape, corpus)
    flops += head_flops(shape, text) if params.senses.key == "predicted" else 0
    of_token = state_bytes(shape, kept) + 4 * params.harvest.top_tokens
    memory = max(
        reading_memory(shape, params, held, of_token), reading_memory(shape, params, held, d * kept) + 64 * states
    )
    disk = corpus * of_token + states * (d * kept + 12) + 4 * text
    return Stage("harvest", corpus + text, flops, memory, states * d * kept, disk)


def _senses(params: Params, shape: Shape, held: int) -> Stage:
    """k-means over the sample; seeding and the search for contexts count as an iteration each. All centroids are there
    three times in float32: as found, as one, in order. The teacher and `RANDOM_DRAWS` draws of as many states measure
    them."""
    settings, tokens, d, kept = params.senses, dictionary_tokens(params), shape.hidden_size, kept_bytes(params)
    states = count_up_to(shape, tokens, settings.reservoir)
    flops = 2 * d * settings.k * states * (settings.iterations + 2)
    senses = sense_count(params, shape)
    disk = senses * (d * kept + 4 + (8 + CONTEXT) * settings.contexts)
    memory = parameters(shape, shape.num_hidden_layers) * held + (3 * 4 + RANDOM_DRAWS * kept) * d * senses
    return Stage("senses", tokens, flops, memory, states * d * kept, disk)


def sense_count(params: Params, shape: Shape) -> int:
    """At most k a token, each of at least `min_states` states: a token has up to k times as many in its senses, but for
    what is left over, `WHOLE` of them."""
    least = params.senses.min_states
    found = count_up_to(shape, dictionary_tokens(params), params.senses.k * least) / least
    return round(found if least == 1 else WHOLE * found)


def _targets(params: Params, shape: Shape, objective: str) -> Stage:
    """Distances of at most every state to all senses of its token and of as many related words as there may be. The
    vectors are there twice, in pieces and as one."""
    name, settings, tokens = f"targets-{objective}", params.targets, train_tokens(params)
    if params.objectives[objective].targets == "none":
        return Stage(name, 0, 0, 0, 0, 0)
    numbers = shape.hidden_size * kept_bytes(params)
    vectors = round(sense_count(params, shape) * (1 + SPANS)) * numbers
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


def kind(stage: Stage) -> str:
    """ "distill" of "distill-kd-0"."""
    return stage.name.partition("-")[0]
