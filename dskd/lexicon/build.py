"""From the sources to settled pairs: words held out, negations undone, statements merged, disagreements voted on."""

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from nltk.corpus.reader.wordnet import WordNetCorpusReader

from dskd.errors import UserError
from dskd.lexicon.negation import Polarity, flip, negations
from dskd.lexicon.readers import mythes, word_lists, wordnet
from dskd.lexicon.readers import wiktionary as wiktionary_module
from dskd.lexicon.readers.morphology import Derivations, read_derivations
from dskd.lexicon.readers.wordnet_indirect import indirect_antonyms
from dskd.lexicon.relations import ANTONYM, SYNONYM, Pair, Relation, heldout_pairs, heldout_words, merge
from dskd.lexicon.vote import Conflict, settle
from dskd.params import LexiconParams

_RELATIONS = {"synonyms": SYNONYM, "antonyms": ANTONYM}


class Files(NamedTuple):
    """What the sources gave; all but WordNet may be missing."""

    wordnet: WordNetCorpusReader
    morphology: Path | None = None
    wiktionary: Path | None = None
    mythes: Path | None = None
    lists: Mapping[str, tuple[Path, str | None]] = {}  # "name.synonyms" or "name.antonyms" -> file and language


class Statements(NamedTuple):
    """What the files say, read once and as it stands there."""

    relations: list[Relation]
    indirect: list[Relation]  # antonyms, if they are asked for
    derivations: Derivations  # empty where no negation is to be undone
    words: set[str]  # WordNet's, which are bases of negations


class Settled(NamedTuple):
    """The pairs of a lexicon, and how they came about."""

    words: int  # in the relations
    heldout: set[str]  # of these
    merged: list[Pair]  # before the vote
    pairs: list[Pair]  # after it
    negations: dict[str, Polarity]  # every word whose sign was turned
    conflicts: list[Conflict]


@contextmanager
def collector_off() -> Iterator[None]:
    """No search for cycles in the block: hundreds of thousands of small tuples, none in a cycle, are made there, and
    looking through them again and again is half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_statements(files: Files, settings: LexiconParams) -> Statements:
    """Read every source that is there.

    Raises:
        UserError: a file is missing or not what it should be, or a source that is asked for says nothing.
    """
    relations = _some(wordnet.relations(files.wordnet), "sources.wordnet has no lemmas of one synset and no antonyms")
    if files.wiktionary:
        summary = wiktionary_module.Summary()
        found = wiktionary_module.relations(files.wiktionary, skipped_tags=settings.skipped_tags, summary=summary)
        relations += _some(found, f"{files.wiktionary} has", summary)
    if files.mythes:
        relations += _some(mythes.relations(files.mythes), f"{files.mythes} has no term without a mark or (antonym)")
    for key, (path, language) in files.lists.items():
        name, _, kind = key.partition(".")
        relations += word_lists.relations(path, _RELATIONS[kind], name, language)
    indirect = []
    if settings.indirect_antonyms:
        indirect = _some(indirect_antonyms(files.wordnet), "sources.wordnet has no lexicon.indirect_antonyms")
    derivations = read_derivations(files.morphology) if settings.negations else {}
    words = {lemma.replace("_", " ") for lemma in files.wordnet.all_lemma_names()}
    return Statements(relations, indirect, derivations, words)


def _some(relations: Iterable[Relation], lacks: str, summary: object = "") -> list[Relation]:
    """The relations of a source that was asked for; an error where there is none."""
    found = list(relations)
    if not found:
        raise UserError(f"{lacks} {summary}".strip() + ": give another source, or leave it out")
    return found


def settle_pairs(statements: Statements, settings: LexiconParams) -> Settled:
    """Hold words out, undo negations, merge, and vote (docs/lexicon.md).

    Held-out words and pairs lose their relations before negations are undone, so that nothing is derived from these
    either. A held-out pair has no relation at all, not the opposite one either.
    """
    every = [*statements.relations, *statements.indirect]
    words = {word for relation in every for word in relation[:2]}
    heldout = heldout_words(words | statements.words, settings.seed, settings.heldout_share)

    def free(relation: Relation) -> bool:
        return relation.head not in heldout and relation.tail not in heldout

    def kept(relation: Relation) -> bool:
        pair = relation.head, relation.tail
        return free(relation) and (pair if pair[0] < pair[1] else pair[::-1]) not in pairs

    pairs = heldout_pairs((tuple(relation[:2]) for relation in every), settings.seed, settings.heldout_pairs)
    relations = list(filter(kept, statements.relations))
    negated = negations(relations, statements.derivations, statements.words, settings.negations)
    derived = list(chain(flip(relations, negated), statements.indirect))
    pairs |= heldout_pairs((tuple(relation[:2]) for relation in derived), settings.seed, settings.heldout_pairs)
    merged = merge(filter(kept, derived))
    settled, conflicts = settle(merged, settings.weights, settings.negation_weight)
    return Settled(len(words), heldout & words, merged, settled, negated, conflicts)
