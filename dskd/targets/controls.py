"""Controls: the sense targets with one thing taken away or made meaningless, all else equal.

What a control does as well as `lexicon` does not come from what the control lacks.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from dskd.infra.randomness import hash_integers, text_key
from dskd.senses.store import Senses, one_sense

Spans = Mapping[int, list[tuple[int, ...]]]

_LIKE = 10  # heads of the most like degree that exchange their relations


class SenseLexicon(NamedTuple):
    """What can pull and push: senses, and which tokens are related to which spans."""

    senses: Senses
    synonyms: Spans
    antonyms: Spans
    own_push: bool = False  # whether a token's own senses stand among its antonyms'


def controlled(variant: str, lexicon: SenseLexicon, seed: int) -> SenseLexicon:
    """The lexicon as the targets `variant` uses it.

    lexicon      as it is
    related      as it is; positions whose token has no relation are left out (`targets.build_targets`)
    no_antonyms  nothing pushes
    no_synonyms  a token's own senses alone pull
    shuffled     relations exchanged among heads of like degree: as many as before, of the wrong words
    random       each centroid replaced by noise of the centroids' mean and variance in each dimension
    mean         each centroid replaced by the mean of all
    token_mean   one sense a token, the mean of its states
    published    own senses push as well, as in the code that the paper's authors published

    Raises:
        ValueError: no such variant.
    """
    if variant in ("lexicon", "related"):
        return lexicon
    if variant == "no_antonyms":
        return lexicon._replace(antonyms={})
    if variant == "no_synonyms":
        return lexicon._replace(synonyms={})
    if variant == "shuffled":
        return lexicon._replace(synonyms=shuffled(lexicon.synonyms, seed), antonyms=shuffled(lexicon.antonyms, seed))
    if variant == "random":
        return lexicon._replace(senses=noise(lexicon.senses, seed))
    if variant == "mean":
        return lexicon._replace(senses=collapsed(lexicon.senses))
    if variant == "token_mean":
        return lexicon._replace(senses=one_sense(lexicon.senses))
    if variant == "published":
        return lexicon._replace(own_push=True)
    raise ValueError(f"no targets {variant!r}")


def shuffled(relations: Spans, seed: int) -> Spans:
    """The same heads and the same lists of related words, each list with another head.

    Heads are ordered by degree, those of one degree by a hash of (seed, head), and cut into groups of about
    ten; within a group each head takes the next one's list. No head keeps its own, unless it is alone.
    """
    drawn = dict(zip(relations, hash_integers(seed, list(relations)).tolist()))
    heads = sorted(relations, key=lambda head: (len(relations[head]), drawn[head], head))
    taken = {}
    groups = max(1, len(heads) // _LIKE)
    for group in range(groups):
        members = heads[group * len(heads) // groups : (group + 1) * len(heads) // groups]
        for head, giver in zip(members, [*members[1:], *members[:1]]):
            taken[head] = relations[giver]
    return {head: taken[head] for head in relations}


def noise(senses: Senses, seed: int) -> Senses:
    """The dictionary with Gaussian centroids of the true ones' mean and variance in each dimension."""
    centroids = senses.centroids.float()
    generator = torch.Generator().manual_seed(seed ^ (text_key("controls.noise") >> 1))
    drawn = torch.randn(centroids.shape, generator=generator)
    drawn = (drawn - drawn.mean(dim=0)) / drawn.std(dim=0, unbiased=False).clamp_min(1e-12)
    fitted = centroids.mean(dim=0) + drawn * centroids.std(dim=0, unbiased=False)
    return senses._replace(centroids=fitted.to(senses.centroids.dtype))


def collapsed(senses: Senses) -> Senses:
    """The dictionary with the mean of all centroids in the place of each: no word has a meaning of its own."""
    mean = senses.centroids.float().mean(dim=0)
    return senses._replace(centroids=mean.expand_as(senses.centroids).to(senses.centroids.dtype).contiguous())
