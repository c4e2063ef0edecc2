"""What the page of senses holds: words, senses, contexts, relations and what students make of them, as columns."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dskd.explore.cards import by_frequency, printable
from dskd.explore.landing import Landing
from dskd.explore.packing import Window, join_windows, smallest
from dskd.explore.synsets import Fit, WordNetWords
from dskd.explore.words import Vocabulary
from dskd.lexicon.relations import ANTONYM, SYNONYM, heldout_words
from dskd.params import LexiconParams
from dskd.senses.store import Senses

DIMENSIONS = 24  # of a vector, of those with the largest variance
_STEPS = 10  # of a vector's code within the standard deviation of its first dimension
_WIDEST = "\uffff"  # characters beyond it count as two in JavaScript, and as no letters
_PARTS = ("", "n", "v", "a", "r")


def word_columns(vocabulary: Vocabulary, wordnet: WordNetWords, lexicon: LexiconParams) -> dict:
    """The words, how many senses each has on the page, and why some have none."""
    lemmas = {lemma.lower() for synset in wordnet.synsets.values() for lemma in synset.lemmas}
    heldout = heldout_words(lemmas, lexicon.seed, lexicon.heldout_share)
    words = vocabulary.words
    return {
        "words": words,
        "occurrences": smallest(vocabulary.occurrences),
        "numbers": smallest([len(vocabulary.rows.get(word, ())) for word in words]),
        "held": smallest([word.lower() in heldout for word in words]),
        "left": smallest([word in vocabulary.left for word in words]),
    }


def sense_columns(senses: Senses, order: Sequence[int], fits: Mapping[int, Fit]) -> dict:
    """One entry a sense, in the order of the page."""
    chosen = [fits[row] for row in order]
    definitions = {fit.synset: fit.definition for fit in chosen}
    names = sorted(definitions)
    place = {name: i for i, name in enumerate(names)}
    return {
        "counts": smallest(senses.counts[list(order)].numpy()),
        "pos": smallest([_PARTS.index(fit.pos) for fit in chosen]),
        "synset": smallest([place[fit.synset] for fit in chosen]),
        "sure": smallest([round(100 * fit.share) for fit in chosen]),
        "votes": smallest([fit.votes for fit in chosen]),
        "synsets": names,
        "definitions": [definitions[name] for name in names],
    }


class Code(NamedTuple):
    """How vectors become bytes: their coordinates along the dimensions with the largest variance, in equal steps."""

    mean: Tensor  # (d,) float64
    axes: Tensor  # (d, DIMENSIONS) float64
    step: float
    variance: float  # the share of it that these dimensions have

    def of(self, vectors: Tensor) -> np.ndarray:
        """(n, d) -> (n, dimensions) int8."""
        found = ((vectors.double() - self.mean) @ self.axes / self.step).round()
        return found.clamp(-127, 127).to(torch.int8).numpy()


def fit_code(centroids: Tensor, dimensions: int = DIMENSIONS) -> Code:
    """Principal components of (n, d) centroids; the largest entry of each axis is positive, so that it has one sign."""
    vectors = centroids.double()
    mean = vectors.mean(dim=0)
    values, axes = torch.linalg.eigh((vectors - mean).T @ (vectors - mean) / len(vectors))
    values, axes = values.flip(0), axes.flip(1)[:, :dimensions]
    axes = axes * axes.gather(0, axes.abs().argmax(dim=0)[None]).sign()
    step = float(values[0].clamp_min(1e-12).sqrt()) / _STEPS
    return Code(mean, axes, step, float(values[:dimensions].sum() / values.sum().clamp_min(1e-12)))


def context_columns(contexts: pd.DataFrame, senses: Senses, rows: Mapping[str, range], most: int) -> dict:
    """The `most` nearest contexts of each sense of these words: the text that they are in, and their places in it."""
    of = {row: (word, i) for word, found in rows.items() for i, row in enumerate(by_frequency(senses, found))}
    rank = contexts.groupby("sense").cumcount().to_numpy()
    positions = senses.contexts[senses.contexts >= 0].numpy()  # in the order of the table's rows
    chosen = np.flatnonzero(contexts["sense"].isin(of).to_numpy() & (rank < most))
    chosen = chosen[np.argsort(positions[chosen], kind="stable")]
    table = contexts.iloc[chosen]
    columns = (map(printable, table[name]) for name in ("document", "left", "token", "right"))  # a line each
    windows = [Window(*row) for row in zip(*columns)]
    joined = join_windows(windows)
    text = "\n".join(joined.lines)
    wide = [place for place, character in enumerate(text) if character > _WIDEST]
    places = joined.places + np.searchsorted(wide, joined.places)
    return {
        "text": text,
        "gaps": smallest(np.diff(places, prepend=0)),
        "within": smallest([of[row][1] for row in table["sense"]]),
        "ranks": smallest(rank[chosen]),
        "tails": smallest([_letters(window.right) for window in windows]),
    }


def _letters(text: str) -> int:
    """How many letters a text begins with: those of the same word in the next token."""
    ends = (i for i, character in enumerate(text) if not character.isalpha() or character > _WIDEST)
    return next(ends, len(text))


def relation_columns(table: pd.DataFrame, words: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> dict:
    """Synonyms and antonyms of the words as numbers of names: the words, then others, which are several tokens.

    Those that most synsets support come first, as in `words.related_words`.
    """
    # By the form as it is looked up: "banks" has the relations of "bank".
    pairs = table.assign(head=table["form"].str.lower())
    pairs = pairs.drop_duplicates(["head", "tail", "relation", "source", "sense"])
    support = (pairs["sense"].str.count(";") + 1).groupby([pairs["head"], pairs["relation"], pairs["tail"]]).sum()
    pieces = {
        tail: [tokenizer.decode(token).strip() for token in span]
        for tail, span in zip(table["tail"], table["tail_tokens"])
    }
    known = {word: i for i, word in enumerate(words)}
    others = sorted(set(pieces) - known.keys())
    known |= {other: len(words) + i for i, other in enumerate(others)}
    found: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for (head, relation, tail), number in support.items():
        found.setdefault((head, relation), []).append((-int(number), tail))
    columns = {"others": [f"{printable(other)}\t{printable(' + '.join(pieces[other]))}" for other in others]}
    for name, relation in (("synonym", SYNONYM), ("antonym", ANTONYM)):
        related = [[known[tail] for _, tail in sorted(found.get((word, relation), ()))] for word in words]
        columns[f"{name}Counts"] = smallest([len(tails) for tails in related])
        columns[f"{name}s"] = smallest([tail for tails in related for tail in tails])
    return columns


def landing_columns(landing: Landing, code: Code, order: Sequence[int], rows: Mapping[str, range]) -> dict:
    """Where the contexts are in each model: one entry a context, all of one model before those of the next."""
    place = {row: i for i, row in enumerate(order)}
    first = landing.contexts["word"].map({word: min(place[row] for row in rows[word]) for word in landing.words})
    landed = [pd.Series(nearest).map(place) - first for nearest in landing.nearest.values()]
    vectors = torch.cat(list(landing.states.values())) if landing.states else code.mean[None][:0]
    return {
        "landOf": smallest(landing.contexts["sense"].map(place)),
        "landRank": smallest(landing.contexts["rank"]),
        "landed": smallest(np.concatenate([[], *landed])),
        "landVectors": code.of(vectors).T.ravel(),
    }
