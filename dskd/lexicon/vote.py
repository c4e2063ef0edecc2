"""Pairs that some source calls synonyms and another antonyms: settled by a weighted vote, and listed."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dskd.errors import UserError
from dskd.lexicon.relations import ANTONYM, KINDS, SYNONYM, Pair


class Conflict(NamedTuple):
    word1: str
    word2: str  # after word1 in the alphabet
    synonym_votes: float
    synonym_sources: str  # by alphabet, separated by ", "
    antonym_votes: float
    antonym_sources: str
    verdict: str  # "synonym", "antonym" or "dropped"


def settle(
    pairs: Iterable[Pair], weights: Mapping[str, float], flipped: float = 1.0
) -> tuple[list[Pair], list[Conflict]]:
    """The pairs without those that lose a vote, in their order, and the conflicts by alphabet.

    Each source that calls two words synonyms votes for it with its weight, likewise for antonyms, and the larger sum
    wins, for both directions of the pair. Equal sums say nothing: the pair is dropped.

    A source has one vote however many senses it names: how finely it divides senses is no evidence, and WordNet, which
    divides most finely, would outvote all others. A source that says both, of different senses, votes on both sides, so
    that the others decide, and where there are none the pair is dropped: its words cannot be told apart by a sense
    dictionary that is keyed by words (in WordNet 3.0 six pairs, such as "king" and "queen").

    Args:
        pairs: merged, in any order.
        weights: source -> how far it is trusted, at least 0; log-odds of being right are the best weights of sources
            that err independently (Nitzan and Paroush 1982).
        flipped: what the vote of a pair whose sign comes from undoing a negation is multiplied with.

    Raises:
        UserError: a source has no weight, or a weight is not a number of at least 0.
    """
    for name, weight in (*weights.items(), ("of flipped pairs", flipped)):
        if not 0 <= weight < math.inf:
            raise UserError(f"the weight {name} = {weight!r} must be a number of at least 0")
    pairs = list(pairs)
    votes: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    for pair in pairs:
        if pair.source not in weights:
            raise UserError(f"no weight for the source {pair.source}: there are weights for {', '.join(weights)}")
        vote = weights[pair.source] * (flipped if pair.flipped else 1.0)
        cast = votes.setdefault(_unordered(pair), {}).setdefault(pair.relation, {})
        cast[pair.source] = max(vote, cast.get(pair.source, 0.0))  # once, though it comes in both directions
    verdicts = {words: _conflict(words, cast) for words, cast in sorted(votes.items()) if len(cast) > 1}
    kept = [
        pair
        for pair in pairs
        if (conflict := verdicts.get(_unordered(pair))) is None or conflict.verdict == KINDS[pair.relation]
    ]
    return kept, list(verdicts.values())


def _conflict(words: tuple[str, str], cast: dict[int, dict[str, float]]) -> Conflict:
    synonym, antonym = (math.fsum(cast[relation].values()) for relation in (SYNONYM, ANTONYM))  # exact in any order
    verdict = "synonym" if synonym > antonym else "antonym"
    if math.isclose(synonym, antonym):
        verdict = "dropped"
    return Conflict(
        *words, synonym, ", ".join(sorted(cast[SYNONYM])), antonym, ", ".join(sorted(cast[ANTONYM])), verdict
    )


def _unordered(pair: Pair) -> tuple[str, str]:
    return min(pair.head, pair.tail), max(pair.head, pair.tail)
