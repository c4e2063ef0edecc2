"""Substitution in context: how much likelier is a related word than an unrelated one, where its relative stands?

At a place of held-out text stands a word. The measure is log p(related | context) - log p(unrelated | context), in
nats.
All three are one token with a space before it, and the unrelated word is about as frequent in the training text as the
related one and of its part of speech. The context is what stands before the word, up to `_CONTEXT` tokens.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dskd.infra.artifacts import reading
from dskd.infra.randomness import hash_integers, text_key
from dskd.lexicon.relations import ANTONYM, SYNONYM
from dskd.lexicon.rungs import RUNGS, Trained, rung_of
from dskd.lexicon.tokens import word_tokens
from dskd.model.inference import Choices, Models, log_likelihoods
from dskd.model.tokenizer import before_text
from dskd.params import LexiconParams
from dskd.scores.lexical_choice import Vocabulary, alike, partners, related_words

KINDS = {"synonym": SYNONYM, "antonym": ANTONYM}
_CONTEXT = 64  # tokens that are read at most
_LEAST = 16  # and at least, or little could be told of the word
_NEAREST = 8  # the unrelated word is drawn from so many nearest in frequency
_SEED = text_key("tasks.in_context")


class HeldoutText(NamedTuple):
    """Held-out blocks, and how often each token occurs in the training text."""

    blocks: Tensor  # (m, L + 1)
    documents: Sequence[str]  # (m,)
    counts: Tensor  # (V,) int64


class Place(NamedTuple):
    """A word in held-out text, a word related to it, and one that is not."""

    kind: str  # a key of KINDS
    rung: str
    id: str  # "synonym:big:12:40": the kind, the word, its block, its place there
    document: str
    word: str
    related: str
    unrelated: str


@reading("WordNet", "sources")
def find_places(
    text: HeldoutText,
    lexicon: LexiconParams,
    vocabulary: Vocabulary,
    trained: Trained,
    tokenizer: PreTrainedTokenizerBase,
    settings: tuple[int, int],
) -> list[Place]:
    """Places of each kind and rung, as many as there are but at most so many, in an order that is drawn: at most one a
    word and document. Where there is none at all, one line says so.

    Args:
        settings: the seed, and how many of each kind and rung.
    """
    seed, most = settings
    tokens = single_tokens(vocabulary, tokenizer)
    word_of, rung = {token: word for word, token in tokens.items()}, rung_of(lexicon, trained)
    frequent, going_on = _by_frequency(vocabulary, tokens, text.counts), _going_on(tokenizer)

    # All words with relatives, each with those of one kind and rung.
    found: dict[tuple[str, str], list[tuple]] = {(kind, of): [] for kind in KINDS for of in RUNGS}
    for block, row in enumerate(text.blocks.tolist()):
        for place in range(_LEAST, len(row) - 1):
            if (word := word_of.get(row[place])) is None or row[place + 1] in going_on:
                continue
            for kind, relation in KINDS.items():
                for other in _relatives(vocabulary, kind, word):
                    if other in tokens and not alike(word, other) and (of := rung(word, other, relation)):
                        key = _draw(seed, kind, word, other, block, place)
                        found[kind, of].append((key, block, place, word, other))

    # Some of them, as drawn, each with an unrelated word.
    chosen = []
    for (kind, of), candidates in found.items():
        taken = set()
        for _, block, place, word, other in sorted(candidates):
            if len(taken) == most:
                break
            document = text.documents[block]
            unrelated = None if (word, document) in taken else _unrelated(vocabulary, frequent, word, other, seed)
            if unrelated:
                taken.add((word, document))
                name = f"{kind}:{word}:{block}:{place}"
                chosen.append(Place(kind, of, name, document, word, other, unrelated))
    if not chosen:
        print(
            f"no word of the held-out text has a relative to be put in its place: {len(tokens)} words of WordNet are "
            "one token of this tokenizer; scores in context are left out",
            file=sys.stderr,
        )
    return chosen


def _going_on(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens that go on with the word before them, as "acean" does with " crust": they begin with a letter."""
    ids = range(len(tokenizer))
    written, texts = tokenizer.convert_ids_to_tokens(ids), tokenizer.batch_decode([[token] for token in ids])
    spaced = (" ", "\u0120", "\u2581")  # how tokenizers write a space, which decoding one token may leave out
    pairs = enumerate(zip(written, texts))
    return {i for i, (form, text) in pairs if text[:1].isalpha() and not (form or "").startswith(spaced)}


