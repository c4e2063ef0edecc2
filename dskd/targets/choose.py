"""Which senses pull and push each position of the corpus (docs/method.md, section 4).

The nearest senses depend on the teacher alone, so they are chosen once, before any student trains.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from dskd.errors import UserError
from dskd.infra.arithmetic import squared_distances
from dskd.infra.randomness import text_key, uniform
from dskd.params import TargetsParams
from dskd.senses.store import Senses, compose_span
from dskd.states.store import States, take_positions
from dskd.targets.controls import SenseLexicon, Spans, controlled
from dskd.targets.store import SenseTargets

_POSITIONS = text_key("targets.positions")  # keeps these draws apart from those of the sample, of the same positions


class Candidates(NamedTuple):
    own: Tensor  # rows of the token's senses
    synonyms: Tensor  # rows of its synonyms' senses
    antonyms: Tensor


def trimmed_lexicon(senses: Senses, synonyms: Spans, antonyms: Spans, settings: TargetsParams) -> SenseLexicon:
    """The best supported related words of each token, as many as the settings allow."""
    most = (synonyms, settings.max_synonyms), (antonyms, settings.max_antonyms)
    return SenseLexicon(senses, *({token: spans[:n] for token, spans in table.items()} for table, n in most))


def span_table(senses: Senses, *relations: Spans) -> tuple[Tensor, dict[tuple[int, ...], range]]:
    """All vectors, dictionary first and the composed spans of `relations` after it, and the rows of every span."""
    pieces, rows, end = [senses.centroids], {}, len(senses.centroids)
    for span in sorted({span for table in relations for spans in table.values() for span in spans}):
        if len(span) == 1:
            rows[span] = senses.rows(span[0])
            continue
        composed = compose_span(senses, span)
        rows[span] = range(end, end + len(composed))
        pieces.append(composed.to(senses.centroids.dtype))
        end += len(composed)
    return torch.cat(pieces), rows


def candidates(lexicon: SenseLexicon) -> tuple[Tensor, dict[int, Candidates]]:
    """The vectors, and for each token of the dictionary the rows that may pull (own and synonyms) or push.

    Where `own_push` does not say so, a sense of the token itself never pushes, also where the lexicon makes a
    word its own opposite.
    """
    senses, synonyms, antonyms, own_push = lexicon
    vectors, rows = span_table(senses, synonyms, antonyms)

    def gather(spans: list[tuple[int, ...]]) -> Tensor:
        return torch.tensor(sorted({row for span in spans for row in rows[span]}), dtype=torch.int64)

    found = {}
    for token in senses.tokens.tolist():
        own = torch.tensor(senses.rows(token), dtype=torch.int64)
        pushing = gather(antonyms.get(token, []))
        if own_push and len(pushing):
            pushing = torch.cat([pushing, own]).unique()
        elif not own_push:
            pushing = pushing[~torch.isin(pushing, own)]
        found[token] = Candidates(own, gather(synonyms.get(token, [])), pushing)
    return vectors, found


def sample_positions(
    labels: Tensor, related: set[int], known: set[int], settings: TargetsParams
) -> tuple[Tensor, Tensor]:
    """Seeded choice of the positions that are supervised, block by block (docs/method.md, section 4).

    `related_share` of the positions whose token has a relation, at least `related_min`; and as many
    others with own senses.

    Args:
        labels: (n, L) int64.
        related, known: tokens with a relation; tokens with senses.

    Returns:
        Two masks (n, L): supervised with relations, supervised with own senses only.
    """
    n, length = labels.shape
    ranks = torch.from_numpy(uniform(_POSITIONS, settings.seed, torch.arange(n * length).numpy())).view(n, length)
    return lowest_positions(labels, ranks, related, known, settings)


def lowest_positions(
    labels: Tensor, ranks: Tensor, related: set[int], known: set[int], settings: TargetsParams
) -> tuple[Tensor, Tensor]:
    """`sample_positions` with the draws given: those with the lowest `ranks` (n, L) are taken."""
    has_senses = torch.isin(labels, torch.tensor(sorted(known)))
    has_relation = torch.isin(labels, torch.tensor(sorted(related))) & has_senses
    available = has_relation.sum(dim=1)
    wanted = (available.double() * settings.related_share - 1e-9).ceil().long().clamp_min(settings.related_min)
    with_relations = _lowest(ranks, has_relation, torch.minimum(wanted, available))
    own_only = _lowest(ranks, has_senses & ~with_relations, with_relations.sum(dim=1))
    return with_relations, own_only


def _lowest(ranks: Tensor, allowed: Tensor, number: Tensor) -> Tensor:
    """Mask of the `number[i]` allowed entries of row i with the lowest ranks."""
    order = ranks.masked_fill(~allowed, torch.inf).argsort(dim=1, stable=True).argsort(dim=1)
    return allowed & (order < number[:, None])


def build_targets(
    states: States,
    labels: Tensor,
    senses: Senses,
    synonyms: Spans,
    antonyms: Spans,
    settings: TargetsParams,
    variant: str = "lexicon",
) -> SenseTargets:
    """Choose the senses that pull and push every supervised position, by the teacher's state there.

    Args:
        variant: `controls.controlled` lists them. All but "related" supervise the same positions, those that
            the true lexicon gives.

    Raises:
        UserError: no token of the text has a relation whose senses are known.
    """
    lexicon = trimmed_lexicon(senses, synonyms, antonyms, settings)
    vectors, by_token = candidates(lexicon)
    related = {token for token, c in by_token.items() if len(c.synonyms) or len(c.antonyms)}
    with_relations, own_only = sample_positions(labels, related, set(by_token), settings)
    if variant != "lexicon":
        vectors, by_token = candidates(controlled(variant, lexicon, settings.seed))
    if variant == "related":
        own_only = torch.zeros_like(own_only)
    if not with_relations.any():
        raise UserError(
            "no token of the corpus has a synonym or antonym with senses: take more text or a larger lexicon"
        )
    shape = (labels.numel(), settings.neighbours)
    pull, push = torch.full(shape, -1, dtype=torch.int32), torch.full(shape, -1, dtype=torch.int32)
    flat = labels.flatten()
    supervised = (with_relations | own_only).flatten().nonzero().squeeze(1)
    supervised = supervised[flat[supervised].argsort(stable=True)]
    tokens, sizes = flat[supervised].unique_consecutive(return_counts=True)
    groups = zip(tokens.tolist(), supervised.split(sizes.tolist()))
    for token, positions in tqdm(groups, total=len(tokens), desc="targets", unit="tok", mininterval=1):
        own, close, opposite = by_token[token]
        states_here = take_positions(states.hidden_states, positions).float()
        relational = with_relations.flatten()[positions]
        full = torch.cat([own, close]).unique()
        for chosen, rows in ((relational, full), (~relational, own)):
            pull[positions[chosen]] = nearest_rows(states_here[chosen], vectors, rows, settings.neighbours)
        push[positions[relational]] = nearest_rows(states_here[relational], vectors, opposite, settings.neighbours)
    shape = (*labels.shape, settings.neighbours)
    return SenseTargets(vectors, pull.view(shape), push.view(shape))


def nearest_rows(states: Tensor, vectors: Tensor, rows: Tensor, neighbours: int) -> Tensor:
    """For each state the nearest of `vectors[rows]`, nearest first: (n, neighbours) int32, padded with -1."""
    out = torch.full((len(states), neighbours), -1, dtype=torch.int32)
    if len(states) and len(rows):
        distances = squared_distances(states[None], vectors[rows].float()[None])[0]
        near = distances.topk(min(neighbours, len(rows)), dim=1, largest=False).indices
        out[:, : near.shape[1]] = rows[near].to(torch.int32)
    return out
