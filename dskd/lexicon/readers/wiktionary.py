"""Wiktionary as a source: the JSON lines that wiktextract makes of it (Ylonen 2022; kaikki.org has them ready).

A line is an entry: a word, its language and part of speech, and its senses. Synonyms and antonyms stand in a sense, or
in the entry where it is not said which sense they belong to. The fields are described in wiktextract's README. A field
that an entry lacks may be there as null, as after a way through a table (pandas, Arrow, datasets).
"""

import json
import re
import sys
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dskd.errors import UserError
from dskd.infra.lines import numbered_lines
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation, normalised, plain_word, sense_name

# Tags of a sense or of a linked word which say that the relation does not hold in today's standard English. Words that
# are rare, slang or vulgar mean what they mean today as well: they stay.
SKIPPED_TAGS = frozenset({"obsolete", "archaic", "dated", "dialectal", "nonstandard", "misspelling"})

_LONGEST = 1 << 24  # bytes of a line; parsed, it may take 30 times as much
_NAMED = 5  # bad lines whose numbers are kept
_FEW = 1000  # bad lines that are too few to give up before the end
_KINDS = (("synonyms", SYNONYM), ("antonyms", ANTONYM))
_ANCHOR = re.compile(r"#\w.*", re.DOTALL)  # "bank#Etymology 2"; not that of "C#"
# What stands where words should: a remark to the reader, several words in one, a word with the number of a note.
_REMARK = re.compile(r"(see (also|thesaurus|under)\b|also |and |etc\b|.+ or |.*[^\W\d_]{3}\d$).*")
_LABELS = re.compile(r"\s*\(([^()]*)\)")  # before a gloss: "(obsolete, UK) a fool"
_LONGEST_GLOSS = 1000  # characters that are compared
_FLAWED = 0.1  # share of senses that list their own word; in a sound extract only words like "sanction" do


@dataclass
class Summary:
    """What `relations` met; complete when its last relation was taken."""

    lines: int = 0  # without empty ones
    bad: int = 0  # no JSON object, an English entry of another form, or too long
    first_bad: list[int] = field(default_factory=list)  # their numbers, from 1
    entries: int = 0  # English ones with synonyms or antonyms
    forms: int = 0  # senses left out that are a form or a spelling of another word
    tagged: int = 0  # senses and links left out for their tags, and links of such senses
    unclear: int = 0  # links left out that are not plainly a word
    mistaken: int = 0  # antonyms left out that are synonyms in truth
    relations: int = 0

    def __str__(self) -> str:
        return (
            f"{self.relations} relations in {self.entries} English entries; left out: {self.forms} senses that are "
            f"forms, {self.tagged} senses and links for their tags, {self.unclear} links that are not plainly a word, "
            f"{self.mistaken} antonyms that are synonyms in truth"
        )