def in_context_rows(models: Models, text: HeldoutText, places: Sequence[Place]) -> list[dict]:
    """One row a model and place: model, what the place consists of, and value, the difference in nats."""
    words = {word for place in places for word in (place.related, place.unrelated)}
    tokens, beginning = word_tokens(models.tokenizer, words), before_text(models.tokenizer)
    asked = [_choices(text, place, tokens, beginning) for place in places]
    return [
        {"model": model, **place._asdict(), "value": round(related - unrelated, 5)}
        for model, items in log_likelihoods(models, asked).items()
        for place, ((related, _), (unrelated, _)) in zip(places, items)
    ]


def _choices(
    text: HeldoutText, place: Place, tokens: Mapping[str, tuple[int, ...]], beginning: Sequence[int]
) -> Choices:
    block, at = map(int, place.id.rsplit(":", 2)[1:])
    context = text.blocks[block, max(len(beginning), at - _CONTEXT) : at].tolist()
    return Choices([*beginning, *context], [list(tokens[word]) for word in (place.related, place.unrelated)])


def single_tokens(vocabulary: Vocabulary, tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Usable word -> its token, of those that are one token after a space."""
    return {word: span[0] for word, span in word_tokens(tokenizer, vocabulary.pos).items() if len(span) == 1}


def _relatives(vocabulary: Vocabulary, kind: str, word: str) -> set[str]:
    """The synonyms or antonyms of a word in the senses of its main part of speech, those of that part of speech."""
    pos = vocabulary.pos[word]
    keys = [(pos, offset) for offset in vocabulary.index[word, pos]]
    found = {
        other
        for key in keys
        if word in vocabulary.synsets[key].lemmas
        for other, _ in partners(vocabulary, kind, word, key)
    }
    return {other for other in found if vocabulary.pos.get(other) == pos}


def _by_frequency(vocabulary: Vocabulary, tokens: dict[str, int], counts: Tensor) -> dict[str, list[str]]:
    """Part of speech -> its words of one token, the rarest in the training text first; ties not by alphabet."""
    number = {word: int(counts[token]) for word, token in tokens.items()}
    order = sorted(tokens, key=lambda word: (number[word], text_key(word)))
    return {pos: [word for word in order if vocabulary.pos[word] == pos] for pos in "nvar"}


def _unrelated(vocabulary: Vocabulary, frequent: dict[str, list[str]], word: str, other: str, seed: int) -> str | None:
    """A word about as frequent as `other` that neither word is related to; None where there is none."""
    banned = related_words(vocabulary, word) | related_words(vocabulary, other)
    fitting = []
    for near in _outwards(frequent[vocabulary.pos[other]], other):
        if near not in banned and not alike(near, word) and not alike(near, other):
            fitting.append(near)
            if len(fitting) == _NEAREST:
                break
    return fitting[_draw(seed, "unrelated", word, other) % len(fitting)] if fitting else None


def _outwards(ranked: Sequence[str], word: str) -> Iterator[str]:
    """The words around one in a ranking, the nearest first."""
    here = ranked.index(word)
    for distance in range(1, len(ranked)):
        for place in (here - distance, here + distance):
            if 0 <= place < len(ranked):
                yield ranked[place]


def _draw(*keys: int | str) -> int:
    return int(hash_integers(_SEED, *(np.uint64(text_key(key)) if isinstance(key, str) else key for key in keys)))
