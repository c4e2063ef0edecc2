"""Codes by key and sense: of the senses under the key of a state, the one that is nearest to it.

The key is a token, or, in a dictionary that knows no words, a cluster of states.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from dskd.codes.clusters import clusters, nearest
from dskd.infra.arithmetic import starts_of
from dskd.infra.randomness import uniform
from dskd.senses.store import Senses, one_sense


def token_means(senses: Senses) -> Senses:
    """The dictionary with one sense a token, the mean of its states, as if no more of them had been met."""
    means = one_sense(senses)
    return means._replace(occurrences=means.counts.long())


def cluster_dictionary(x: Tensor, centres: Tensor, k: int, seed: int, iterations: int) -> Senses:
    """A dictionary of the states (n, d) float32 under keys that are no words: the number of the nearest of the centres
    (m, d). A key has k senses, or its states as they are where it has no more than k."""
    found, numbers, counts = [], [], []
    keys = nearest(x, centres)
    for key, here in _places(keys):
        own = clusters(x[here], k, seed + key, iterations) if len(here) > k else x[here]
        found.append(own)
        numbers.append(len(own))
        counts.append(nearest(x[here], own).bincount(minlength=len(own)))
    return _dictionary(keys.unique(), torch.tensor(numbers), torch.cat(found), torch.cat(counts))


def nearest_rows(x: Tensor, keys: Tensor, senses: Senses) -> Tensor:
    """The row of the dictionary that stands for each state: (n,) int64.

    A state whose key has no senses gets the nearest sense of any key.

    Args:
        x: (n, d) float32; keys: (n,) the token, or cluster, that each state belongs to.
    """
    rows, table, unknown = torch.empty(len(x), dtype=torch.int64), senses.centroids.float(), []
    for key, here in _places(keys):
        if own := senses.rows(key):
            rows[here] = own.start + nearest(x[here], table[own.start : own.stop])
        else:
            unknown.append(here)
    if unknown:  # together: the whole table is read for them
        here = torch.cat(unknown)
        rows[here] = nearest(x[here], table)
    return rows


def random_rows(x: Tensor, keys: Tensor, senses: Senses, seed: int) -> Tensor:
    """As `nearest_rows`, with a sense of the key drawn at random in the place of the nearest."""
    rows, numbers = nearest_rows(x, keys, senses), torch.from_numpy(uniform(seed, torch.arange(len(x)).numpy()))
    for key, here in _places(keys):
        if own := senses.rows(key):
            rows[here] = own.start + (numbers[here] * len(own)).long()
    return rows


def _places(keys: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each key, from the smallest, and where it is."""
    found, counts = keys.unique(return_counts=True)
    return zip(found.tolist(), keys.argsort(stable=True).split(counts.tolist()))


def _dictionary(keys: Tensor, numbers: Tensor, centroids: Tensor, counts: Tensor) -> Senses:
    no_contexts = torch.empty(len(centroids), 0, dtype=torch.int64)
    counts = counts.int()
    occurrences = torch.zeros(len(keys), dtype=torch.int64).index_add_(
        0, torch.arange(len(keys)).repeat_interleave(numbers), counts.long()
    )
    return Senses(keys.int(), starts_of(numbers), occurrences, centroids, counts, no_contexts)
