"""Wikipedia as plain text: a MediaWiki XML dump read as a stream, and its mark-up taken off.

mwparserfromhell parses the mark-up; what is not running text (references, tables, pictures, lists of
sources) is dropped from its tree, and what it does not understand is swept from the lines that remain.
"""

import bz2
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

import mwparserfromhell
from mwparserfromhell.nodes import Comment, Heading, Tag, Template, Text, Wikilink
from mwparserfromhell.wikicode import Wikicode

from dskd.errors import UserError

# Sections that list sources and links instead of telling something.
APPENDICES = {
    "bibliography",
    "citations",
    "discography",
    "external links",
    "filmography",
    "footnotes",
    "further reading",
    "gallery",
    "notes",
    "notes and references",
    "references",
    "references and notes",
    "see also",
    "sources",
    "works cited",
}
_DROPPED_TAGS = {
    "ref",
    "references",
    "table",
    "gallery",
    "math",
    "timeline",
    "score",
    "imagemap",
    "source",
    "syntaxhighlight",
    "pre",
    "hr",
    "hiero",
    "div",
    "includeonly",
    "noinclude",
}
# Links that are not text: pictures, categories, and the same article in other languages ("de:Anarchismus";
# with a colon before it, it stands in the sentence).
_DROPPED_LINK = re.compile(
    r"\s*(:?(file|image|media|category|template|wikipedia)|[a-z]{2,3}(-[a-z-]+)?):", re.IGNORECASE
)
# Templates whose arguments stand in the sentence -> the positional arguments to keep; others are dropped.
_KEPT_TEMPLATES = {
    "convert": (1, 2),
    "cvt": (1, 2),
    "lang": (2,),
    "nowrap": (1,),
    "nobr": (1,),
    "quote": (1,),
    "blockquote": (1,),
    "cquote": (1,),
    "transl": (2,),
}

_SWEEPS = [
    (re.compile(r"[\u00a0\u2009\u202f\t ]+"), " "),
    (re.compile(r"[\u00ad\u200b-\u200f\u2060\ufeff]"), ""),  # invisible characters
    (re.compile(r"'{2,}"), ""),  # italics and bold that were never closed
    (re.compile(r"__[A-Z]+__"), ""),  # __NOTOC__
    (re.compile(r"</?[a-zA-Z][^<>\n]*>"), ""),  # tags without a partner
    # Every pattern takes time in proportion to a line, also of spaces only: nothing is tried again inside a run.
    (re.compile(r"\[https?://(?:\S*+\s*+([^\]\n]*+)\]|\S*\])"), r"\1"),
    (re.compile(r"https?://\S+"), ""),
    # What a dropped template or formula leaves: "Huxley (; 26 July 1894)", "Albedo ()", "the river , long".
    (re.compile(r"([(\[])[\s,;:/]+"), r"\1"),
    (re.compile(r"(?<![\s,;:])[\s,;:]++([)\]])"), r"\1"),
    (re.compile(r"\(\)|\[\]"), ""),
    (re.compile(r"(?<! ) ++([,.;:)])(?=\s|$)"), r"\1"),
    (re.compile(r"([,;])(?: ?[,;])+"), r"\1"),
    (re.compile(r" {2,}"), " "),
]
_MARKUP_LINE = re.compile(r"^[|!{}]|\{\{|\}\}|\[\[|\]\]|\{\||\|\}|^(thumb|right|left|center|frame|\d+px)\s*\||px\|")
_LARGEST_PAGE = 1 << 24  # bytes; MediaWiki takes articles up to 2 MiB
_MOST_OPEN = 500  # templates
_HAS_WORD = re.compile(r"\w")


class _Stream:
    """A file that ends with an error where no page ends: a few bytes of bz2 may stand for gigabytes."""

    def __init__(self, file: BinaryIO):
        self.file, self.left = file, _LARGEST_PAGE

    def read(self, size: int) -> bytes:
        self.left -= size
        if self.left < 0:
            raise EOFError(f"no page ends within {_LARGEST_PAGE >> 20} MiB")
        return self.file.read(size)


def articles(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (title, mark-up) of every article of a bz2 XML dump, in its order; no redirects, no other namespaces.

    Raises:
        UserError: the file is not such a dump, or it is cut off.
    """
    try:
        with bz2.open(path) as file:
            stream = _Stream(file)
            for _, element in ElementTree.iterparse(stream):
                space, _, name = element.tag.rpartition("}")
                if name != "page":
                    continue
                space = f"{space}}}" if space else ""  # tags come as "{namespace of the dump}page"
                if element.findtext(f"{space}ns") == "0" and element.find(f"{space}redirect") is None:
                    markup = element.findtext(f"{space}revision/{space}text") or ""
                    yield element.findtext(f"{space}title") or "", markup
                element.clear()  # keeps memory flat
                stream.left = _LARGEST_PAGE
    except (OSError, EOFError, ValueError, LookupError, ElementTree.ParseError) as error:  # encodings: the last but one
        raise UserError(f"{path} is not a whole bz2 MediaWiki dump ({error}): fetch sources.wikipedia again") from None


def strip_markup(markup: str) -> str:
    """The running text of an article: paragraphs and headings, one a line, without empty lines.

    There is none of mark-up with hundreds of templates that never end.
    """
    if _open_templates(markup) > _MOST_OPEN:
        return ""  # the parser tries each to the end: minutes for a few thousand
    code = mwparserfromhell.parse(markup)
    _prune(code)
    text = code.strip_code(normalize=True, collapse=False, keep_template_params=False)
    lines = []
    for line in text.split("\n"):
        if _MARKUP_LINE.search(line.strip()):
            continue
        for pattern, replacement in _SWEEPS:
            line = pattern.sub(replacement, line)
        line = line.strip(" *#:;") if line[:1] in "*#:; " else line.strip()
        if _HAS_WORD.search(line):
            lines.append(line)
    return "\n".join(lines)


def _open_templates(markup: str) -> int:
    """How many "{{" have no "}}" after them."""
    open_now = 0
    for brackets in re.findall(r"\{\{|\}\}", markup):
        open_now = open_now + 1 if brackets == "{{" else max(0, open_now - 1)
    return open_now


def _prune(code: Wikicode) -> None:
    # Rebuilds each list of nodes: Wikicode.remove searches the whole tree for every node it removes.
    kept, appendix = [], 0  # level of the heading whose section is being dropped, 0 for none
    for node in code.nodes:
        if isinstance(node, Heading):
            if not appendix or node.level <= appendix:
                appendix = node.level if node.title.strip_code().strip().lower() in APPENDICES else 0
        if not appendix:
            kept.extend(_pruned(node))
    code.nodes = kept


def _pruned(node) -> list:
    if isinstance(node, Comment):
        return []
    if isinstance(node, Template):
        places = _KEPT_TEMPLATES.get(str(node.name).strip().lower(), ())
        found = [node.get(place).value for place in places if node.has(place)]
        for value in found:
            _prune(value)
        return [Text(" ".join(value.strip_code().strip() for value in found))] if found else []
    if isinstance(node, Tag):
        if str(node.tag).strip().lower() in _DROPPED_TAGS:
            return []
        if node.contents is not None:
            _prune(node.contents)
    elif isinstance(node, Wikilink):
        if _DROPPED_LINK.match(str(node.title)):
            return []
        if node.text is not None:
            _prune(node.text)
    return [node]
