"""Plain lists of related words as a source: a pair a line, or a word and all that are related to it.

Such are the pairs of Dict2Vec (Tissier et al. 2017) and the linguistic constraints of counter-fitting
(Mrkšić et al. 2016) and of Attract-Repel (Mrkšić et al. 2017), whose words begin with a language: "en_word".

A table of another kind has words in it, too. What shows that it is one (a header, a column of labels, a separator that
is not taken) is an error, since each of its rows would give pairs that nobody meant.
"""

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dskd.errors import UserError
from dskd.infra.lines import decoded, numbered_lines
from dskd.lexicon.relations import Relation, normalised, sense_name

_LONGEST = 1 << 20  # bytes of a line
_TAKEN = "a line is two words, with a space or a comma between them, or a word and its related words with tabs between"
_PREFIXED = re.compile(r"([a-z]{2,3})_(.+)")

# What no word of a list has: what stands between words, around them or before them.
_NO_WORD = re.compile(
    r"[^\w\s'’.&+!?%$#@\u0300-\u036f-]|^\d+\.\s|^[-+!#]|(?<=\s)#|(?<=\w)@(?=\w)|^['‘’`].*['’`]$", re.DOTALL
)
# Of a row of three columns or more: what stands there beside the words.
_LABEL = re.compile(
    r"(?i:([nvarsj]|noun|verb|adj(ective)?|adv(erb)?|prep|interj|intj|conj|propn?|adp|nnp?s?|vb[dgnpz]?|jj[rs]?|rb[rs]?)\.?)"
    r"|(?i:syn|(syno|anto|hyper|hypo|mero|holo)nym(s|y|ous)?)"
    r"|(?i:(is|has)_?a|(part|made|member)_?of|(related|similar)_?to|has_?property)"
    r"|ANT|True|False|TRUE|FALSE|nan|null|[-+]?\d*[.,]\d+"
)
_EXPONENT = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)[eE][-+]\d+|[-+]?\d*[.,]\d+[eE]\d+")  # a number that has a letter
# "hot_JJ", "hot.a.01", "hot#a#1", "hot-n", "hot%3", "hot1"
_TAGGED = re.compile(
    r".+([_.#-](n|v|a|r|s|j|nn|vb|jj|rb|noun|verb|adj|adv)([_.#-]?\d+)?|[#%]\d.*)|[^\W\d_]+\d+", re.IGNORECASE
)
_MISSING = {"NaN", "NA", "NULL", "None"}  # what programs write where a table has a gap
_LISTED = re.compile(r"(\d+|[a-z])[.)]?\s", re.IGNORECASE)  # "1 hot", "a. hot"
# What columns are called, without the number or letter at the end ("word1", "word_a").
_COLUMNS = set(
    "word words headword lemma lexeme term terms phrase token entry concept meaning meanings english head tail source "
    "target subject object cue first second left right from to start end query key value type pos label id index pair "
    "relation relations relationship synonym synonyms syn syns antonym antonyms ant ants opposite opposites similar "
    "related original replacement base lhs rhs string text stimulus response one two noun nouns verb verbs adjective "
    "adjectives adverb adverbs".split()
)
_NUMBERED = re.compile(
    r"(word|lemma|term|token|w|adj|noun|verb|synonym|antonym|syn|ant|column|col|field)[\s_-]?[12ab]", re.I
)
_ONE_AND_TWO = re.compile(r"(.{2,}?[\s_-]?)[1a]\n\1[2b]", re.IGNORECASE)  # "string1" and "string2", on two lines
_FEW = 3  # rows; of fewer it cannot be told that a column has the same in all
_MANY = 500  # pairs, which have more than one word in a hundred in each column
_GLOSS = 3  # words


def relations(path: Path, relation: int, source: str, language: str | None = None) -> Iterator[Relation]:
    """The pairs of a list, all of one relation; the sense is the file's name without its endings.

    A line with tabs is a word and one or more that are related to it. Any other is two words, separated by a comma or,
    without one, by white space. Between tabs and commas a word may stand in quotation marks (RFC 4180). Underscores are
    spaces. Empty lines and those that begin with "#" are skipped. So are pairs in which something is no word
    (`lexicon.relations.normalised`); a line on stderr says how many.

    Args:
        path: the list in UTF-8, plain or gzip.
        relation: SYNONYM or ANTONYM, which holds for the whole list.
        source: the name that the list has in the lexicon.
        language: where every word has the prefix of its language, the one to keep; others are skipped.

    Raises:
        UserError: the file cannot be read; a line is malformed (the message names it); the list has a header, columns
            of labels, or words with marks of a language or part of speech; or no pair is left.
    """
    sense = sense_name(Path(path).name.split(".")[0])
    seen = _Seen(path, language)
    found = False
    for number, line in numbered_lines(path, _LONGEST):
        where = f"{path}:{number}"
        text = decoded(line, where).strip(" \r\n")
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        fields = _fields(text, where)
        seen.row(fields, where)
        if "\t" in text or "," not in text:
            seen.separated("\t" in text, where)
        head, *tails = [_word(field, language, where) for field in fields]
        for tail in tails:
            if head and tail and head != tail:
                found = True
                yield Relation(head, tail, relation, source, sense)
            elif "" in (head, tail):
                seen.skipped(where)
    seen.check(found)


