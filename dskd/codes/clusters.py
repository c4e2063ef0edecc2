"""k-means of one large set of states. `dskd.senses.kmeans` is for many small ones."""

import torch
from torch import Tensor

from dskd.senses.kmeans import plus_plus

_CHUNK = 2048  # states whose distances exist at one time
_DRAWN_FROM = 8192  # states that the first centres are chosen among


def nearest(x: Tensor, centres: Tensor) -> Tensor:
    """Of each state (n, d) the nearest of the centres (k, d): (n,) int64."""
    half = centres.square().sum(dim=1) / 2
    return torch.cat([(half - piece @ centres.T).min(dim=1).indices for piece in x.split(_CHUNK)])


def means(x: Tensor, of: Tensor, k: int) -> Tensor:
    """The mean of the states (n, d) of each of k clusters, (k, d); 0 where `of` (n,) gives a cluster none."""
    sums = x.new_zeros(k, x.shape[1]).index_add_(0, of, x)
    return sums / of.bincount(minlength=k).clamp_min(1)[:, None]


def clusters(x: Tensor, k: int, seed: int, iterations: int) -> Tensor:
    """Lloyd's algorithm from greedy k-means++ centres: the centres, (k, d). From plain random ones the KL that is left
    by a table of 256 differs by .3 nats from draw to draw.

    A cluster that loses all its states starts again at one drawn at random.

    Args:
        x: (n, d) float32, n >= k.
    """
    generator = torch.Generator().manual_seed(seed)
    some = x[torch.randperm(len(x), generator=generator)[: max(k, _DRAWN_FROM)]]
    valid, size = torch.ones(1, len(some), dtype=torch.bool), torch.tensor([len(some)])
    centres = plus_plus(some[None], valid, size, torch.zeros(1).long(), k, seed)[0]
    for _ in range(iterations):
        of = nearest(x, centres)
        empty = of.bincount(minlength=k) == 0
        centres = means(x, of, k)
        centres[empty] = x[torch.randint(len(x), (int(empty.sum()),), generator=generator)]
    return centres
