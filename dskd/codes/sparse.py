"""Codes that keep the probabilities of a few tokens; all others share what is left in fixed proportions.

`top_tokens` keeps the most probable ones. `sampled_tokens` draws tokens from the teacher's distribution, so that the
shares of the draws have it as their mean ("Sparse logit sampling", Anshumann et al., ACL 2025).
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dskd.codes.divergence import Teacher
from dskd.codes.packing import bits_for, pack
from dskd.infra.arithmetic import fused
from dskd.infra.randomness import uniform
from dskd.model import SCORE_CHUNK
from dskd.model.logits import Head, float_logits

_STEPS = 16  # of a log-probability to a nat, so that a byte reaches down to -15.9
_LEAST = 1e-4  # what is left for all others, at least: rounded probabilities may sum to more than 1


class Sparse(NamedTuple):
    """Distributions at n positions: those of k tokens each, and log q(v) = log_rest + log u(v) for all others."""

    tokens: Tensor  # (n, k) int64
    log_q: Tensor  # (n, k) float32
    counted: Tensor  # (n, k) bool, whether there is such a token: positions may have fewer than k
    log_rest: Tensor  # (n,) float32


def top_tokens(teacher: Teacher, k: int, log_u: Tensor) -> tuple[Sparse, int]:
    """The k most probable tokens of each position, each with a byte for its log-probability; and the bytes of all.

    Args:
        log_u: (V,) float32, the proportions of all others.
    """
    tokens = teacher.tokens[:, :k]
    levels = (-teacher.log_p[:, :k] * _STEPS).round().clamp(0, 255).long()
    stored = pack(tokens.flatten(), bits_for(len(log_u))).nbytes + pack(levels.flatten(), 8).nbytes
    log_q = -levels / _STEPS
    total = log_q.exp().sum(dim=1, keepdim=True)
    rest = (1 - total).clamp_min(_LEAST)
    log_q = log_q - (total + rest).log()
    log_rest = (rest / (total + rest)).squeeze(1).log() - (1 - log_u.exp()[tokens].sum(dim=1)).log()
    return Sparse(tokens, log_q, torch.ones_like(tokens, dtype=torch.bool), log_rest), stored


@torch.inference_mode()
def sampled_tokens(states: Tensor, head: Head, draws: int, seed: int) -> Tensor:
    """Tokens drawn from the distribution of each state (n, d), with replacement: (n, draws) int64.

    Args:
        head: without a logit map, and widened (`model.logits.widened`).
    """
    buffer, found = torch.empty(SCORE_CHUNK, len(head.weight)), []
    numbers = torch.from_numpy(uniform(seed, np.arange(len(states))[:, None], np.arange(draws))).float()
    for chunk, places in zip(states.split(SCORE_CHUNK), numbers.split(SCORE_CHUNK)):
        sums = fused(_cumulative)(float_logits(chunk, head, buffer[: len(chunk)]))
        drawn = torch.searchsorted(sums, places * sums[:, -1:], right=True)
        found.append(drawn.clamp_max(len(head.weight) - 1))
    return torch.cat(found)


def _cumulative(logits: Tensor) -> Tensor:
    return (logits - logits.amax(dim=1, keepdim=True)).exp().cumsum(dim=1)


def draw_shares(drawn: Tensor, weight: float, log_u: Tensor) -> tuple[Sparse, int]:
    """The distributions that draws (n, m) tell of, and the bytes of all positions: of each the number of different
    tokens, and of each of these its number and how often it was drawn.

    Args:
        weight: how many draws the proportions `log_u` (V,) count for beside the m real ones; with 0 the shares are
            unbiased, and tokens that were not drawn have no probability.
    """
    number, m = drawn.shape
    drawn = drawn.sort(dim=1).values
    first = torch.ones_like(drawn, dtype=torch.bool)
    first[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    slot = first.cumsum(dim=1) - 1
    counts = torch.zeros(number, m).scatter_add_(1, slot, torch.ones(number, m))
    tokens = torch.zeros_like(drawn).scatter_(1, slot, drawn)
    counted = counts > 0
    log_q = ((counts + weight * log_u.exp()[tokens]) / (m + weight)).log()
    log_rest = torch.full((number,), weight / (m + weight)).log()
    columns = (
        (counted.sum(dim=1) - 1, bits_for(m)),
        (tokens[counted], bits_for(len(log_u))),
        (counts[counted].long() - 1, bits_for(m)),
    )
    return Sparse(tokens, log_q, counted, log_rest), sum(pack(*column).nbytes for column in columns)


@torch.inference_mode()
def sparse_kl(kept: Sparse, states: Tensor, teacher: Teacher, head: Head, log_u: Tensor) -> Tensor:
    """KL(teacher ‖ kept) at each position, (n,) float32 nats.

    Args:
        states: (n, d), the teacher's, and `teacher` what `teacher_of` made of them with these proportions `log_u`.
    """
    found = []
    for here in torch.arange(len(states)).split(SCORE_CHUNK):
        tokens, counted = kept.tokens[here], kept.counted[here]
        logits = (head.wide[tokens] @ states[here].float()[..., None]).squeeze(2)
        p = (logits - teacher.normaliser[here, None]).exp() * counted
        of_kept = (p * kept.log_q[here].masked_fill(~counted, 0)).sum(dim=1)
        of_rest = teacher.mean_log_u[here] - (p * log_u[tokens]).sum(dim=1)
        of_rest += (1 - p.sum(dim=1)).clamp_min(0) * kept.log_rest[here]
        found.append(-teacher.entropy[here] - of_kept - of_rest)
    return torch.cat(found)
