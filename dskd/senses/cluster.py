"""The sense dictionary: at most k centroids of the teacher's states for every token (docs/method.md, section 3)."""

import torch
from torch import Tensor
from tqdm import tqdm

from dskd.errors import UserError
from dskd.infra import processes
from dskd.infra.arithmetic import squared_distances, starts_of
from dskd.params import SensesParams
from dskd.senses.kmeans import kmeans, without_small
from dskd.senses.store import Senses, join_senses
from dskd.states.reservoir import Reservoir

_ROWS = 8192  # rows of one k-means batch: fixes its memory (19 MB at d = 576)


def build_senses(sample: Reservoir, settings: SensesParams) -> Senses:
    """Cluster the states of each token; of many processes each gets the senses of its share of the tokens.

    A token with n states has at most `k` senses, and at most n / `min_states`; each stands for `min_states` states or
    more. So with `min_states` 1 a token of at most k states keeps them as they are, as the paper has it, and otherwise
    a token of fewer than `min_states` states has no senses. Every choice is seeded by (seed, token) alone: a token's
    senses do not depend on the others, their order or batches.

    Raises:
        UserError: no token has `min_states` states.
    """
    if not (sample.sizes >= settings.min_states).any():
        raise UserError(
            f"no token has senses.min_states = {settings.min_states} states; the most frequent one has "
            f"{int(sample.sizes.max())}: lower senses.min_states, or raise senses.tokens or senses.reservoir"
        )
    starts = starts_of(sample.sizes)
    dtype, groups = sample.states[0].dtype, processes.share(list(_groups(sample.sizes, settings)))
    found = [_no_senses(sample, settings)]  # a process may have no other part
    with tqdm(
        total=sum(len(group) for group, *_ in groups),
        desc="senses",
        unit="tok",
        mininterval=1,
        disable=not processes.state().is_main_process,
    ) as bar:
        for group, number, width in groups:
            sizes, tokens = sample.sizes[group], sample.tokens[group]
            places = torch.cat([torch.arange(starts[t], starts[t + 1]) for t in group.tolist()])
            rows, positions = sample.take(places), sample.positions[places]
            if settings.min_states == 1 and width <= settings.k:  # few states: they are the senses
                contexts = torch.full((len(rows), settings.contexts), -1)
                contexts[:, 0] = positions
                numbers, senses = sizes, (rows, torch.ones(len(rows), dtype=torch.int32), contexts)
            else:
                member = torch.arange(width) < sizes[:, None]
                x = torch.zeros(len(group), width, rows.shape[1], dtype=torch.float32)
                where = torch.full(member.shape, -1)
                x[member], where[member] = rows.float(), positions
                numbers, senses = _cluster(x, where, sizes, tokens, number, settings)
            centroids, *others = senses
            offsets, occurrences = starts_of(numbers), sample.occurrences[group]
            found.append(Senses(tokens, offsets, occurrences, centroids.to(dtype), *others))
            bar.update(len(group))
    return join_senses(found)


def _no_senses(sample: Reservoir, settings: SensesParams) -> Senses:
    """The senses of no token."""
    none = torch.empty(0, dtype=torch.int32)
    contexts = torch.empty(0, settings.contexts).long()
    return Senses(none, torch.zeros(1).long(), none.long(), sample.states[0][:0], none, contexts)


def _cluster(
    x: Tensor, positions: Tensor, sizes: Tensor, tokens: Tensor, number: int, settings: SensesParams
) -> tuple[Tensor, tuple]:
    """At most `number` senses of each of G tokens.

    Args:
        x, positions: (G, n, d) float32 and (G, n), the states and where they are from, padded.

    Returns:
        How many senses each token has, (G,); and centroids, counts and contexts of all senses, token by token.
    """
    centroids, assignment = kmeans(x, sizes, tokens.long(), number, settings.seed, settings.iterations)
    centroids, assignment = without_small(x, centroids, assignment, settings.min_states)
    member = assignment[:, None, :] == torch.arange(number)[:, None]  # (G, number, n)
    counts = member.sum(dim=2).to(torch.int32)
    distances = squared_distances(x, centroids).transpose(1, 2).masked_fill_(~member, torch.inf)
    near = distances.topk(min(settings.contexts, x.shape[1]), dim=2, largest=False)
    contexts = torch.full((*counts.shape, settings.contexts), -1)
    nearest = positions[:, None].expand(-1, number, -1).gather(2, near.indices)
    contexts[:, :, : nearest.shape[2]] = nearest.masked_fill(near.values.isinf(), -1)
    full = counts > 0
    return full.sum(dim=1), (centroids[full], counts[full], contexts[full])


def _groups(sizes: Tensor, settings: SensesParams):
    """Tokens of like size, a batch at a time: (indices, number of senses, padded width). Widths are k and then
    doublings of it, whatever the sizes are, so that a token is always padded alike. A larger k than a token can have
    states, or a batch rows, makes none of them wider."""
    number = (sizes // settings.min_states).clamp_max(settings.k)
    lower, width = 0, min(settings.k, settings.reservoir, _ROWS)
    while lower < int(sizes.max()):
        for senses in number[(sizes > lower) & (sizes <= width)].unique().tolist():
            members = ((sizes > lower) & (sizes <= width) & (number == senses)).nonzero().squeeze(1)
            for group in members.split(max(1, _ROWS // width)) if senses else ():
                yield group, senses, width
        lower, width = width, 2 * width
