"""How far the teacher is from what a code keeps of it, KL(teacher ‖ code) in nats, and how to compare states for it.

Of a state h the head W gives the distribution p = softmax(W h), and the log of its normaliser, A(h). The KL between two
states is the Bregman divergence of A: KL(h ‖ g) = A(g) - A(h) - (g - h) · μ(h), where μ(h) = Σ p W is the gradient of
A. So the teacher's distribution is needed once, whatever is compared with it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dskd.infra.arithmetic import fused
from dskd.model import SCORE_CHUNK
from dskd.model.logits import Head, float_logits


class Teacher(NamedTuple):
    """What is kept of the teacher's distributions at n positions."""

    normaliser: Tensor  # (n,) float32, A(h)
    mean_row: Tensor  # (n, d) float32, μ(h)
    entropy: Tensor  # (n,) float32, nats
    tokens: Tensor  # (n, k) int64, the k most probable tokens
    log_p: Tensor  # (n, k) float32, their log-probabilities
    mean_log_u: Tensor  # (n,) float32, the mean of log u under p, of a fixed distribution u
    mean_p: Tensor  # (V,) float32, the mean of the distributions


@torch.inference_mode()
def teacher_of(states: Tensor, head: Head, most: int, log_u: Tensor) -> Teacher:
    """Run the head over states (n, d) once.

    Args:
        head: without a logit map, and widened (`model.logits.widened`).
        most: how many of the most probable tokens are kept.
        log_u: (V,) float32.
    """
    found, mean_p = [], torch.zeros(len(head.weight))
    buffer = torch.empty(SCORE_CHUNK, len(head.weight))
    for chunk in states.split(SCORE_CHUNK):
        logits = float_logits(chunk, head, buffer[: len(chunk)])
        normaliser = fused(_normaliser)(logits)
        kept = logits.topk(most, dim=1)
        p = logits.sub_(normaliser[:, None]).exp_()
        mean_row = p @ head.wide
        mean_p += p.sum(dim=0)
        entropy = normaliser - (chunk.float() * mean_row).sum(dim=1)
        log_p = kept.values - normaliser[:, None]
        found.append((normaliser, mean_row, entropy, kept.indices, log_p, p @ log_u))
    return Teacher(*map(torch.cat, zip(*found)), mean_p / len(states))


@torch.inference_mode()
def state_kl(states: Tensor, teacher_states: Tensor, teacher: Teacher, head: Head) -> Tensor:
    """KL(teacher ‖ softmax(W g)) at each position, (n,) float32 nats, for states g (n, d) read from a code."""
    buffer, normalisers = torch.empty(SCORE_CHUNK, len(head.weight)), []
    for chunk in states.split(SCORE_CHUNK):
        normalisers.append(fused(_normaliser)(float_logits(chunk, head, buffer[: len(chunk)])))
    along = ((states.double() - teacher_states.double()) * teacher.mean_row.double()).sum(dim=1)
    return (torch.cat(normalisers).double() - teacher.normaliser.double() - along).float()


def _normaliser(logits: Tensor) -> Tensor:
    return logits.logsumexp(dim=1)


def head_metric(head: Head) -> Tensor:
    """M (d, d) float32, such that ‖g M‖² is the variance of the logits W g over the vocabulary. States are compared by
    what becomes of them; and what moves all logits alike changes nothing."""
    rows = head.wide.double() - head.wide.double().mean(dim=0)
    values, axes = torch.linalg.eigh(rows.T @ rows / len(rows))
    return (axes * values.clamp_min(values[-1] * 1e-9).sqrt()).float()
