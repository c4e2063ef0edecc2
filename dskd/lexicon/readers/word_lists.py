"""Plain lists of related words as a source: a pair a line, or a word and all that are related to it.

Such are the pairs of Dict2Vec (Tissier et al. 2017) and the linguistic constraints of counter-fitting
(Mrkšić et al. 2016) and of Attract-Repel (Mrkšić et al. 2017), whose words begin with a language: "en_word".
"""

import re
from collections.abc import Iterator
from pathlib import Path

from dskd.errors import UserError
from dskd.infra.lines import decoded, numbered_lines
from dskd.lexicon.relations import Relation, normalised, sense_name

_LONGEST = 1 << 20  # bytes of a line
_PREFIXED = re.compile(r"([a-z]{2,3})_(.+)")


def relations(path: Path, relation: int, source: str, language: str | None = None) -> Iterator[Relation]:
    """The pairs of a list, all of one relation; the sense is the file's name without its endings.

    A line with tabs is a word and one or more that are related to it. Any other is two words, separated by a comma or,
    without one, by white space. Underscores are spaces. Empty lines and those that begin with "#" are skipped, and so
    are pairs in which something is no word (`lexicon.relations.normalised`).

    Args:
        path: the list in UTF-8, plain or gzip.
        relation: SYNONYM or ANTONYM, which holds for the whole list.
        source: the name that the list has in the lexicon.
        language: where every word has the prefix of its language, the one to keep; others are skipped.

    Raises:
        UserError: the file cannot be read, a line is malformed (the message names it), or no pair is left.
    """
    sense = sense_name(Path(path).name.split(".")[0])
    empty = True
    for number, line in numbered_lines(path, _LONGEST):
        where = f"{path}:{number}"
        text = decoded(line, where).strip()
        if not text or text.startswith("#"):
            continue
        head, *tails = [_word(field, language, where) for field in _fields(text, where)]
        for tail in tails:
            if head and tail and head != tail:
                empty = False
                yield Relation(head, tail, relation, source, sense)
    if empty:
        raise UserError(f"{path} has no pair of words" + (f" of the language {language!r}" if language else ""))


def _fields(text: str, where: str) -> list[str]:
    fields = text.split("\t" if "\t" in text else "," if "," in text else None)
    if len(fields) < 2 or (len(fields) > 2 and "\t" not in text) or not all(map(str.strip, fields)):
        raise UserError(f"{where}: neither two words nor words separated by tabs: {text[:60]!r}")
    return fields


def _word(field: str, language: str | None, where: str) -> str:
    """The word of a field; "" for one of another language, or for what is no word."""
    if language is None:
        return normalised(field)
    prefixed = _PREFIXED.fullmatch(field.strip())
    if not prefixed:
        raise UserError(f"{where}: no language before the word, as in '{language}_word': {field[:60]!r}")
    return normalised(prefixed[2]) if prefixed[1] == language else ""
