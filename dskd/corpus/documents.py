"""The documents of a text: a MediaWiki dump, a folder of plain text, or JSON lines."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dskd.corpus import wikitext
from dskd.errors import UserError
from dskd.infra.lines import numbered_lines

_LONGEST = 1 << 24  # bytes of a line, as of an article of a dump
_ROWS = (".jsonl", ".jsonl.gz")


class Document(NamedTuple):
    id: str  # "wiki:Anarchism", "text:letters/1899", "gloss:bank.n.01"
    text: Callable[[], str]  # rendered only where it is needed


def kept_name(source: str, fetched: Path) -> str:
    """Under which name a text that was fetched from `source` is kept, which tells its form."""
    ending = next((ending for ending in _ROWS if source.endswith(ending)), "")
    return "text" + ending if ending or fetched.is_dir() else "wikipedia.xml.bz2"


def kept_text(folder: str | Path) -> Path:
    """The text in this folder of sources; of a dump's name where there is none."""
    dump = Path(folder) / "wikipedia.xml.bz2"
    return next((path for path in (Path(folder) / f"text{ending}" for ending in ("", *_ROWS)) if path.exists()), dump)


def text_documents(path: Path) -> list[Document]:
    """The documents of a folder's files `*.txt`, of rows with a string `text` (and `title`, or they are numbered), or
    of a dump's articles.

    Texts of rows and the mark-up of articles are held in memory.

    Raises:
        UserError: no such file, or one that is not UTF-8; a row of another form; a damaged dump.
    """
    if path.is_dir():
        return _files(path)
    if path.name.endswith(_ROWS):
        return list(_rows(path))
    # The mark-up is bound at once, and taken off when the document is drawn (50 ms an article).
    return [
        Document(f"wiki:{title}", lambda markup=markup: wikitext.strip_markup(markup))
        for title, markup in wikitext.articles(path)
    ]


def _files(folder: Path) -> list[Document]:
    paths = sorted(path for path in folder.rglob("*.txt") if path.is_file())
    if not paths:
        raise UserError(f"{folder} has no text: sources.wikipedia takes a folder of *.txt files")
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in paths]
    return [Document(f"text:{name}", lambda path=path: _read(path)) for name, path in zip(names, paths)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error}): save it as UTF-8") from None


def _rows(path: Path) -> Iterator[Document]:
    for number, line in numbered_lines(path, _LONGEST):
        try:
            row = json.loads(line)
            text, title = row["text"], row.get("title", number)
            text.encode()  # JSON can name half a surrogate pair, which no tokenizer takes
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
            wanted = 'a row is an object with a string "text" of up to 16 MB'
            raise UserError(f"{path}:{number}: {wanted}, and perhaps a title") from None
        yield Document(f"text:{title}", lambda text=text: text)
