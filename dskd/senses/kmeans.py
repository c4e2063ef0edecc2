"""k-means of many small sets at once, each with a result of its own.

Sets are padded to a few fixed sizes and go through batched products. A set's result depends on its
rows, its key and the seed alone: not on the sets beside it, their order, or how they are grouped.
"""

import numpy as np
import torch
from torch import Tensor

from dskd.infra.arithmetic import _distances, _norms, squared_distances
from dskd.infra.randomness import uniform


def kmeans(x: Tensor, sizes: Tensor, keys: Tensor, k: int, seed: int, iterations: int) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from greedy k-means++ centres, for each of B sets.

    Args:
        x: (B, n, d) float32; rows at or beyond a set's size are padding and may hold anything finite.
        sizes: (B,) int64 numbers of valid rows, each k or more.
        keys: (B,) int64, one for each set: seeds its centres, together with `seed`.

    Returns:
        centroids (B, k, d) and assignment (B, n) int64, -1 at padding. A cluster may be empty where a
        set has fewer than k distinct rows.
    """
    # Around each set's mean: a dimension that is large in all rows would cost distances the digits of the others.
    valid = torch.arange(x.shape[1], device=x.device) < sizes[:, None]
    mean = (x * valid[..., None]).sum(dim=1, keepdim=True) / sizes[:, None, None]
    x = (x - mean) * valid[..., None]

    # Lloyd's algorithm, for the sets that have not come to rest.
    centroids = plus_plus(x, valid, sizes, keys, k, seed)
    assignment = torch.full(valid.shape, -1, device=x.device)
    moving = torch.arange(len(x), device=x.device)  # these sets, and their rows
    rows, norms, counted = x, _norms(x), valid
    for _ in range(iterations):
        centres = centroids[moving]
        nearest = _distances(rows, norms, centres, _norms(centres)).argmin(dim=2)
        changed = (nearest != assignment[moving]).any(dim=1)
        if not changed.any():
            break
        if not changed.all():  # what is at rest would be computed to the same bits again
            moving, nearest = moving[changed], nearest[changed]
            rows, norms, counted = rows[changed], norms[changed], counted[changed]
        assignment[moving] = nearest
        centroids[moving] = _means(rows, counted, nearest, centroids[moving])
    assignment = squared_distances(x, centroids).argmin(dim=2)
    return centroids + mean, assignment.masked_fill(~valid, -1)


def without_small(x: Tensor, centroids: Tensor, assignment: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Dissolve clusters of fewer than `least` rows, the smallest of a set first. After each, all rows of its set go to
    the nearest centre that is left, and the centres move to the means of what they have.

    Args:
        x: as of `kmeans`, with zeros as padding; a set has `least` rows or more.
        centroids, assignment: as `kmeans` returns them.

    Returns:
        centroids and assignment in the same form; a dissolved cluster is empty.
    """
    k = centroids.shape[1]
    valid = assignment >= 0
    counts = (assignment[:, None] == torch.arange(k)[:, None]).sum(dim=2)
    alive = counts > 0
    while (small := alive & (counts < least)).any():
        sets = small.any(dim=1).nonzero().squeeze(1)
        smallest = counts[sets].masked_fill(~small[sets], x.shape[1] + 1).argmin(dim=1)
        alive[sets, smallest] = False
        distances = squared_distances(x[sets], centroids[sets]).masked_fill_(~alive[sets][:, None], torch.inf)
        nearest = distances.argmin(dim=2)
        centroids[sets] = _means(x[sets], valid[sets], nearest, centroids[sets])
        assignment[sets] = nearest.masked_fill(~valid[sets], -1)
        counts[sets] = (assignment[sets, None] == torch.arange(k)[:, None]).sum(dim=2)
        alive &= counts > 0
    return centroids, assignment


def plus_plus(x: Tensor, valid: Tensor, sizes: Tensor, keys: Tensor, k: int, seed: int) -> Tensor:
    """Greedy k-means++ centres (Arthur and Vassilvitskii 2007; the best of 2 + ln k draws a step, as in
    scikit-learn): (B, k, d)."""
    batch = torch.arange(len(x), device=x.device)
    trials = 2 + int(np.log(k))

    def draw(step: int) -> Tensor:  # (B, trials) in [0, 1)
        numbers = uniform(seed, keys.cpu().numpy()[:, None], step, np.arange(trials)[None, :])
        return torch.from_numpy(numbers).to(x)

    norms = _norms(x)
    first = (draw(0)[:, 0] * sizes).long().clamp_max(sizes - 1)
    centres = [x[batch, first]]
    closest = _distances(centres[0][:, None], norms[batch, first][:, None], x, norms)[:, 0] * valid
    for step in range(1, k):
        cumulative = closest.cumsum(dim=1)
        thresholds = draw(step) * cumulative[:, -1:]
        candidates = torch.searchsorted(cumulative, thresholds, right=True)
        candidates = torch.minimum(candidates, sizes[:, None] - 1)
        rows = x[batch[:, None], candidates]  # (B, trials, d)
        distances = _distances(rows, norms[batch[:, None], candidates], x, norms)
        distances = torch.minimum(distances, closest[:, None]) * valid[:, None]
        best = distances.sum(dim=2).argmin(dim=1)
        closest = distances[batch, best]
        centres.append(rows[batch, best])
    return torch.stack(centres, dim=1)


def _means(x: Tensor, valid: Tensor, assignment: Tensor, previous: Tensor) -> Tensor:
    member = torch.nn.functional.one_hot(assignment, previous.shape[1]).to(x.dtype) * valid[..., None]
    counts = member.sum(dim=1)[..., None]
    means = member.transpose(1, 2) @ x / counts.clamp_min(1)
    return torch.where(counts > 0, means, previous)  # an empty cluster stays where it was
