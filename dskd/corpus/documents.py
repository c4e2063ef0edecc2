"""The documents of a text: of a MediaWiki dump, what WikiExtractor made of one, a folder of plain text, JSON lines."""

import bz2
import gzip
import html
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dskd.corpus import wikitext
from dskd.corpus.extracted import BEGINNING, LONGEST, extracted_articles, plain
from dskd.errors import UserError
from dskd.infra.lines import MARK, numbered_lines

_ROWS = (".jsonl", ".jsonl.gz")
_ARTICLES = ".docs"
_NO_PLAIN_TEXT = re.compile(
    r"\s*(?:<(?:doc|mediawiki|html|head|body|div|p|tei|text)\b|<\?xml|<!doctype|<!--|\[?\s*\{\s*\"\w+\"\s*:"
    r"|\{\\rtf|version https://git-lfs|WEBVTT|1\s+\d\d:\d\d:\d\d,\d{3} -->|(?:#.*\n)*1\t\S+\t\S+\t)",
    re.IGNORECASE,
)
_TAKEN = (
    "sources.wikipedia takes a folder of *.txt files, JSON lines with a string `text` in each row (plain or gzip), "
    "what WikiExtractor writes (<doc …>, plain or gzip), or a MediaWiki dump (XML in bzip2)"
)


class Document(NamedTuple):
    id: str  # "wiki:Anarchism", "text:letters/1899", "gloss:bank.n.01"
    text: Callable[[], str]  # rendered only where it is needed
    title: str = ""  # none of a row without one, of a gloss
    markup: str = ""  # what `text` takes off, where that takes long


def kept_name(source: str, fetched: Path) -> str:
    """Under which name a text that was fetched from `source` is kept, which tells its form."""
    if fetched.is_dir():
        return "text"
    ending = next((ending for ending in _ROWS if source.endswith(ending)), "")
    ending = ending or {"rows": ".jsonl", "articles": _ARTICLES}.get(_form(fetched), "")
    return "text" + ending if ending else "wikipedia.xml.bz2"


def kept_text(folder: str | Path) -> Path:
    """The text in this folder of sources; of a dump's name where there is none."""
    dump = Path(folder) / "wikipedia.xml.bz2"
    others = (Path(folder) / f"text{ending}" for ending in ("", *_ROWS, _ARTICLES))
    return next((path for path in others if path.exists()), dump)


def check_text(source: str, fetched: Path) -> None:
    """See that a text has one of these forms: read all of it, or the first article of a dump.

    Raises:
        UserError: it has not; the message says what is taken.
    """
    try:
        form = _form(fetched)
        for document in _read(fetched):
            document.text()
            if form == "dump":
                break  # the rest may take hours
    except UserError as error:
        raise UserError(f"{source}: {str(error).removesuffix(f'; {_TAKEN}')}; {_TAKEN}") from None


def text_documents(path: Path) -> list[Document]:
    """The documents of a folder's files `*.txt`, of rows with a string `text` (and `title`, or they are numbered), of
    the articles that WikiExtractor wrote, or of a dump's.

    Texts of rows and articles are held in memory. Hidden files and folders are not read; a line on
    stderr says which others are left out.

    Raises:
        UserError: no such file, or one that is not UTF-8; a row of another form; a damaged dump; no document with text.
    """
    return list(_read(path))


def _read(path: Path) -> Iterator[Document]:
    form = _form(path)
    if form == "files":
        yield from _files(path)
    elif form == "rows":
        yield from _rows(path)
    elif form == "articles":
        for title, text in extracted_articles(path):
            yield Document(f"wiki:{title}", lambda text=text: text, title)
    else:
        # The mark-up is bound at once, and taken off when the document is drawn (50 ms an article).
        for title, markup in wikitext.articles(path):
            yield Document(f"wiki:{title}", lambda markup=markup: wikitext.strip_markup(markup), title, markup)


