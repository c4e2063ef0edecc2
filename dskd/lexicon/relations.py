"""Pairs of words: what a source yields, how sources merge, and which words are held out.

A source is a function that yields `Relation`; nothing here knows where they come from, nor of tokens.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from dskd.infra.randomness import text_key, uniform

SYNONYM, ANTONYM = 1, -1
KINDS = {SYNONYM: "synonym", ANTONYM: "antonym"}

# These keep the draws apart from others that use the same seed.
_HELDOUT, _HELDOUT_PAIRS = text_key("lexicon.heldout"), text_key("lexicon.heldout_pairs")


Span = tuple[int, ...]  # the tokens of a word


class Relation(NamedTuple):
    head: str  # lower case, words separated by spaces
    tail: str
    relation: int  # SYNONYM or ANTONYM
    source: str
    sense: str  # the source's name for the sense that holds the relation
    flipped: bool = False  # the sign comes from undoing a negation (docs/method.md, section 2.2)


class Pair(NamedTuple):
    """A merged pair: all that one source says of (head, tail, relation)."""

    head: str
    tail: str
    relation: int
    source: str
    senses: tuple[str, ...]  # sorted, without duplicates
    flipped: bool  # true where every statement of it was flipped


def merge(relations: Iterable[Relation]) -> list[Pair]:
    """Both directions of every relation, one pair a (head, tail, relation, source), sorted by these.

    A word is never related to itself. The result does not depend on the order of `relations`.
    """
    senses: dict[tuple[str, str, int, str], set[str]] = {}
    plain = set()
    for relation in relations:
        if relation.head == relation.tail:
            continue
        for head, tail in ((relation.head, relation.tail), (relation.tail, relation.head)):
            key = (head, tail, relation.relation, relation.source)
            senses.setdefault(key, set()).add(relation.sense)
            if not relation.flipped:
                plain.add(key)
    return [Pair(*key, tuple(sorted(senses[key])), key not in plain) for key in sorted(senses)]


def ranked_spans(rows: Iterable[tuple[int, str, Span, int]]) -> dict[int, list[Span]]:
    """Head token -> the related words as spans of tokens, those that most senses support first, then by alphabet.

    Args:
        rows: head token, related word, its tokens, and how many senses support the pair; a pair may come again.
    """
    support: dict[int, dict[Span, tuple[int, str]]] = {}
    for head, tail, span, senses in rows:
        spans = support.setdefault(head, {})
        count, word = spans.get(span, (0, tail))
        spans[span] = (count - senses, min(word, tail))  # negative: the largest sorts first
    return {head: sorted(spans, key=spans.__getitem__) for head, spans in sorted(support.items())}


def heldout_words(words: Iterable[str], seed: int, share: float) -> set[str]:
    """Those of `words` that are held out: about `share` of them, each by a hash of (seed, word) alone."""
    words = sorted(set(words))
    keys = np.array([text_key(word) for word in words], dtype=np.uint64)
    return {word for word, held in zip(words, uniform(_HELDOUT, seed, keys) < share) if held}


def is_heldout(word: str, seed: int, share: float) -> bool:
    """Whether a word (lower case, with spaces) is held out; see `heldout_words` for many at once."""
    return bool(uniform(_HELDOUT, seed, text_key(word)) < share)


def heldout_pairs(pairs: Iterable[tuple[str, str]], seed: int, share: float) -> set[tuple[str, str]]:
    """Those of `pairs` that are held out, each in alphabetical order: about `share` of them, by a hash of seed and the
    two words alone, whatever their order."""
    ordered = sorted({(a, b) if a < b else (b, a) for a, b in pairs}) if share else []
    keys = np.array([text_key(f"{a}\n{b}") for a, b in ordered], dtype=np.uint64)
    return {pair for pair, held in zip(ordered, uniform(_HELDOUT_PAIRS, seed, keys) < share) if held}


LONGEST = 255  # characters; a longer title does not fit into MediaWiki either (255 bytes)
_LONGEST_PART = 100  # characters of a part of a sense's name
_WRITTEN = str.maketrans({"_": " ", "\u2019": "'", "\u02bc": "'"})  # the apostrophes of print


def normalised(text: str) -> str:
    """A word in lower case and NFC, with single spaces, also for underscores, and with plain apostrophes; "" if `text`
    is no word.

    A word has a letter, no control, format or surrogate characters, and at most LONGEST characters.
    """
    if len(text) > 2 * LONGEST:  # before anything that takes time; NFC may halve it
        return ""
    word = unicodedata.normalize("NFC", " ".join(text.lower().translate(_WRITTEN).split()))
    kept = len(word) <= LONGEST and word.isprintable() and any(map(str.isalpha, word))
    return word if kept else ""


# Letters and what words are written with. Of all else it cannot be told whether it is part of a word, of mark-up or of
# a note, or stands between two words.
_PLAIN = re.compile(r"[\w'.&+-]+(?: [\w'.&+-]+)*")


def plain_word(text: str) -> str:
    """`normalised`, if the word is of letters, digits, spaces and the characters ' . & + - alone; else ""."""
    word = normalised(text)
    return word if _PLAIN.fullmatch(word) else ""


def sense_name(*parts: object) -> str:
    """Parts joined by full stops, in one line: "bank.noun.1".

    Each is cut to 100 characters, and ";", which separates the senses in the lexicon's table, becomes ",".
    """
    name = ".".join(str(part)[:_LONGEST_PART] for part in parts).replace(";", ",")
    if not name.isprintable():
        name = "".join(char if char.isprintable() else " " for char in name)
    return " ".join(name.split())
