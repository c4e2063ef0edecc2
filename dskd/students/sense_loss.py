"""The sense loss: the paper's form, and a form of this project's (docs/method.md, section 4)."""

import torch
from torch import Tensor


def sense_loss(student: Tensor, vectors: Tensor, pull: Tensor, push: Tensor, margin: float, count: float) -> Tensor:
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


def span_loss(student: Tensor, teacher: Tensor, vectors: Tensor, pull: Tensor, push: Tensor) -> Tensor:
    """Square, a dimension, of the part of s - h that lies in the span of the senses' directions from h: (n,) float32.

    What the senses do not speak of stays free. A position without senses has 0.

    Args:
        student: (n, d) last hidden states of the supervised positions, with a gradient.
        teacher: (n, d) the teacher's states there.
        vectors: (R, d) senses.
        pull, push: (n, kappa) rows of `vectors`, -1 where there are fewer or none; both give directions.
    """
    rows = torch.cat([pull, push], dim=1)  # (n, m)
    senses, member = vectors[rows.clamp_min(0).long()].float(), rows >= 0
    teacher = teacher.float()
    directions = (senses - teacher[:, None]) * member[:, :, None]  # (n, m, d)
    error = student.float() - teacher
    # Coordinates by the normal equations; the ridge makes them well-posed where directions are few or parallel.
    gram = directions @ directions.transpose(1, 2)
    ridge = 1e-4 * gram.diagonal(dim1=1, dim2=2).amax(dim=1).clamp_min(1e-12)
    gram = gram + torch.diag_embed(ridge[:, None].expand(-1, gram.shape[1]))
    onto = (directions @ error[:, :, None]).squeeze(2)
    return (onto * torch.linalg.solve(gram, onto)).sum(dim=1) / error.shape[1]
