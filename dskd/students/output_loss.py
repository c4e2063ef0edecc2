"""Cross-entropy with the text and divergence from the teacher, in nats, and their gradient.

The head product dominates: a token's logits are V numbers (49 152 for SmolLM2, 196 kB in float32), and cross-entropy
and KL need those of student and teacher. They are made chunk by chunk, and the gradient with respect to the student's
hidden states is computed in the same sweep. So memory is a few (chunk, V) buffers however many tokens there are (the
idea of Liger-Kernel's fused linear losses).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dskd.errors import UserError
from dskd.infra.arithmetic import fused
from dskd.model import LOSS_CHUNK
from dskd.model.logits import Head, LogitMap, mapped

IGNORE = -100


class Heads(NamedTuple):
    """The two heads of a distillation. A student that is cut from the teacher has the teacher's."""

    student: Head  # weight (V, d)
    teacher: Head  # weight (V, d_teacher)
    # (V,) float32, log of how many tokens each column stands for, where the columns are a sample of the vocabulary
    # (`sampled_vocabulary`); the losses are then estimates. None: one each.
    log_weights: Tensor | None = None


class OutputWeights(NamedTuple):
    """What `output_loss` weighs its terms with."""

    ce: float
    kl: float
    temperature: float  # of the divergence
    beta: float = 0.0  # which divergence