def _form(path: Path) -> str:
    """The form of a text: "files" for a folder; for a file "rows", "articles" or "dump", by its name or how it begins.
    What is missing or damaged counts as a dump.

    Raises:
        UserError: it is none of them.
    """
    if path.is_dir():
        return "files"
    if path.name.endswith(_ROWS):
        return "rows"
    try:
        with open(path, "rb") as file:
            magic = file.read(3)
        packed = bz2.open if magic == b"BZh" else gzip.open if magic[:2] == b"\x1f\x8b" else open
        with packed(path, "rb") as file:
            beginning = file.read(1 << 12).removeprefix(MARK.encode()).lstrip()
    except (OSError, EOFError, zlib.error):
        return "dump"
    if beginning.startswith(b"{") and packed is not bz2.open:
        return "rows"
    if beginning.startswith(BEGINNING) and packed is not bz2.open:
        return "articles"
    if not beginning or (beginning.startswith(b"<") and packed is bz2.open):
        return "dump"
    how = {bz2.open: " in bzip2", gzip.open: " in gzip"}.get(packed, "")
    raise UserError(f"{path} is another file{how}, which begins with {str(beginning[:30])[1:]}; {_TAKEN}")


def _files(folder: Path) -> Iterator[Document]:
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    # Copies that editors keep lie in hidden folders: Jupyter's .ipynb_checkpoints, and __MACOSX in a Mac's archives.
    paths = sorted(path for path in found if not any(part.startswith((".", "__MACOSX")) for part in path.parts))
    texts = [path for path in paths if path.suffix.lower() == ".txt"]
    others = Counter(path.suffix or path.name for path in paths if path.suffix.lower() != ".txt")
    counts = ", ".join(f"{count} {ending!a}" for ending, count in others.most_common(5))
    if not texts:
        raise UserError(
            f"{folder} has no text, but {counts or 'nothing'}: sources.wikipedia takes a folder of *.txt files"
        )
    if others:
        print(f"{folder}: files that are no *.txt are left out ({counts})", file=sys.stderr)
    for path in texts:
        name = path.with_suffix("").as_posix()
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(f"{folder} has a file whose name is not UTF-8: rename {str(path)!a}") from None
        yield Document(f"text:{name}", lambda path=folder / path: _text(path), name)


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").removeprefix(MARK)
        if "\0" in text:
            raise ValueError("it has NUL bytes, as UTF-16 has")
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error}): save it as UTF-8") from None
    if marks := _NO_PLAIN_TEXT.match(text):
        raise UserError(f"{path} is no plain text, since it begins with {marks[0].strip()!r}; {_TAKEN}")
    return text


def _rows(path: Path) -> Iterator[Document]:
    count, empty = 0, True
    for number, line in numbered_lines(path, LONGEST):
        try:
            row = json.loads(line.decode())
            text, title = row["text"].removeprefix(MARK), _title(row.get("title"))
            f"{text}{title}".encode()  # JSON can name half a surrogate pair, which no tokenizer takes
            if "\0" in text:
                raise ValueError("a NUL character")
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
            wanted = 'a row is an object with a string "text" of up to 16 MB, and perhaps a title, in UTF-8'
            raise UserError(f"{path}:{number}: {wanted}") from None
        if "curid=" in str(row.get("url")):  # WikiExtractor's --json
            text, title = plain(html.unescape(text)), html.unescape(title)
        count, empty = count + 1, empty and not text.strip()
        text = text.replace("\r\n", "\n").replace("\r", "\n")  # as in files
        yield Document(f"text:{title or number}", lambda text=text: text, title)
    if empty:
        raise UserError(f"{path} has {f'no text in {count} rows' if count else 'no row'}; {_TAKEN}")


def _title(title: object) -> str:
    """The title of a row, or "" where it has none. A table's round trip writes null for none."""
    if isinstance(title, str):
        return title if title.strip() else ""
    if title is None or title != title:
        return ""
    if isinstance(title, bool) or not isinstance(title, int | float):
        raise TypeError("no title")
    return str(title)
