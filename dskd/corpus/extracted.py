"""Articles as WikiExtractor writes them: plain text between `<doc id=… title="…">` and `</doc>`.

https://github.com/attardi/wikiextractor; files that it wrote may be joined to one.
"""

import html
import re
from collections.abc import Iterator
from pathlib import Path

from dskd.errors import UserError
from dskd.infra.lines import numbered_lines

BEGINNING = b"<doc "
LONGEST = 1 << 24  # bytes of a line, as of an article of a dump
_LONGEST_HEAD = 1 << 12  # characters of <doc …>
# Up to the last mark before ">" or other attributes: some versions leave the marks in a title as they are.
_TITLE = re.compile(r'(.*?)"(?: \w+="[^"]*")*>')
# The tags of mark-up, of which some versions leave a few in the text, as <br clear="all">. Others are what an article
# shows: "vector<int>", "a<b and c>d".
_TAGS = (
    "a abbr b bdi bdo big blockquote br center cite code dd del dfn div dl dt em font gallery h1 h2 h3 h4 h5 h6 hr i "
    "imagemap includeonly ins kbd li mapframe mark math noinclude nowiki ol onlyinclude p poem pre q ref references rp "
    "rt ruby s samp score section small source span strike strong sub sup syntaxhighlight table td templatestyles th "
    "timeline tr tt u ul var wbr"
)
TAG = re.compile(rf"</?(?:{_TAGS.replace(' ', '|')})(?:\s*/?|\s+[\w:-]+\s*=[^<>\n]*)>", re.IGNORECASE)
_LABELS = re.compile(r"^(?:Section|BULLET)::::-? ?", re.MULTILINE)  # of headings and lists, in older versions


def extracted_articles(path: Path) -> Iterator[tuple[str, str]]:
    """(title, plain text) of each article with text; its first line, which repeats the title, is left out.

    Raises:
        UserError: the file is no UTF-8; it has text outside of an article, an article without a title, or one that has
            no end, as where the file was cut; no article has text.
    """
    title, lines, empty = None, [], True
    for number, line in numbered_lines(path, LONGEST):
        text = _decoded(line, f"{path}:{number}")
        if text.startswith("<doc "):
            begun = _TITLE.fullmatch(text[:_LONGEST_HEAD].partition(' title="')[2])
            if title is not None or not begun:
                wrong = f"another article begins inside {title!r}" if title is not None else "an article has no title"
                raise UserError(f"{path}:{number}: {wrong}; WikiExtractor writes <doc … title=…>, text and </doc>")
            title, lines = html.unescape(begun[1]), []
        elif text == "</doc>" and title is not None:
            body = plain("\n".join(lines[1:] if lines[:1] == [title] else lines))
            if body:
                empty = False
                yield title, body
            title = None
        elif title is not None:
            if "</doc>" in text or "<doc " in text:
                raise UserError(f"{path}:{number}: <doc …> and </doc> stand alone on their lines; here is more")
            lines.append(html.unescape(text))
        elif text.strip():
            raise UserError(f"{path}:{number}: text outside of an article: is this what WikiExtractor wrote?")
    if title is not None:
        raise UserError(f"{path} ends inside the article {title!r}: it is not whole, fetch it again")
    if empty:
        raise UserError(f"{path} has no article with text")


def plain(body: str) -> str:
    """The text of an article without what some versions of WikiExtractor leave of mark-up."""
    return TAG.sub(" ", _LABELS.sub("", body)).strip()


def _decoded(line: bytes | None, where: str) -> str:
    try:
        if line is None or b"\0" in line:
            raise ValueError("a NUL byte" if line else "a line of more than 16 MB")
        return line.decode()
    except ValueError as error:
        raise UserError(f"{where}: this is no UTF-8 text ({error})") from None