def relations(
    path: Path, *, skipped_tags: Collection[str] = SKIPPED_TAGS, summary: Summary | None = None
) -> Iterator[Relation]:
    """Synonyms and antonyms of the English entries, in one pass; memory does not grow with the file.

    Left out are senses that are a form or another spelling of a word (`form_of`, `alt_of`), senses and linked words
    with a tag of `skipped_tags`, and linked words that hold more than a word. What the entry has for no sense in
    particular is kept if one of its senses is, and if the sense that a link tells is none of those left out.

    Wiktionary may name a page of its thesaurus as antonyms. Until December 2025 wiktextract gave that page's antonyms
    for it, which are synonyms of the word, and often list the word itself (wiktextract#1570). The antonyms of a sense
    that does so are left out; and where this is no exception in the file, all that come from a page.

    The sense is "word.part of speech.number of the sense in the entry", as "bank.noun.1"; for what the entry has for no
    sense in particular "bank.noun", followed by the gloss where the link tells one: "bank.noun.edge of river". An entry
    of a numbered etymology has the number after the word: "bank.2.noun.1".

    Bad lines are skipped. A line on stderr says how many there were, and which came first; another what was left out.

    Args:
        path: JSON lines, plain or gzip, of any size; of one language or of all.
        skipped_tags: wiktextract's names of tags.
        summary: filled with what was met.

    Raises:
        UserError: the file cannot be read, most of its lines are bad, or it has no English entry.
    """
    summary = Summary() if summary is None else summary
    skipped_tags = frozenset(skipped_tags)
    english, thesaurus = False, _Thesaurus()
    for number, line in numbered_lines(path, _LONGEST, progress="wiktionary"):
        if line is not None and not (line := line.strip()):
            continue
        summary.lines += 1
        try:
            if line is None or not (line.startswith(b"{") and line.endswith(b"}")):
                raise ValueError("no JSON object")
            # Many entries have neither, and parsing takes nearly all the time. Until the first English entry every
            # line is parsed, so that a file without any is known.
            if english and b'"synonyms"' not in line and b'"antonyms"' not in line:
                continue
            entry = json.loads(line)
            if entry.get("lang_code") != "en":
                continue
            english = True
            found = _entry(entry, skipped_tags, thesaurus, summary)
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
            summary.bad += 1
            summary.first_bad += [number] * (len(summary.first_bad) < _NAMED)
            if summary.bad > _FEW and 2 * summary.bad > summary.lines:
                break
            continue
        yield from found
    if thesaurus.flawed > _FLAWED * (thesaurus.flawed + thesaurus.sound):
        summary.mistaken += len(thesaurus.held)
    else:
        summary.relations += len(thesaurus.held)
        yield from thesaurus.held
    _check(path, english, summary)


def _check(path: Path, english: bool, summary: Summary) -> None:
    lines = ", ".join(map(str, summary.first_bad)) + (", ..." if summary.bad > _NAMED else "")
    bad = f"{summary.bad} of {summary.lines} lines are no entries of wiktextract (lines {lines})"
    if 2 * summary.bad > summary.lines:
        raise UserError(f"{path}: {bad}: expected one JSON object a line, as kaikki.org has them")
    if not english:
        raise UserError(f"{path} has no English entry (lang_code en): fetch wiktextract's English dictionary")
    print(f"{path}: {summary}", file=sys.stderr)
    if summary.bad:
        print(f"{path}: {bad}; skipped", file=sys.stderr)


@dataclass
class _Thesaurus:
    """Antonyms from pages of the thesaurus, which are held back until it is known whether they are antonyms."""

    flawed: int = 0  # senses whose antonyms from a page list the word itself
    sound: int = 0  # the other senses with antonyms from a page
    held: list[Relation] = field(default_factory=list)


class _Senses(NamedTuple):
    """The senses of an entry, told apart."""

    holders: list[tuple[str, dict]]  # name of each that is kept, and what may hold links: its sense, last the entry
    kept: list[str]  # what they mean (`_glosses`), sorted
    dropped: list[str]  # what the others mean


def _entry(entry: dict, skipped_tags: frozenset[str], thesaurus: _Thesaurus, summary: Summary) -> list[Relation]:
    head = normalised(entry["word"])
    senses = _senses(entry, head, skipped_tags, summary)
    found, held = [], []
    for place, holder in senses.holders if head else ():
        for key, relation in _KINDS:
            links = _given(holder, key, list, [])
            pages = {_page(link) for link in links} - {"", head} if relation == ANTONYM else set()
            if pages and any(_page(link) in pages and normalised(link["word"]) == head for link in links):
                thesaurus.flawed += 1
                summary.mistaken += len(links)
                continue
            thesaurus.sound += bool(pages)
            for link in links:
                tail, means = _linked(_given(link, "word", str, "")), _given(link, "sense", str, "")
                of_dropped = holder is entry and _is_among(means, senses.dropped) and not _is_among(means, senses.kept)
                if of_dropped or not skipped_tags.isdisjoint(_tags(link) | _labels(means)):
                    summary.tagged += 1
                elif not tail:
                    summary.unclear += 1
                elif tail != head:
                    gloss = sense_name(means) if holder is entry and means else ""
                    of = Relation(head, tail, relation, "wiktionary", f"{place}.{gloss}" if gloss else place)
                    (held if _page(link) in pages else found).append(of)
    thesaurus.held += held
    summary.entries += 1
    summary.relations += len(found)
    return found


