"""Wiktionary as a source: the JSON lines that wiktextract makes of it (Ylonen 2022; kaikki.org has them ready).

A line is an entry: a word, its language and part of speech, and its senses. Synonyms and antonyms stand in a sense, or
in the entry where it is not said which sense they belong to. The fields are described in wiktextract's README.
"""

import json
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dskd.errors import UserError
from dskd.infra.lines import numbered_lines
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation, normalised, sense_name

# Tags of a sense or of a linked word which say that the relation does not hold in today's standard English. Words that
# are rare, slang or vulgar mean what they mean today as well: they stay.
SKIPPED_TAGS = frozenset({"obsolete", "archaic", "dated", "dialectal", "nonstandard", "misspelling"})

_LONGEST = 1 << 24  # bytes of a line; parsed, it may take 30 times as much
_NAMED = 5  # bad lines whose numbers are kept
_FEW = 1000  # bad lines that are too few to give up before the end
_KINDS = (("synonyms", SYNONYM), ("antonyms", ANTONYM))
_ANCHOR = re.compile(r"#\w.*", re.DOTALL)  # "bank#Etymology 2"; not that of "C#"
# What a linked word looks like where nothing of the mark-up is left in it: no brackets, colons ("Thesaurus:big"),
# commas or slashes (several words in one), quotation marks or dashes.
_PLAIN = re.compile(r"[\w'’.&+-]+(?: [\w'’.&+-]+)*")


@dataclass
class Summary:
    """What `relations` met; complete when its last relation was taken."""

    lines: int = 0  # without empty ones
    bad: int = 0  # no JSON object, an English entry of another form, or too long
    first_bad: list[int] = field(default_factory=list)  # their numbers, from 1
    entries: int = 0  # English ones with synonyms or antonyms
    forms: int = 0  # senses left out that are a form or a spelling of another word
    tagged: int = 0  # senses and links left out for their tags
    unclear: int = 0  # links left out that are not plainly a word
    relations: int = 0


def relations(
    path: Path, *, skipped_tags: Collection[str] = SKIPPED_TAGS, summary: Summary | None = None
) -> Iterator[Relation]:
    """Synonyms and antonyms of the English entries, in one pass; memory does not grow with the file.

    Left out are senses that are a form or another spelling of a word (`form_of`, `alt_of`), senses and linked words
    with a tag of `skipped_tags`, and linked words that hold more than a word. What the entry has for no sense in
    particular is kept if one of its senses is.

    The sense is "word.part of speech.number of the sense in the entry", as "bank.noun.1"; for what the entry has for no
    sense in particular "bank.noun", followed by the gloss where the link tells one: "bank.noun.edge of river". An entry
    of a numbered etymology has the number after the word: "bank.2.noun.1".

    Bad lines are skipped; one line on stderr says how many there were, and which came first.

    Args:
        path: JSON lines, plain or gzip, of any size; of one language or of all.
        skipped_tags: wiktextract's names of tags.
        summary: filled with what was met.

    Raises:
        UserError: the file cannot be read, most of its lines are bad, or it has no English entry.
    """
    summary = Summary() if summary is None else summary
    skipped_tags = frozenset(skipped_tags)
    english = False
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
            found = _entry(entry, skipped_tags, summary)
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
            summary.bad += 1
            summary.first_bad += [number] * (len(summary.first_bad) < _NAMED)
            if summary.bad > _FEW and 2 * summary.bad > summary.lines:
                break
            continue
        yield from found
    _check(path, english, summary)


def _check(path: Path, english: bool, summary: Summary) -> None:
    lines = ", ".join(map(str, summary.first_bad)) + (", ..." if summary.bad > _NAMED else "")
    bad = f"{summary.bad} of {summary.lines} lines are no entries of wiktextract (lines {lines})"
    if 2 * summary.bad > summary.lines:
        raise UserError(f"{path}: {bad}: expected one JSON object a line, as kaikki.org has them")
    if not english:
        raise UserError(f"{path} has no English entry (lang_code en): fetch wiktextract's English dictionary")
    if summary.bad:
        print(f"{path}: {bad}; skipped", file=sys.stderr)


def _entry(entry: dict, skipped_tags: frozenset[str], summary: Summary) -> list[Relation]:
    head = normalised(entry["word"])
    name = sense_name(head, *([entry["etymology_number"]] if "etymology_number" in entry else []), entry["pos"])
    holders = []  # (name of the sense, what may hold links)
    for number, sense in enumerate(entry["senses"], 1):
        if "form_of" in sense or "alt_of" in sense:
            summary.forms += 1
        elif not skipped_tags.isdisjoint(sense.get("tags", ())):
            summary.tagged += 1
        else:
            holders.append((f"{name}.{number}", sense))
    if holders:
        holders.append((name, entry))
    found = []
    for place, holder in holders if head else ():
        for key, relation in _KINDS:
            for link in holder.get(key, ()):
                tail = _linked(link.get("word", ""))
                if not skipped_tags.isdisjoint(link.get("tags", ())):
                    summary.tagged += 1
                elif not tail:
                    summary.unclear += 1
                elif tail != head:
                    gloss = sense_name(link["sense"]) if holder is entry and link.get("sense") else ""
                    found.append(Relation(head, tail, relation, "wiktionary", f"{place}.{gloss}" if gloss else place))
    summary.entries += 1
    summary.relations += len(found)
    return found


def _linked(text: str) -> str:
    word = normalised(_ANCHOR.sub("", text))
    return word if _PLAIN.fullmatch(word) else ""
