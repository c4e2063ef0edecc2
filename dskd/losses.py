"""The losses, as pure functions of tensors. All are in nats, or in mean squares a dimension.

The head product dominates: a token's logits are V numbers (49 152 for SmolLM2, 196 kB in fp32), and
cross-entropy and KL need those of student and teacher. They are made chunk by chunk, and the gradient
with respect to the student's hidden states is computed in the same sweep, so that memory is a few
(chunk, V) buffers however many tokens there are (the idea of Liger-Kernel's fused linear losses).
"""

import functools
import shutil
import sys
from collections.abc import Callable

import torch
from torch import Tensor

IGNORE = -100


def output_loss(
    student: Tensor,
    teacher: Tensor,
    head: Tensor,
    labels: Tensor,
    *,
    ce_weight: float,
    kl_weight: float,
    temperature: float,
    count: int | None = None,
    chunk: int = 512,
    compiled: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy and distillation over the whole vocabulary from last hidden states.

    `ce_weight * CE(y, p_student) + kl_weight * T^2 * KL(p_teacher^T || p_student^T)`, docs/method.md,
    section 4 (the factor T^2: Hinton et al. 2015), averaged over positions that count.

    Args:
        student, teacher: (n, d) last hidden states after the final norm, of one dtype.
        head: (V, d) frozen output embedding, shared by both.
        labels: (n,) int64, the token that follows; `IGNORE` leaves a position out of both terms.
        count: divisor of the sums; default: positions that count here. Give the global number when
            a batch is split, so that the split changes nothing.
        chunk: positions whose logits exist at one time.
        compiled: fuse the arithmetic between the head products with torch.compile, where that works.

    Returns:
        The weighted loss (differentiable in `student`), the mean CE and the mean KL at temperature
        T without the factor T^2 (both detached). With no position that counts all three are 0.
    """
    if count is None:
        count = int((labels != IGNORE).sum())
    terms = fused(_chunk_terms) if compiled else _chunk_terms
    weights = (ce_weight, kl_weight, temperature)
    return _OutputLoss.apply(student, teacher, head, labels, weights, max(count, 1), chunk, terms)


class _OutputLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, student, teacher, head, labels, weights, count, chunk, terms):
        ce_weight, kl_weight, temperature = weights
        gradient = torch.zeros_like(student)
        totals = torch.zeros(2, dtype=_wide(student.dtype), device=student.device)
        kept = (labels != IGNORE).nonzero().squeeze(1)
        # Two buffers serve all chunks: fresh ones of this size would cost more in page faults than the arithmetic.
        buffers = student.new_empty(2, min(chunk, len(kept)), len(head))
        for index in kept.split(chunk) if len(kept) else []:
            student_logits, teacher_logits = buffers[:, : len(index)]
            torch.mm(student[index], head.T, out=student_logits)
            if kl_weight:
                torch.mm(teacher[index], head.T, out=teacher_logits)
            totals += terms(student_logits, teacher_logits, labels[index], *weights)
            gradient[index] = (student_logits @ head).div_(count)
        ctx.save_for_backward(gradient)
        ce, kl = totals / count
        ctx.mark_non_differentiable(ce, kl)
        return ce_weight * ce + kl_weight * temperature**2 * kl, ce, kl

    @staticmethod
    def backward(ctx, upstream, *_):
        (gradient,) = ctx.saved_tensors
        return (gradient * upstream.to(gradient.dtype), *[None] * 7)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _chunk_terms(student_logits, teacher_logits, labels, ce_weight, kl_weight, temperature):
    """Sums of CE and KL over a chunk, (2,). `student_logits` (c, V) is overwritten with the gradient in it."""
    wide = _wide(student_logits.dtype)
    student = student_logits.to(wide)
    log_p = student - student.logsumexp(dim=1, keepdim=True)
    target = labels[:, None]
    ce = -log_p.gather(1, target).sum()
    is_target = torch.arange(student.shape[1], device=labels.device) == target
    gradient = ce_weight * (log_p.exp() - is_target.to(wide))
    kl = torch.zeros_like(ce)
    if kl_weight:
        softer, softer_teacher = student / temperature, teacher_logits.to(wide) / temperature
        log_q = softer - softer.logsumexp(dim=1, keepdim=True)
        log_t = softer_teacher - softer_teacher.logsumexp(dim=1, keepdim=True)
        teacher = log_t.exp()
        kl = (teacher * (log_t - log_q)).sum()
        # d(T^2 KL) / d(logits) = T (q - t)
        gradient = gradient + kl_weight * temperature * (log_q.exp() - teacher)
    student_logits.copy_(gradient)
    return torch.stack([ce, kl])


@functools.cache
def fused(function: Callable) -> Callable:
    """`function` compiled; as it is, with a word to the user, where there is no C++ compiler."""
    if torch.cuda.is_available() or shutil.which("g++") or shutil.which("clang++"):
        return torch.compile(function, dynamic=True)
    print("note: no C++ compiler (g++ or clang++) found; losses run uncompiled and more slowly", file=sys.stderr)
    return function


def hidden_loss(student: Tensor, teacher: Tensor, count: int) -> Tensor:
    """Regression on the teacher's own state: sum over positions of ||s - h||^2 / d, divided by `count`.

    Args:
        student, teacher: (n, d); the difference is taken in float32 or wider.
    """
    return (student.float() - teacher.float()).square().mean(dim=1).sum() / max(count, 1)


def sense_loss(student: Tensor, vectors: Tensor, pull: Tensor, push: Tensor, margin: float, count: int) -> Tensor:
    """The sense loss (docs/method.md, section 4): for each position the mean over its pulling senses r of
    ||s - r||^2 / d, plus the mean over its pushing senses a of max(0, margin - ||s - a||^2 / d); summed
    and divided by `count`.

    Args:
        student: (n, d) last hidden states of the supervised positions.
        vectors: (R, d) senses.
        pull, push: (n, kappa) rows of `vectors`, -1 where there are fewer or none.
        margin: in mean squares a dimension, as the distances.
    """
    if len(student) == 0:
        return student.float().sum()  # 0, with a gradient of 0
    near, far = (_mean_over_members(student, vectors, rows, hinge) for rows, hinge in ((pull, None), (push, margin)))
    return (near + far).sum() / max(count, 1)


def _mean_over_members(student: Tensor, vectors: Tensor, rows: Tensor, hinge: float | None) -> Tensor:
    member = rows >= 0
    senses = vectors[rows.clamp_min(0).long()].float()  # (n, kappa, d)
    distances = (student.float()[:, None] - senses).square().mean(dim=2)
    if hinge is not None:
        distances = (hinge - distances).clamp_min(0)
    return (distances * member).sum(dim=1) / member.sum(dim=1).clamp_min(1)