def output_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    heads: Heads,
    weights: OutputWeights,
    *,
    count: float | None = None,
    chunk: int = LOSS_CHUNK,
    compiled: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy and distillation over the whole vocabulary from last hidden states.

    `ce * CE(y, p_student) + kl * T^2 * D(p_teacher^T, p_student^T)`, docs/method.md, section 4 (the factor T^2: Hinton
    et al. 2015), averaged over positions that count. D is the family of Agarwal et al. 2024 (GKD, section 3): with
    m = beta p + (1 - beta) q for teacher p and student q,

        beta = 0       KL(p || q), the method's
        0 < beta < 1   beta KL(p || m) + (1 - beta) KL(q || m), the generalised Jensen-Shannon divergence
        beta = 1       KL(q || p)

    Args:
        student, teacher: (n, d) and (n, d_teacher) last hidden states after the final norm, of one dtype.
        labels: (n,) int64, the token that follows; `IGNORE` leaves a position out of both terms.
        count: divisor of the sums; default: positions that count here. Give the global number when
            a batch is split, so that the split changes nothing.
        chunk: positions whose logits exist at one time.
        compiled: fuse the arithmetic between the head products with torch.compile, where that works.

    Returns:
        The weighted loss (differentiable in `student`, and in the student's head if that trains), the mean CE and the
        mean divergence at temperature T without the factor T^2 (both detached). With no position that counts all three
        are 0. A divergence of the weight 0 is not computed, and 0.

    Raises:
        UserError: in `backward`, where a second derivative is asked for: there is none.
    """
    if count is None:
        count = int((labels != IGNORE).sum())
    sweep = _Sweep(heads, weights, max(count, 1), chunk, fused(_chunk_terms) if compiled else _chunk_terms)
    return _OutputLoss.apply(student, heads.student.weight, teacher, labels, sweep)


class _Sweep(NamedTuple):
    """What goes over the positions, chunk by chunk."""

    heads: Heads
    weights: OutputWeights
    count: float  # divisor of the sums
    chunk: int
    terms: Callable[..., Tensor]  # `_chunk_terms`, compiled or not


class _OutputLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, student, weight, teacher, labels, sweep):
        heads, weights, count, chunk, terms = sweep
        head, teacher_head = heads.student.weight, heads.teacher.weight
        gradient, head_gradient = torch.zeros_like(student), None
        if ctx.needs_input_grad[1]:  # in a pipeline's run the head is frozen
            head_gradient = torch.zeros_like(weight, dtype=_wide(weight.dtype))
        totals = torch.zeros(2, dtype=_wide(student.dtype), device=student.device)
        kept = (labels != IGNORE).nonzero().squeeze(1)
        # One buffer serves all chunks: fresh ones of this size would cost more in page faults than the arithmetic.
        # Student and teacher go through a head that they share in one product, which is faster than two.
        models = 2 if weights.kl else 1
        buffer = student.new_empty(models * min(chunk, len(kept)), len(head))
        for index in kept.split(chunk) if len(kept) else []:
            logits = buffer[: models * len(index)]  # (2c, V) or (c, V)
            student_logits, teacher_logits = logits[: len(index)], logits[-len(index) :]
            if head is teacher_head:
                torch.mm(torch.cat([student[index], teacher[index]][:models]), head.T, out=logits)
            else:
                torch.mm(student[index], head.T, out=student_logits)
                if weights.kl:
                    torch.mm(teacher[index], teacher_head.T, out=teacher_logits)
            maps = heads.student.logit_map, heads.teacher.logit_map
            totals += terms(student_logits, teacher_logits, labels[index], weights, maps, heads.log_weights)
            gradient[index] = (student_logits @ head).div_(count)
            if head_gradient is not None:
                head_gradient += student_logits.T @ student[index]
        ctx.save_for_backward(gradient, None if head_gradient is None else (head_gradient / count).to(weight.dtype))
        ce, kl = totals / count
        ctx.mark_non_differentiable(ce, kl)
        return weights.ce * ce + weights.kl * weights.temperature**2 * kl, ce, kl

    @staticmethod
    def backward(ctx, upstream, *_):
        if torch.is_grad_enabled():  # create_graph=True, to which the gradient of the sweep would look constant
            raise UserError("output_loss has no second derivative: leave out create_graph, or compute it from logits")
        gradients = [None if g is None else g * upstream.to(g.dtype) for g in ctx.saved_tensors]
        return (*gradients, *[None] * 3)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _chunk_terms(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    weights: OutputWeights,
    maps: tuple[LogitMap | None, LogitMap | None],
    log_weights: Tensor | None,
) -> Tensor:
    """Sums of CE and divergence over a chunk, (2,). `student_logits` (c, V), products of states and head, are
    overwritten with the gradient in them."""
    wide = _wide(student_logits.dtype)
    student = mapped(student_logits.to(wide), maps[0])
    log_p = _log_shares(student, log_weights)
    is_target = torch.arange(student.shape[1], device=labels.device) == labels[:, None]
    ce = -torch.where(is_target, log_p, 0.0).sum()
    gradient = weights.ce * (log_p.exp() - is_target.to(wide))
    divergence = torch.zeros_like(ce)
    if weights.kl:
        softer_teacher = mapped(teacher_logits.to(wide), maps[1]) / weights.temperature
        log_q = _log_shares(student / weights.temperature, log_weights)
        log_t = _log_shares(softer_teacher, log_weights)
        divergence, slope = _divergence(log_t, log_q, weights.beta)
        # `slope` is d(divergence) / d(logits / T), so T^2 times the divergence has T times that slope.
        gradient = gradient + weights.kl * weights.temperature * slope
    if maps[0] is not None:
        gradient = gradient * _slope(student, maps[0])
    student_logits.copy_(gradient)
    return torch.stack([ce, divergence])


def _log_shares(logits: Tensor, log_weights: Tensor | None) -> Tensor:
    """Log of the share that each column has of the partition sum, with all tokens that it stands for: (c, V)."""
    if log_weights is not None:
        logits = logits + log_weights
    return logits - logits.logsumexp(dim=1, keepdim=True)


def _slope(logits: Tensor, logit_map: LogitMap) -> Tensor | float:
    """d(logits) / d(products)."""
    scale, softcap = logit_map
    return scale if softcap is None else scale * (1 - (logits / softcap).square())


def _divergence(log_p: Tensor, log_q: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Sum over rows of D(p, q), and its gradient in the logits of q, (c, V)."""
    p, q = log_p.exp(), log_q.exp()
    if beta == 0:
        return (p * (log_p - log_q)).sum(), q - p
    log_m = log_p if beta == 1 else torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
    from_student = log_q - log_m
    each = (q * from_student).sum(dim=1, keepdim=True)
    weight = 1.0 if beta == 1 else 1 - beta
    value = weight * each.sum()
    if beta < 1:
        value = value + beta * (p * (log_p - log_m)).sum()
    return value, weight * q * (from_student - each)
