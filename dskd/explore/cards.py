"""The senses of one word as cards: how often, the synset that fits, what lies near it, and where it was met."""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

import pandas as pd
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dskd.explore.synsets import PARTS_OF_SPEECH, Fit
from dskd.infra.arithmetic import squared_distances
from dskd.lexicon.relations import KINDS
from dskd.lexicon.tokens import word_tokens
from dskd.senses.store import Senses

_NEAREST = 4  # synonyms, and antonyms, that a card names
_BOLD, _DIM, _END = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_COLOURS = {"n": "\x1b[34m", "v": "\x1b[31m", "a": "\x1b[32m", "r": "\x1b[35m"}


class Context(NamedTuple):
    """Where a sense was met, as `senses.contexts` has it."""

    left: str
    right: str
    document: str


class Card(NamedTuple):
    """One sense of a word; `number` counts from 1, the most frequent sense first."""

    number: int
    states: int  # in its cluster: how often it occurs
    fit: Fit
    near: dict[str, list[str]]  # "synonym", "antonym" -> "glad 2", the second sense of glad; the nearest first
    contexts: list[Context]


class Word(NamedTuple):
    text: str
    summary: str  # how many senses and states, or why there are none
    cards: list[Card]
    related: pd.DataFrame  # `words.related_words`
    note: str  # on its relations; empty where there is nothing to say


def nearest_senses(
    senses: Senses, centroid: Tensor, words: Iterable[str], tokenizer: PreTrainedTokenizerBase
) -> list[str]:
    """The words whose nearest sense (L2) lies nearest to a centroid (d,), each with the number of that sense."""
    found = []
    for word, tokens in word_tokens(tokenizer, words).items():
        rows = by_frequency(senses, senses.rows(tokens[0])) if len(tokens) == 1 else []
        if rows:
            distances = squared_distances(centroid.float()[None, None], senses.centroids[rows].float()[None])[0, 0]
            found.append((float(distances.min()), word, int(distances.argmin()) + 1))
    return [f"{word} {number}" for _, word, number in sorted(found)[:_NEAREST]]


def by_frequency(senses: Senses, rows: range) -> list[int]:
    """The senses of a word, the most frequent first: as they are numbered."""
    return sorted(rows, key=lambda row: (-int(senses.counts[row]), row))


def as_text(found: Word, colour: bool = False) -> str:
    """A word for the terminal; where a state is of it, it stands in brackets. What comes from data cannot steer the
    terminal: what is not printable is a space."""
    bold, dim, end = (_BOLD, _DIM, _END) if colour else ("", "", "")
    lines = [f"{bold}{found.text}{end}: {found.summary}"]
    for card in found.cards:
        tint = _COLOURS.get(card.fit.pos, "") if colour else ""
        lines += ["", f"{bold}{tint}{card.number:>3} {_title(card)}{end}"]
        for kind, near in card.near.items():
            lines += [f"    near its {kind}s: {', '.join(near)}"] if near else []
        for text in card.contexts:
            source = text.document and f"  {dim}({text.document}){end}"
            lines.append(f"      {text.left} [{bold}{found.text}{end}]{text.right}{source}")
    return "\n".join(_shown(line, colour) for line in [*lines, *_relations(found)])


def printable(text: str) -> str:
    """The text in one line of as many characters: what cannot be printed is a space."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _shown(line: str, colour: bool) -> str:
    """The line with our own colours, where there are any, and nothing else that a terminal would obey."""
    parts = re.split(r"(\x1b\[(?:[0-2]|3[1-5])m)", line) if colour else [line]
    return "".join(part if i % 2 else printable(part) for i, part in enumerate(parts))


def _title(card: Card) -> str:
    states = f"{card.states} state{'' if card.states == 1 else 's'}"
    fit = card.fit
    if not fit.synset:
        return f"not in WordNet, {states}"
    votes = f", {fit.votes} of its contexts in the gloss" if fit.votes else ""
    return f"{PARTS_OF_SPEECH[fit.pos]}, {states}; {fit.synset} ({fit.share:.0%} sure{votes}): {fit.definition}"


def _relations(found: Word) -> list[str]:
    width = max(map(len, found.related["word"]), default=0)
    if not len(found.related):
        return ["", f"synonyms and antonyms: {found.note}"]
    lines = []
    for kind in KINDS.values():
        rows = found.related[found.related["relation"] == kind]
        lines += ["", f"{kind}s{f' ({found.note})' if found.note else ''}:{'' if len(rows) else ' none'}"]
        for _, word, source, senses, undone in rows.itertuples(index=False):
            lines.append(f"  {word:<{width}}  {source}{', negation undone' if undone else ''}: {senses}")
    return lines


def in_colour() -> bool:
    """Whether stdout is a terminal that shows colours, and NO_COLOR is not set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def as_html(found: Word) -> str:
    """The cards of a word as a table, the word in bold; all that comes from data is escaped."""
    heads = ["sense", "states", "synset that fits best", "how surely", "nearest synonyms", "nearest antonyms"]
    heads.append("nearest contexts")
    rows = "".join(f"<tr>{''.join(map(_cell, _fields(found.text, card)))}</tr>" for card in found.cards)
    title = f"<p><b>{escape(found.text)}</b>: {escape(found.summary)}</p>"
    head = "".join(f"<th style='text-align: left'>{name}</th>" for name in heads)
    return title + (f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else "")


def _fields(word: str, card: Card) -> Sequence[str]:
    fit = card.fit
    contexts = (f"{escape(c.left)} <b>{escape(word)}</b>{escape(c.right)}" for c in card.contexts)
    synset = escape(f"{PARTS_OF_SPEECH[fit.pos]}, {fit.synset}: {fit.definition}") if fit.synset else "not in WordNet"
    near = [escape(", ".join(card.near.get(kind, []))) for kind in KINDS.values()]
    return [
        str(card.number),
        str(card.states),
        synset,
        f"{fit.share:.0%}" if fit.synset else "",
        *near,
        "<br>".join(contexts),
    ]


def _cell(content: str) -> str:
    return f"<td style='text-align: left; vertical-align: top'>{content}</td>"
