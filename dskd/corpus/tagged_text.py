"""Text in which people marked WordNet's senses, in the form of Raganato et al. (EACL 2017): SemCor and the evaluation
sets of their framework. A folder has NAME.data.xml with the sentences and NAME.gold.key.txt with the senses."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from dskd.errors import UserError, one_line

_DATA, _KEYS = ".data.xml", ".gold.key.txt"
_OTHERS = 0.05  # share of words whose sense may be called otherwise than their lemma, as "grey" and "gray"


class TaggedWord(NamedTuple):
    lemma: str  # in lower case
    text: str  # the sentence
    start: int  # of the word in the sentence, in characters
    key: str  # of its sense, "long%3:00:02::"; the first where people gave several


def check_tagged(source: str, folder: Path) -> None:
    """Raise UserError where a folder has no text of this form."""
    try:
        if not sum(1 for _ in tagged_words(folder)):  # all of it is read
            raise UserError("no word of it has a sense")
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def tagged_words(folder: Path) -> Iterator[TaggedWord]:
    """The tagged words, one after the other; expressions of several words are left out.

    Raises:
        UserError: the files are not of this form, or not of one set.
    """
    data, keys = _files(folder)
    senses, tagged, others, read = _read_keys(keys), 0, [], set()
    for sentence in _sentences(data):
        words = [word.text or "" for word in sentence]
        text, start = " ".join(words), 0
        for word, shown in zip(sentence, words):
            lemma = word.get("lemma", "").lower()
            if word.tag == "instance":
                place = word.get("id")
                if (key := senses.get(place)) is None or place in read:
                    wrong = "stands twice" if place in read else f"is not in {keys.name}"
                    raise UserError(f"{data.name}: {place} {wrong}: they are not of one set")
                read.add(place)
                tagged += 1
                if key.partition("%")[0].lower() != lemma.replace(" ", "_"):
                    others.append(f"{place!r} has the lemma {lemma!r} and in {keys.name} the sense {key!r}")
                if shown and not {"_", " "} & {*lemma, *shown}:
                    yield TaggedWord(lemma, text, start, key)
            start += len(shown) + 1
    if tagged and (missing := senses.keys() - read):
        raise UserError(f"{keys.name}: {min(missing)} is not in {data.name}: they are not of one set")
    if len(others) > _OTHERS * tagged:
        raise UserError(f"{data.name}: {others[0]}, {len(others)} words are like it: they are not of one set")


def _files(folder: Path) -> tuple[Path, Path]:
    found = sorted(path for path in folder.glob(f"*{_DATA}") if path.is_file()) if folder.is_dir() else []
    keys = [path.with_name(path.name.removesuffix(_DATA) + _KEYS) for path in found]
    if len(found) != 1 or not keys[0].is_file():
        raise UserError(f"it must be a folder with one NAME{_DATA} and its NAME{_KEYS}")
    return found[0], keys[0]


def _sentences(path: Path) -> Iterator[ElementTree.Element]:
    """Each sentence with its words; memory holds little more."""
    elements = ElementTree.iterparse(path)
    while True:
        try:
            _, element = next(elements, (None, None))
        except (ElementTree.ParseError, LookupError, ValueError) as error:  # the latter two: of its encoding
            raise UserError(f"{path.name} is no whole XML ({one_line(error)}): fetch it again") from None
        if element is None:
            return
        if element.tag == "sentence":
            yield element
            element.clear()


def _read_keys(path: Path) -> dict[str, str]:
    """The first sense key of each place."""
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        place, *keys = line.split() or [""]
        if not keys or "%" not in keys[0]:
            raise UserError(f"{path.name}:{number}: a line has the id of a place and its sense keys (long%3:00:02::)")
        if place in found:
            raise UserError(f"{path.name}:{number}: {place!r} stands twice: keep one of the lines")
        found[place] = keys[0]
    return found
