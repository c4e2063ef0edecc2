"""Other forms of the sense term than the paper's regression on senses, and other distances (docs/method.md, section 4).

Each form looks at the same senses of a position, those that pull and those that push, and has the same arguments:

    student: (n, d) last hidden states of the supervised positions, with a gradient
    teacher: (n, d) the teacher's states there
    vectors: (R, d) senses
    pull, push: (n, kappa) rows of `vectors`, -1 where there are fewer or none
    scale: of distances, in mean squares a dimension

and gives the loss of each position, (n,) float32; a position without senses has 0.
"""

import torch
from torch import Tensor


def assignment(student: Tensor, teacher: Tensor, vectors: Tensor, pull: Tensor, push: Tensor, scale: float) -> Tensor:
    """KL between the teacher's and the student's assignment to the senses, softmax(-||. - r||^2 / (d scale)).

    Nothing pulls a state to a mean of senses: the relative geometry alone is matched.
    """
    senses, member = _gather(vectors, pull, push)
    log_p, log_q = (_log_assignment(_distances(states, senses), member, scale) for states in (teacher, student))
    return (log_p.exp() * (log_p - log_q)).masked_fill(~member, 0).sum(dim=1)


def contrast(student: Tensor, teacher: Tensor, vectors: Tensor, pull: Tensor, push: Tensor, scale: float) -> Tensor:
    """InfoNCE: -log of the share that the pulling senses have in the student's assignment to all of them.

    Where nothing pushes there is nothing to tell apart, and the loss is 0.
    """
    senses, member = _gather(vectors, pull, push)
    log_q = _log_assignment(_distances(student, senses), member, scale)
    pulling = torch.zeros_like(member)
    pulling[:, : pull.shape[1]] = member[:, : pull.shape[1]]
    share = log_q.masked_fill(~pulling, -torch.inf).logsumexp(dim=1)
    return torch.where(pulling.any(dim=1), -share, 0.0)


def span(student: Tensor, teacher: Tensor, vectors: Tensor, pull: Tensor, push: Tensor, scale: float) -> Tensor:
    """Square, a dimension, of the part of s - h that lies in the span of the senses' directions from h.

    What the senses do not speak of stays free. `scale` has no part in it.
    """
    senses, member = _gather(vectors, pull, push)
    teacher = teacher.float()
    directions = (senses - teacher[:, None]) * member[:, :, None]
    error = student.float() - teacher
    # Coordinates by the normal equations; the ridge makes them well-posed where directions are few or parallel.
    gram = directions @ directions.transpose(1, 2)
    ridge = 1e-4 * gram.diagonal(dim1=1, dim2=2).amax(dim=1).clamp_min(1e-12)
    gram = gram + torch.diag_embed(ridge[:, None].expand(-1, gram.shape[1]))
    onto = (directions @ error[:, :, None]).squeeze(2)
    return (onto * torch.linalg.solve(gram, onto)).sum(dim=1) / error.shape[1]


def shifted(student: Tensor, teacher: Tensor, vectors: Tensor, pull: Tensor, push: Tensor, scale: float) -> Tensor:
    """Regression on the teacher's state moved by the share `scale` of the way to the mean of its pulling senses, and as
    far away from the mean of its pushing ones."""
    teacher = teacher.float()
    target = teacher
    for rows, sign in ((pull, 1), (push, -1)):
        senses, member = _gather(vectors, rows)
        mean = (senses * member[:, :, None]).sum(dim=1) / member.sum(dim=1, keepdim=True).clamp_min(1)
        target = target + sign * scale * (mean - teacher) * member.any(dim=1, keepdim=True)
    return (student.float() - target).square().mean(dim=1)


FORMS = {f.__name__: f for f in (assignment, contrast, span, shifted)}


def metric(kind: str, states: Tensor, head: Tensor) -> Tensor:
    """The symmetric matrix M, (d, d) float32, by which `kind` has distances measured, ||M(x - y)||^2 / d.

    whitened  M'M is the inverse of the states' covariance: every direction counts by its own spread
    logits    M'M is W'W: the mean square of the differences of all logits

    Either is scaled so that the states' mean variance a dimension stays what it is: weights and margins keep their
    units.

    Args:
        states: (n, d), the teacher's.
        head: (V, d), W.
    """
    covariance = states.double().T.cov()
    form = covariance
    if kind == "logits":
        head = head.double()
        form = head.T @ head
    values, vectors = torch.linalg.eigh(form)
    floor = 1e-3 * values.mean()  # directions in which states hardly differ would else be all that counts
    powers = values.clamp_min(floor) ** (0.5 if kind == "logits" else -0.5)
    root = (vectors * powers) @ vectors.T
    scale = covariance.trace() / (root @ covariance @ root).trace()
    return (root * scale.sqrt()).float()


def _gather(vectors: Tensor, *rows: Tensor) -> tuple[Tensor, Tensor]:
    """The senses of each position, (n, m, d) float32, and which of them there are, (n, m)."""
    rows = torch.cat(rows, dim=1)
    return vectors[rows.clamp_min(0).long()].float(), rows >= 0


def _distances(states: Tensor, senses: Tensor) -> Tensor:
    """(n, m): mean square a dimension."""
    return (states.float()[:, None] - senses).square().mean(dim=2)


def _log_assignment(distances: Tensor, member: Tensor, scale: float) -> Tensor:
    """(n, m): log softmax over the members; 0 elsewhere."""
    logits = (-distances / scale).masked_fill(~member, -torch.inf)
    return (logits - logits.logsumexp(dim=1, keepdim=True)).masked_fill(~member, 0.0)