def _fields(text: str, where: str) -> list[str]:
    """The words of a line; an error where it is not as `_TAKEN` says. Tabs after two words or more are no fields."""
    separator = "\t" if "\t" in text else "," if "," in text else None
    try:
        rows = csv.reader([text], delimiter=separator or ",", skipinitialspace=True, strict=True)
        fields = next(rows) if separator else text.split()
    except csv.Error as error:
        raise UserError(f"{where}: {error}, in {text[:60]!r}; {_TAKEN}") from None
    while separator == "\t" and len(fields) > 2 and not fields[-1].strip():
        fields.pop()
    if len(fields) < 2 or (len(fields) > 2 and separator != "\t") or not all(map(str.strip, fields)):
        raise UserError(f"{where}: neither two words nor words separated by tabs: {text[:60]!r}; {_TAKEN}")
    for field in fields:
        if mark := _NO_WORD.search(field.strip()):
            what = "quotation marks" if len(mark[0]) > 1 else repr(mark[0])
            raise UserError(f"{where}: {field.strip()[:60]!r} is not one word, since it has {what}; {_TAKEN}")
    return fields


def _word(field: str, language: str | None, where: str) -> str | None:
    """The word of a field; "" for what is no word, None for one of another language."""
    if language is None:
        return normalised(field)
    prefixed = _PREFIXED.fullmatch(field.strip())
    if not prefixed:
        raise UserError(f"{where}: no language before the word, as in '{language}_word': {field[:60]!r}")
    return normalised(prefixed[2]) if prefixed[1] == language else None