def _senses(entry: dict, head: str, skipped_tags: frozenset[str], summary: Summary) -> _Senses:
    number = _given(entry, "etymology_number", (int, float, str), "")
    number = f"{number:g}" if isinstance(number, float) else number  # a table's round trip makes 1.0 of 1
    name = sense_name(head, *([number] if number != "" else []), entry["pos"])
    found, of_entry = _Senses([], [], []), _tags(entry)
    for count, sense in enumerate(_given(entry, "senses", list, []), 1):
        is_form = bool(_given(sense, "form_of", object, None) or _given(sense, "alt_of", object, None))
        is_tagged = not skipped_tags.isdisjoint(of_entry | _tags(sense))
        summary.forms += is_form
        summary.tagged += is_tagged and not is_form
        (found.dropped if is_form or is_tagged else found.kept).extend(_glosses(sense))
        if not (is_form or is_tagged):
            found.holders.append((f"{name}.{count}", sense))
    if found.holders:
        found.holders.append((name, entry))
    found.kept.sort()
    found.dropped.sort()
    return found


def _given(holder: dict, key: str, kind, default):
    """The value of a field, of this kind; `default` where it is missing, null or NaN. A TypeError if it is another."""
    value = holder.get(key)
    if value is None or value != value:
        return default
    if not isinstance(value, kind):
        raise TypeError(f"{key} is {value!r:.60}")
    return value


def _tags(holder: dict) -> set[str]:
    """Tags of an entry, a sense or a link, also where wiktextract left them as they are written."""
    raw = {tag.lower() for tag in _given(holder, "raw_tags", list, [])}
    raw |= _labels(f"({_given(holder, 'qualifier', str, '')})")
    return raw.union(_given(holder, "tags", list, []), *map(_labels, _given(holder, "raw_glosses", list, [])))


def _labels(gloss: str) -> set[str]:
    found = _LABELS.match(gloss)
    return {label.strip().lower() for label in re.split("[,;]| or | and ", found[1])} if found else set()


def _glosses(sense: dict) -> list[str]:
    """What a sense means: each gloss as its words, with a space after each, since beginnings are compared."""
    return list(map(_words, _given(sense, "glosses", list, []) + _given(sense, "raw_glosses", list, [])))


def _words(gloss: str) -> str:
    return "".join(f"{word} " for word in re.findall(r"\w+", gloss.lower()))


def _is_among(means: str, glosses: list[str]) -> bool:
    """Whether one of the sorted glosses begins with what a link says of its sense, or the other way round."""
    if not glosses or not (words := _words(means[:_LONGEST_GLOSS])):
        return False

    def next_to(beginning: str) -> str:
        place = bisect_left(glosses, beginning)
        return glosses[place] if place < len(glosses) else ""

    beginnings = (words[: match.end()] for match in re.finditer(" ", words))
    return next_to(words).startswith(words) or any(next_to(beginning) == beginning for beginning in beginnings)


def _page(link: dict) -> str:
    """The page of Wiktionary's thesaurus that a link is from: "brief" of "Thesaurus:brief"; else ""."""
    space, _, page = _given(link, "source", str, "").partition(":")
    return normalised(page) if space.strip().lower() in ("thesaurus", "wikisaurus") else ""


def _linked(text: str) -> str:
    word = plain_word(_ANCHOR.sub("", text))
    return "" if _REMARK.fullmatch(word) else word
