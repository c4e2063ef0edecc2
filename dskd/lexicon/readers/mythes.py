"""A MyThes thesaurus as a source: the `th_*.dat` files of OpenOffice and LibreOffice.

The format is in the file `data_layout.txt` of MyThes. The first line names the encoding. An entry is a line
`headword|n` and then n lines `(part of speech)|term|term|...`, one a meaning.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from dskd.errors import UserError
from dskd.infra.lines import decoded, numbered_lines
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation, normalised, plain_word, sense_name

# The names that MyThes documents -> Python's; ISCII-DEVANAGARI, which Python lacks, is of no English thesaurus.
ENCODINGS = {
    "UTF-8": "utf-8",
    **{f"ISO8859-{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14)},
    "KOI8-R": "koi8-r",
    "CP-1251": "cp1251",
}
_LONGEST = 1 << 20  # bytes of a line
_HEAD = re.compile(r"(?!\()([^|]+)\|([1-9][0-9]{0,3})")
_MEANING = re.compile(r"\(([^()|]+)\)((?:\|[^|]+)+)")
_ANTONYM = {"antonym", "antonyms", "ant", "opposite", "opposites"}
_MARKED = re.compile(r"([^()\[\]]*)[(\[]([^()\[\]]*)[)\]]")  # "stay in (antonym)", "icy [antonym]"


def relations(path: Path) -> Iterator[Relation]:
    """Synonyms (terms without a mark) and antonyms (terms marked "(antonym)", or of such a meaning) of every headword.

    Terms with any other mark are left out: "(similar term)", "(generic term)", "(related term)". So are, in an
    adjective, the terms without a mark that stand directly before a "(related term)": the English thesaurus made from
    WordNet marks only the last lemma of a related synset ("medicine|medical specialty (related term)" of
    "immunological"), and more than half of such terms are no synonyms. So are terms and headwords that hold more than a
    word ("warm, heated", "(informal) warm"); a line on stderr says how many. The sense is "headword.part of
    speech.number of the meaning".

    Args:
        path: the file, plain or gzip; its index (`th_*.idx`) is not used.

    Raises:
        UserError: the file cannot be read, its encoding is not of ENCODINGS, a line is malformed, a headword has not
            as many meanings as it announces, or there is no entry; the message names the line.
    """
    lines = numbered_lines(path, _LONGEST)
    encoding = _encoding(path, next(lines, (1, b""))[1])
    texts = ((number, decoded(line, f"{path}:{number}", encoding)) for number, line in lines)
    unclear: list[str] = []  # what is left out, for it holds more than a word
    empty = True
    for number, text in texts:
        if not text.strip():
            continue
        if not (entry := _HEAD.fullmatch(text)):
            raise UserError(f"{path}:{number}: no entry `headword|count of meanings`: {text[:60]!r}")
        empty = False
        announced = int(entry[2])
        for count in range(1, announced + 1):
            at, meaning = next(texts, (number + count, ""))
            if not (parts := _MEANING.fullmatch(meaning)):
                raise UserError(
                    f"{path}:{at}: no meaning `(part of speech)|term|...`, "
                    f"though line {number} announces {announced}: {meaning[:60]!r}"
                )
            yield from _meaning(entry[1], parts[1], parts[2][1:].split("|"), count, unclear)
    if empty:
        raise UserError(f"{path} has no entry: expected a thesaurus (th_*.dat) of MyThes")
    if unclear:
        what = f"{len(unclear)} times more than a word in a term, first {unclear[0][:60]!r}"
        print(f"{path}: {what}; skipped", file=sys.stderr)


def _encoding(path: Path, line: bytes | None) -> str:
    name = (line or b"")[:40].decode("ascii", "replace").strip()
    if name.upper() not in ENCODINGS:
        raise UserError(f"{path}:1: no encoding that MyThes has: {name!r}; there are: {', '.join(ENCODINGS)}")
    return ENCODINGS[name.upper()]


def _meaning(written: str, part: str, terms: list[str], number: int, unclear: list[str]) -> Iterator[Relation]:
    head = _word(written, unclear)
    sense = sense_name(head, part, number)
    unmarked = ANTONYM if _says_antonym(part) else SYNONYM
    following = ""  # the mark of the next term that has one
    found = []
    for term in map(str.strip, reversed(terms)):
        if marked := _MARKED.fullmatch(term):
            term, following = marked[1], marked[2].strip().lower()
            if _says_antonym(following):
                found.append((term, ANTONYM))
        elif not (part == "adj" and following == "related term"):
            found.append((term, unmarked))
    for term, relation in reversed(found):
        tail = _word(term, unclear)
        if head and tail and head != tail:
            yield Relation(head, tail, relation, "mythes", sense)


def _says_antonym(mark: str) -> bool:
    return bool(_ANTONYM & set(re.split(r"\W+", mark.lower())))


def _word(term: str, unclear: list[str]) -> str:
    """The word of a term; "" for what is no word, or holds more than one and joins `unclear`."""
    word = plain_word(re.sub(r"(?<=\w)/(?=\w)", "", term))  # "km/h" and "on/off switch" are words here
    if any(map(str.isalpha, term)) and not word:
        unclear.append(term)
    return normalised(term) if word else ""
