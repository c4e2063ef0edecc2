"""The tokens of the vocabulary that a step computes with, and what each of them stands for.

The head has V columns, and a softmax over them all is two thirds of a step. A step can do with some of them (sampled
softmax: Jean et al. 2015, section 3): the labels and the teacher's most probable tokens, which hold nearly all of the
mass, and a random sample of the others, each of which counts as many times as it stands for tokens. Both partition sums
are then unbiased estimates (docs/method.md, section 4).
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dskd.infra.randomness import hash_integers, text_key
from dskd.model.logits import Head
from dskd.students.output_loss import IGNORE, Heads


class Sampling(NamedTuple):
    """How the tokens of each step are drawn."""

    drawn: int  # tokens beside the certain ones
    vocabulary: int  # V
    seed: int


class Vocabulary(NamedTuple):
    """The tokens of a step."""

    tokens: Tensor  # (c,) int64, ascending
    log_weights: Tensor  # (c,) float32, log of how many tokens each stands for: 0 for those that are certain


def draw_vocabulary(sampling: Sampling, certain: Tensor, step: int) -> Vocabulary:
    """All tokens in `certain`, and as many others as `sampling` asks for, or all where there are fewer.

    Every other token is drawn with the same probability, as (seed, step) decide, without replacement.

    Args:
        certain: int64 tokens in any order, repeated or not; `IGNORE` is none.
    """
    there = torch.zeros(sampling.vocabulary, dtype=torch.bool)
    there[certain[certain != IGNORE]] = True
    others = (~there).nonzero().squeeze(1)
    drawn = min(sampling.drawn, len(others))
    log_weights = torch.zeros(sampling.vocabulary)
    if drawn:
        hashes = hash_integers(text_key("students.vocabulary"), sampling.seed, step, others.numpy())
        chosen = others[torch.from_numpy(np.argpartition(hashes, drawn - 1)[:drawn])]
        there[chosen] = True
        log_weights[chosen] = math.log(len(others) / drawn)
    tokens = there.nonzero().squeeze(1)
    return Vocabulary(tokens, log_weights[tokens])


def narrowed(heads: Heads, labels: Tensor, vocabulary: Vocabulary) -> tuple[Heads, Tensor]:
    """Heads with the columns of these tokens alone, and labels (n,) as numbers of such columns.

    A head that student and teacher share stays shared.
    """
    tokens = vocabulary.tokens
    student = _columns(heads.student, tokens)
    teacher = student if heads.teacher.weight is heads.student.weight else _columns(heads.teacher, tokens)
    places = torch.searchsorted(tokens, labels)
    return Heads(student, teacher, vocabulary.log_weights), torch.where(labels == IGNORE, IGNORE, places)


def _columns(head: Head, tokens: Tensor) -> Head:
    return Head(head.weight[tokens], head.logit_map)
