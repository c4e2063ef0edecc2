"""WordNet 3.0 as a source: its files made readable, its relations and its glosses.

NLTK's reader is opened for people (`reader.synsets("bank")`); the walks over all 117 659 synsets parse
the `data.*` files line by line instead, which takes one second where NLTK's objects take nine.
"""

import re
import warnings
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import nltk
from nltk.corpus.reader.wordnet import WordNetCorpusReader, WordNetError
from nltk.data import SeekableUnicodeStreamReader

from dskd.errors import UserError
from dskd.infra.artifacts import reading
from dskd.infra.output import output
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation

PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}  # part of speech -> suffix of its two files
FILES = (
    "cntlist.rev",
    "lexnames",
    "index.sense",
    *(f"{kind}.{suffix}" for kind in ("data", "index") for suffix in PARTS.values()),
    *(f"{suffix}.exc" for suffix in PARTS.values()),
)
LICENCE = ("LICENSE", "README")

_MARKER = re.compile(r"\([^()]*\)$")  # syntactic marker of an adjective: "galore(ip)"
_QUOTED = re.compile(r'"([^"]*)"')
_EXAMPLES = re.compile(r'(^|[;:,.)])\s*-*\s*"')  # where the definition ends and the examples begin


class Pointer(NamedTuple):
    """A link to synset (pos, offset); `source` and `target` count lemmas from 1, 0 is the whole synset."""

    symbol: str  # "!" antonym, "@" hypernym, "&" similar to, ... (wninput(5WN))
    pos: str  # n, v, a or r: satellites ("s") live among the adjectives
    offset: int
    source: int
    target: int


class Synset(NamedTuple):
    name: str  # as in NLTK: "bank.n.01"
    pos: str  # n, v, a, s or r
    lemmas: tuple[str, ...]  # as written, with spaces for underscores
    definition: str
    examples: tuple[str, ...]
    links: str  # its pointers as in the file; `pointers` reads them


class _English(WordNetCorpusReader):
    """NLTK's reader without its map from WordNet 3.0 to this WordNet, which only other languages' words need: 3 s.

    It also reads files that are links, which NLTK refuses: DVC makes links into its cache, as `cache.type` says.
    """

    def open(self, file):
        return SeekableUnicodeStreamReader(open(Path(self.root) / file, "rb"), self.encoding(file))

    def map_wn(self, version="wordnet"):
        return None


class Gloss(NamedTuple):
    name: str
    pos: str
    lemmas: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]


