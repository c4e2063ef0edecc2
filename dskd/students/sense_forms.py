"""A second form of the sense term, and a second way to measure distances (docs/method.md, section 4)."""

import torch
from torch import Tensor


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


def whitening(states: Tensor) -> Tensor:
    """The symmetric matrix M, (d, d) float32, by which every direction counts by its own spread: distances become
    ||M(x - y)||^2 / d, and M'M is the inverse of the states' covariance.

    M is scaled so that the states' mean variance a dimension stays what it is: weights and margins keep their units.

    Args:
        states: (n, d), the teacher's.
    """
    covariance = states.double().T.cov()
    values, vectors = torch.linalg.eigh(covariance)
    floor = 1e-3 * values.mean()  # directions in which states hardly differ would else be all that counts
    root = (vectors * values.clamp_min(floor) ** -0.5) @ vectors.T
    scale = covariance.trace() / (root @ covariance @ root).trace()
    return (root * scale.sqrt()).float()