class _Seen:
    """What the rows of a list have in common, which tells a list of words from another table."""

    def __init__(self, path: Path, language: str | None):
        self.path, self.language = path, language
        self.rows = self.words = self.tagged = self.prefixed = self.stopped = self.lost = 0
        self.first, self.first_lost = "", ""
        self.wide, self.heads, self.numbers = 0, 0, 0  # of rows with three columns or more
        self.widths: Counter[int] = Counter()  # rows
        self.columns: dict[int, list[set[str]]] = {}  # what stands in each column of the rows of a width
        self.labels = [0, 0]  # in the columns of pairs
        self.glosses = 0  # rows of a word and what is no word
        self.terms = 0  # rows of a word and a term of two
        self.listed = 0  # rows that begin with a number or a letter
        self.tabs: set[bool] = set()  # whether rows have them, or spaces

    def row(self, fields: list[str], where: str) -> None:
        """Take a row in; an error where it shows by itself that the file is another table."""
        fields = [field.strip() for field in fields]
        names = re.split(r"[\s_]+", " ".join(fields[:2]).lower())
        is_first = not self.rows and (_COLUMNS.issuperset(names) or _ONE_AND_TWO.fullmatch("\n".join(fields[:2])))
        if is_first or any(map(_NUMBERED.fullmatch, fields)):
            names = ", ".join(fields)[:80]
            raise UserError(
                f"{where}: {names!r} looks like the names of columns: delete this line; a list has none "
                "(if it is a pair of words, move it down)"
            )
        if missing := next(filter(_MISSING.__contains__, fields), ""):
            raise UserError(f"{where}: {missing!r} stands for a gap and is no word: leave it out")
        self.first = self.first or ", ".join(fields)[:80]
        self.rows += 1
        self.words += len(fields)
        self.tagged += sum(map(bool, map(_TAGGED.fullmatch, fields)))
        self.prefixed += sum(map(bool, map(_PREFIXED.fullmatch, fields)))
        self.stopped += fields[-1].endswith((".", "!", "?"))
        self.widths[len(fields)] += 1
        columns = self.columns.setdefault(len(fields), [set() for _ in fields])
        for values, field in zip(columns, fields):
            values.add(field)
        self.listed += bool(_LISTED.match(fields[0]))
        self.glosses += " " not in fields[0] and all(len(field.split()) >= _GLOSS for field in fields[1:])
        if number := next(filter(_EXPONENT.fullmatch, fields), ""):
            raise UserError(f"{where}: {number!r} is a number and no word: leave this column out")
        if len(fields) == 2:
            self.terms += " " not in fields[0] and " " in fields[1]
            self.labels = [n + bool(_LABEL.fullmatch(field)) for n, field in zip(self.labels, fields)]
        else:
            if label := next(filter(_LABEL.fullmatch, fields[1:]), ""):
                raise UserError(
                    f"{where}: {label!r} is a label or a number and no word: keep the rows of one relation, "
                    "and leave this column out (if it is a word, make it a pair of its own)"
                )
            self.wide += 1
            self.heads += bool(_LABEL.fullmatch(fields[0]))
            self.numbers += not all(any(map(str.isalpha, field)) for field in fields[1:])

    def separated(self, tabs: bool, where: str) -> None:
        """Take in whether tabs or spaces stand between the words of a row: of a table's row with a gap, a term of two
        words is left, which would be a pair."""
        self.tabs.add(tabs)
        if len(self.tabs) > 1:
            raise UserError(f"{where}: some lines have tabs, and others spaces alone: separate all words alike")

    def skipped(self, where: str) -> None:
        """Count a pair that is left out."""
        self.lost += 1
        self.first_lost = self.first_lost or where

    def _has_labels(self) -> bool:
        """Whether a column of most rows has the same few words over and over, or of pairs nothing but labels."""
        width, rows = max(self.widths.items(), key=lambda item: (item[1], -item[0]))
        if width == 2:
            few = rows // 100 if rows >= _MANY else 0
            return any(len(values) <= few for values in self.columns[2]) or (rows >= _FEW and rows in self.labels)
        if rows < _FEW or rows * 2 <= self.wide:
            return False
        share = 2 if len(self.widths) == 1 else 8
        return any(len(values) <= max(1, rows // share) for values in self.columns[width][1:])

    def _has_tagged_column(self) -> bool:
        """Whether all words of a column have a mark, in a table of one width."""
        columns = self.columns.get(max(self.widths, default=0), [])
        return len(self.widths) == 1 and self.rows >= _FEW and any(all(map(_TAGGED.fullmatch, of)) for of in columns)

    def check(self, found: bool) -> None:
        """At the end: an error where all rows together show another table, or where there is no pair."""
        if not found:
            of = f" of the language {self.language!r}" if self.language else ""
            had = f"has {self.rows} rows, first {self.first!r}" if self.rows else "has no line with words"
            raise UserError(f"{self.path} has no pair of words{of}; it {had}; {_TAKEN}")
        if self._has_labels() or (self.wide and self.wide in (self.numbers, self.heads)):
            raise UserError(
                f"{self.path}: every row has a label or a number in one column, where a list has words alone: leave "
                "this column out"
            )
        if self.glosses * 2 > self.rows >= _FEW:
            raise UserError(
                f"{self.path}: most lines have a word and {_GLOSS} words or more, as in {self.first!r}: a list has "
                "words and no definitions"
            )
        if self.stopped == self.rows:
            raise UserError(f"{self.path}: every line ends with a mark, as in {self.first!r}: write the words alone")
        if self.tagged == self.words or self._has_tagged_column():
            raise UserError(
                f"{self.path}: all words of a column have a mark of a part of speech or sense, as in {self.first!r}: "
                "write the words alone"
            )
        if self.listed == self.rows >= _FEW:
            raise UserError(
                f"{self.path}: every line begins with a number or a letter, as in {self.first!r}: leave it out"
            )
        if self.language is None and self.prefixed == self.words:
            raise UserError(
                f"{self.path}: every word begins with a language, as in {self.first!r}: name the one to keep "
                "(`language` beside this list in params.yaml)"
            )
        if self.wide == self.rows and len(self.widths) == 1:
            what = f"every line has {max(self.widths)} columns: all but the first are taken as related to it, as"
            print(f"{self.path}: {what} in {self.first!r}", file=sys.stderr)
        if self.terms * 2 >= self.rows >= _FEW:
            what = "half of the lines or more have a word and, after a tab or comma, a term with spaces in it"
            print(f"{self.path}: {what}; separate related words by tabs, if it is several", file=sys.stderr)
        if self.lost:
            what = f"{self.lost} times something that is no word in a pair, first at {self.first_lost}"
            print(f"{self.path}: {what}; skipped", file=sys.stderr)
