"""The sense dictionary: at most k centroids of the teacher's states for every token (docs/method.md, section 3)."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dskd.infra import processes
from dskd.infra.arithmetic import squared_distances
from dskd.infra.randomness import hash_integers
from dskd.params import SensesParams
from dskd.senses.kmeans import kmeans
from dskd.senses.store import SenseDictionary, join_senses
from dskd.states.store import States, take_positions

_ROWS = 8192  # rows of one k-means batch: fixes its memory (19 MB at d = 576)
_PIECE = 1 << 22  # positions that the reservoir takes in at one time


def build_senses(states: States, labels: Tensor, settings: SensesParams) -> SenseDictionary:
    """Cluster the states of each token; of many processes each gets the senses of its share of the tokens.

    Args:
        states: the training split's.
        labels: (n, L) token ids that follow each position; the key where `settings.key` is "observed".

    Every choice is seeded by (seed, token, position) alone, so that a token's senses do not depend on
    the others, their order, batches or shards.
    """
    shards = states.predicted
    if settings.key == "observed":
        shards = list(labels.split([len(shard) for shard in shards]))
    tokens, occurrences, positions, sizes = reservoir(shards, settings.seed, settings.reservoir)
    starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    dtype, groups = states.hidden_states[0].dtype, processes.share(list(_groups(sizes, settings.k)))
    found = [_no_senses(states, settings)]  # a process may have no other part
    with tqdm(
        total=sum(len(group) for group, _ in groups),
        desc="senses",
        unit="tok",
        mininterval=1,
        disable=not processes.state().is_main_process,
    ) as bar:
        for group, width in groups:
            chosen = torch.cat([positions[starts[t] : starts[t + 1]] for t in group.tolist()])
            rows = take_positions(states.hidden_states, chosen)
            if width <= settings.k:  # few states: they are the senses
                contexts = torch.full((len(chosen), settings.contexts), -1)
                contexts[:, 0] = chosen
                numbers, clusters = sizes[group], (rows, torch.ones(len(chosen), dtype=torch.int32), contexts)
            else:
                member = torch.arange(width) < sizes[group, None]
                x, places = torch.zeros(len(group), width, rows.shape[1]), torch.full(member.shape, -1)
                x[member], places[member] = rows.float(), chosen
                numbers, clusters = _cluster(x, places, sizes[group], tokens[group], settings)
            centroids, *others = clusters
            offsets = torch.cat([numbers.new_zeros(1), numbers.cumsum(0)])
            found.append(SenseDictionary(tokens[group], offsets, occurrences[group], centroids.to(dtype), *others))
            bar.update(len(group))
    return join_senses(found)


def _no_senses(states: States, settings: SensesParams) -> SenseDictionary:
    """The senses of no token."""
    none = torch.empty(0, dtype=torch.int32)
    centroids, contexts = states.hidden_states[0].flatten(0, 1)[:0], torch.empty(0, settings.contexts).long()
    return SenseDictionary(none, torch.zeros(1).long(), none.long(), centroids, none, contexts)


def _cluster(
    x: Tensor, positions: Tensor, sizes: Tensor, tokens: Tensor, settings: SensesParams
) -> tuple[Tensor, tuple]:
    """The senses of G tokens with more than k states each.

    Args:
        x, positions: (G, n, d) float32 and (G, n), the states and where they are from, padded.

    Returns:
        How many senses each token has, (G,); and centroids, counts and contexts of all senses, token by token.
    """
    centroids, assignment = kmeans(x, sizes, tokens.long(), settings.k, settings.seed, settings.iterations)
    member = assignment[:, None, :] == torch.arange(settings.k)[:, None]  # (G, k, n)
    counts = member.sum(dim=2).to(torch.int32)
    distances = squared_distances(centroids, x).masked_fill_(~member, torch.inf)
    near = distances.topk(min(settings.contexts, x.shape[1]), dim=2, largest=False)
    contexts = torch.full((*counts.shape, settings.contexts), -1)
    nearest = positions[:, None].expand(-1, settings.k, -1).gather(2, near.indices)
    contexts[:, :, : nearest.shape[2]] = nearest.masked_fill(near.values.isinf(), -1)
    full = counts > 0
    return full.sum(dim=1), (centroids[full], counts[full], contexts[full])


def reservoir(shards: list[Tensor], seed: int, capacity: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A uniform sample without replacement of at most `capacity` positions for each key.

    The positions with the smallest hashes of (seed, position) are taken, so the sample does not depend on how the
    positions are cut into shards. Memory holds the sample and some shards, however many there are.

    Args:
        shards: token of each position, in order, in tensors of any integer type and shape.

    Returns:
        tokens (T,) int32 ascending, occurrences (T,) int64, positions (P,) int64 by token and then
        ascending, sizes (T,) int64 of the samples.
    """
    keys, positions = np.empty(0, np.int32), np.empty(0, np.int64)
    occurrences = np.empty(0, np.int64)
    for piece, start in _pieces(shards):
        counts = np.bincount(piece, minlength=len(occurrences))
        counts[: len(occurrences)] += occurrences
        occurrences = counts
        keys = np.concatenate([keys, piece])
        positions = np.concatenate([positions, np.arange(start, start + len(piece))])
        order = np.lexsort((hash_integers(seed, positions), keys))
        keys, positions = keys[order], positions[order]
        _, starts, sizes = np.unique(keys, return_index=True, return_counts=True)
        kept = np.arange(len(keys)) - np.repeat(starts, sizes) < capacity
        keys, positions = keys[kept], positions[kept]
    positions = positions[np.lexsort((positions, keys))]
    tokens = np.flatnonzero(occurrences)
    occurrences = occurrences[tokens]
    columns = tokens.astype(np.int32), occurrences, positions, np.minimum(occurrences, capacity)
    return tuple(torch.from_numpy(np.ascontiguousarray(column)) for column in columns)


def _pieces(shards: list[Tensor]) -> Iterator[tuple[np.ndarray, int]]:
    """Shards joined to pieces of about `_PIECE` positions, each with the number of its first position."""
    start, waiting = 0, []
    for index, shard in enumerate(shards):
        waiting.append(shard.flatten().numpy().astype(np.int32))
        if sum(map(len, waiting)) >= _PIECE or index == len(shards) - 1:
            piece = np.concatenate(waiting)
            yield piece, start
            start, waiting = start + len(piece), []


def _groups(sizes: Tensor, k: int):
    """Tokens of like size, a batch at a time: (indices, padded width). Widths are k and then doublings of
    it, whatever the sizes are, so that a token is always padded alike."""
    lower, width = 0, k
    while lower < int(sizes.max()):
        members = ((sizes > lower) & (sizes <= width)).nonzero().squeeze(1)
        for group in members.split(max(1, _ROWS // width)):
            if len(group):
                yield group, width
        lower, width = width, 2 * width