def prepare(folder: Path, destination: Path) -> None:
    """Copy WordNet's database files from `folder` to `destination/corpora/wordnet`, carriage returns removed.

    Synsets are found by byte offset, and the offsets count Unix line ends: with CRLF every one is wrong.
    NLTK reads corpora only below a folder on `nltk.data.path` that holds `corpora/wordnet`.

    Raises:
        UserError: a file of the database is missing.
    """
    folder = Path(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise UserError(f"{folder} lacks WordNet's {name}: point sources.wordnet at a whole database (dict) folder")
    with output(Path(destination) / "corpora" / "wordnet") as partial:
        partial.mkdir()
        for name in FILES + tuple(n for n in LICENCE if (folder / n).is_file()):
            (partial / name).write_bytes((folder / name).read_bytes().replace(b"\r", b""))


def open_wordnet(nltk_data: Path) -> WordNetCorpusReader:
    """NLTK's reader of `nltk_data/corpora/wordnet`; the folder goes to the front of `nltk.data.path`.

    Raises:
        UserError: there is no such folder, or its files are damaged.
    """
    nltk_data = Path(nltk_data).resolve()
    folder = nltk_data / "corpora" / "wordnet"
    if not folder.is_dir():
        raise UserError(f"{folder} is missing: make it with `dvc repro sources` or `python -m dskd sources`")
    # First place: NLTK refuses other folders, and compares the version against the first WordNet it finds.
    nltk.data.path[:] = [str(nltk_data), *(p for p in nltk.data.path if p != str(nltk_data))]
    with warnings.catch_warnings(), reading(folder, "sources"):
        warnings.filterwarnings("ignore", message="The multilingual functions are not available")
        try:
            return _English(str(folder), None)
        except WordNetError as error:
            raise ValueError(error) from None


def read_index(reader: WordNetCorpusReader) -> dict[tuple[str, str], list[int]]:
    """(lower-cased lemma with underscores, pos n/v/a/r) -> offsets of its synsets, commonest sense first."""
    index = {}
    with reading("WordNet's index", "sources"):
        for pos, suffix in PARTS.items():
            for line in _lines(reader, f"index.{suffix}"):
                fields = line.split()
                index[fields[0], pos] = [int(offset) for offset in fields[-int(fields[2]) :]]
    return index


def read_synsets(
    reader: WordNetCorpusReader, index: dict[tuple[str, str], list[int]] | None = None
) -> dict[tuple[str, int], Synset]:
    """(pos n/v/a/r, offset) -> synset, in the order of the files.

    Raises:
        UserError: a line is not in WordNet's format (wndb(5WN)).
    """
    index = read_index(reader) if index is None else index
    parsed = {}
    with reading("WordNet's data", "sources"):
        for pos, suffix in PARTS.items():
            for line in _lines(reader, f"data.{suffix}"):
                try:
                    offset, synset = _parse(line)
                except (ValueError, IndexError):
                    raise UserError(
                        f"data.{suffix} has a line that is not WordNet's: {line[:60]!r}; fetch it again"
                    ) from None
                parsed[pos, offset] = synset
        for (lemma, pos), offsets in index.items():
            if any((pos, offset) not in parsed for offset in offsets):
                raise UserError(f"data.{PARTS[pos]} lacks a sense of {lemma!r}: it is not whole; fetch WordNet again")
        return {key: synset._replace(name=_name(key, synset, index, parsed)) for key, synset in parsed.items()}


def pointers(synset: Synset) -> Iterator[Pointer]:
    """The links of a synset to others, in the file's order."""
    fields = synset.links.split()  # read when asked for: 285 000 objects would double the time of `read_synsets`
    for symbol, offset, pos, ends in zip(fields[::4], fields[1::4], fields[2::4], fields[3::4]):
        yield Pointer(symbol, pos.replace("s", "a"), int(offset), int(ends[:2], 16), int(ends[2:], 16))


def relations(reader: WordNetCorpusReader) -> Iterator[Relation]:
    """Synonyms (lemmas of one synset) and antonyms (lemma pointers), words in lower case (docs/method.md, section 2.1).

    A synonym pair comes once a synset, an antonym pair once from each side; the sense is the synset's name.
    """
    synsets = read_synsets(reader)
    with reading("WordNet's data", "sources"):
        for synset in synsets.values():
            for head, tail in combinations(sorted({lemma.lower() for lemma in synset.lemmas}), 2):
                yield Relation(head, tail, SYNONYM, "wordnet", synset.name)
            for link in pointers(synset) if "!" in synset.links else ():
                if link.symbol == "!" and link.source and link.target:  # 0 is a whole synset, which is no word
                    head = synset.lemmas[link.source - 1].lower()
                    tail = synsets[link.pos, link.offset].lemmas[link.target - 1].lower()
                    yield Relation(head, tail, ANTONYM, "wordnet", synset.name)


def glosses(reader: WordNetCorpusReader) -> Iterator[Gloss]:
    """Every synset's definition and examples, in the order of WordNet's files."""
    for synset in read_synsets(reader).values():
        yield Gloss(synset.name, synset.pos, synset.lemmas, synset.definition, synset.examples)


def _lines(reader: WordNetCorpusReader, name: str) -> Iterator[str]:
    # The licence at the top of each file is indented; every entry starts in the first column.
    for line in reader.raw(name).split("\n"):
        if line.strip() and not line.startswith(" "):
            yield line


def _parse(line: str) -> tuple[int, Synset]:
    entry, bar, gloss = line.partition("|")
    if not bar:
        raise ValueError("no gloss")
    fields = entry.split()
    lemma_end = 4 + 2 * int(fields[3], 16)
    lemmas = tuple(_MARKER.sub("", lemma).replace("_", " ") for lemma in fields[4:lemma_end:2])
    links = " ".join(fields[lemma_end + 1 : lemma_end + 1 + 4 * int(fields[lemma_end])])
    definition, examples = split_gloss(gloss.strip())
    return int(fields[0]), Synset("", fields[2], lemmas, definition, examples, links)


def split_gloss(gloss: str) -> tuple[str, tuple[str, ...]]:
    """A gloss as (definition, examples): examples are quoted and come last; who is quoted is dropped.

    A definition keeps quotation marks of its own ('the "c" in "face"').
    """
    start = _EXAMPLES.search(gloss)
    cut = start.end() - 1 if start else len(gloss)
    examples = tuple(text.strip() for text in _QUOTED.findall(gloss[cut:]) if text.strip())
    return gloss[:cut].strip(" ;:,-"), examples


def _name(key: tuple[str, int], synset: Synset, index: dict, synsets: dict) -> str:
    # NLTK numbers a satellite ("s") among the lemma's satellites, all others among all of its senses.
    pos, offset = key
    lemma = synset.lemmas[0].lower().replace(" ", "_")
    senses = index[lemma, pos]
    if synset.pos == "s":
        senses = [other for other in senses if synsets[pos, other].pos == "s"]
    return f"{lemma}.{synset.pos}.{senses.index(offset) + 1:02d}"
