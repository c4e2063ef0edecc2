"""Regression on the teacher's hidden states, and a measure in which each direction counts by its spread."""

import torch
from torch import Tensor


def hidden_loss(student: Tensor, teacher: Tensor, count: float) -> Tensor:
    """Regression on the teacher's own state: sum over positions of ||s - h||^2 / d, divided by `count`.

    Args:
        student, teacher: (n, d); the difference is taken in float32 or wider.
    """
    return (student.float() - teacher.float()).square().mean(dim=1).sum() / max(count, 1)


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
