"""Wikipedia as plain text: a MediaWiki XML dump read as a stream, and its mark-up taken off.

mwparserfromhell parses the mark-up; what is not running text (references, tables, pictures, lists of
sources) is dropped from its tree, and what it does not understand is swept from the lines that remain.
"""

import bz2
import re
import string
from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

import mwparserfromhell
from mwparserfromhell.nodes import Comment, ExternalLink, Heading, HTMLEntity, Tag, Template, Text, Wikilink
from mwparserfromhell.wikicode import Wikicode

from dskd.corpus.extracted import TAG
from dskd.corpus.templates import shown
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
    "mapframe",
    "maplink",
    "graph",
    "includeonly",
    "noinclude",
}
# What begins and ends a line of its own.
_BLOCKS = {"blockquote", "br", "center", "dd", "div", "dl", "dt", "li", "ol", "p", "poem", "ul"}
# Links that are not text: pictures, categories, and the same article in other languages ("de:Anarchismus"). All else
# before a colon is part of a title: "CSI: Miami".
_DROPPED_SPACES = {"file", "image", "media", "category", "template", "wikipedia"}
_LANGUAGES = set(  # Wikipedias that there are or were, and the other names that MediaWiki knows some by
    """aa ab ace ady af ak als alt am ami an ang ann anp ar arc ary arz as ast atj av avk awa ay az azb ba ban bar
    bat-smg bbc bcl bdr be be-tarask be-x-old bew bg bh bho bi bjn blk bm bn bo bpy br bs btm bug bxr ca cbk-zam cdo ce
    ceb ch cho chr chy ckb cmn co cr crh cs csb cu cv cy cz da dag de dga din diq dk dsb dtp dty dv dz ee egl el eml en
    eo epo es et eu ext fa fat ff fi fiu-vro fj fo fon fr frp frr fur fy ga gag gan gcr gd gl glk gn gom gor got gpe gsw
    gu guc gur guw gv ha hak haw he hi hif ho hr hsb ht hu hy hyw hz ia iba id ie ig igl ii ik ilo inh io is it iu ja
    jam jbo jp jv ka kaa kab kaj kbd kbp kcg kg kge ki kj kk kl km kn knc ko koi kr krc ks ksh ku kus kv kw ky la lad lb
    lbe lez lfn lg li lij lld lmo ln lo lrc lt ltg lv lzh mad mai map-bms mdf mg mh mhr mi min minnan mk ml mn mni mnw
    mo mos mr mrj ms mt mus mwl my myv mzn na nah nan nap nb nds nds-nl ne new ng nia nl nn no nov nqo nr nrm nso nup nv
    ny oc olo om or os pa pag pam pap pcd pcm pdc pfl pi pih pl pms pnb pnt ps pt pwn qu rcf rm rmy rn ro roa-rup
    roa-tara rsk ru rue rup rw sa sah sat sc scn sco sd se sg sgs sh shi shn shy si simple sk skr sl sm smn sn so sq sr
    srn ss st stq su sv sw syl szl szy ta tay tcy tdd te tet tg th ti tig tk tl tlh tly tn to tokipona tpi tr trv ts tt
    tum tw ty tyv udm ug uk ur uz ve vec vep vi vls vo vro wa war wo wuu xal xh xmf yi yo yue za zea zgh zh zh-cfr
    zh-classical zh-cn zh-min-nan zh-tw zh-yue zu""".split()
)
_SWEEPS = [
    (re.compile(r"[\u00a0\u2009\u202f\t ]+"), " "),
    (re.compile(r"[\u00ad\u200b-\u200f\u2060\ufeff]"), ""),  # invisible characters
    (re.compile(r"'{2,}"), ""),  # italics and bold that were never closed
    (re.compile(r"__[A-Z]+__"), ""),  # __NOTOC__
    (TAG, ""),  # without a partner
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
# A line that begins with "!" is the head of a table that was never closed, but not "!Kung".
_MARKUP_LINE = re.compile(
    r"^[|{}]|^!(?:\s|$|[^|!]*(?:\||!!))|\{\{|\}\}|\[\[|\]\]|\{\||\|\}|^(thumb|right|left|center|frame|\d+px)\s*\||px\|"
)
# Characters of <nowiki>, and "&lt;" and "&gt;", which are text whatever they look like: until all mark-up is off they
# stand in a private place of Unicode.
_SHIELD = {ord(char): 0x10FF00 + ord(char) for char in string.punctuation}
_UNSHIELD = {place: char for char, place in _SHIELD.items()}

_REDIRECT = re.compile(r"\s*#redirect\b", re.IGNORECASE)
# Before 2011 a page does not say in which namespace it is; its title does. The site's own names come to these.
_SPACES = set("media special talk user project wikipedia wp file image mediawiki template help category portal book "
              "draft timedtext module".split())  # fmt: skip
_NO_TEXT = ("-2", "6", "10", "14")  # keys of namespaces: media, files, templates, categories; each site has its names
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
            what = "take a dump of the current revisions alone, if it has them all"
            raise EOFError(f"no page ends within {_LARGEST_PAGE >> 20} MiB; {what}")
        return self.file.read(size)


def articles(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (title, mark-up) of every article of a bz2 XML dump, in its order; no redirects, no other namespaces.

    Of a page with several revisions the newest is taken. Links to pictures and categories by the site's own names
    ("Datei:") become links to "File:", which are no text.

    Raises:
        UserError: the file is not such a dump, it is cut off, or it has no article with text.
    """
    pages, found, spaces, no_text = 0, False, _SPACES, []
    try:
        with bz2.open(path) as file:
            stream = _Stream(file)
            for _, element in ElementTree.iterparse(stream):
                space, _, name = element.tag.rpartition("}")
                if name == "namespace" and element.get("key") != "0":
                    spaces = spaces | {(element.text or "").lower()}
                    if element.get("key") in _NO_TEXT and (element.text or "").lower() not in {"", *_DROPPED_SPACES}:
                        no_text.append(element.text)
                if name != "page":
                    continue
                space = f"{space}}}" if space else ""  # tags come as "{namespace of the dump}page"
                title, markup = element.findtext(f"{space}title") or "", _newest(element, space)
                number = element.findtext(f"{space}ns") or ("0" if _is_article(title, spaces) else "1")
                is_redirect = element.find(f"{space}redirect") is not None or _REDIRECT.match(markup)
                if number == "0" and not is_redirect:
                    found = found or bool(markup.strip())
                    yield title, _with_plain_names(markup, no_text)
                pages += 1
                element.clear()  # keeps memory flat
                stream.left = _LARGEST_PAGE
    except (OSError, EOFError, ValueError, LookupError, ElementTree.ParseError) as error:  # encodings: the last but one
        raise UserError(f"{path} is not a whole bz2 MediaWiki dump ({error}): fetch sources.wikipedia again") from None
    if not found:
        raise UserError(
            f"{path} has no article with text among {pages} pages: sources.wikipedia takes a dump with the text of "
            "pages in the main namespace (pages-articles)"
        )


def _newest(page: ElementTree.Element, space: str) -> str:
    """The text of a page's newest revision; `space` is what its tags begin with."""
    revisions = [
        (revision.findtext(f"{space}timestamp") or "", place, revision)
        for place, revision in enumerate(page.findall(f"{space}revision"))
    ]
    if not revisions:
        return ""
    newest = max(revisions)[2]
    if (newest.findtext(f"{space}model") or "wikitext") != "wikitext":
        return ""  # a style sheet, or a page of code
    return newest.findtext(f"{space}text") or ""


def _with_plain_names(markup: str, names: list[str]) -> str:
    """Mark-up whose links to these namespaces are links to "File:"."""
    pattern = rf"\[\[\s*(?:{'|'.join(map(re.escape, names))})\s*:"
    return re.sub(pattern, "[[File:", markup, flags=re.IGNORECASE) if names else markup


def _is_article(title: str, spaces: set[str]) -> bool:
    """Whether no name of another namespace, or of its talk pages, stands before the title."""
    name, colon, _ = title.lower().replace("_", " ").partition(":")
    return not colon or not {name.strip(), name.strip().removesuffix(" talk")} & spaces


def strip_markup(markup: str) -> str:
    """The running text of an article: paragraphs and headings, one a line, without empty lines.

    There is none of mark-up with hundreds of templates that never end.
    """
    if _open_templates(markup) > _MOST_OPEN:
        return ""  # the parser tries each to the end: minutes for a few thousand
    code = mwparserfromhell.parse(markup.translate(dict.fromkeys(_UNSHIELD)))
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
            lines.append(line.translate(_UNSHIELD))
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
    if isinstance(node, HTMLEntity):
        char = node.normalize()
        return [Text(char.translate(_SHIELD))] if char in ("<", ">") else [node]
    if isinstance(node, Template):
        values = [_argument(node, place) for place in takewhile(node.has, count(1))]
        named = {str(param.name).strip(): _argument(node, param.name) for param in node.params if param.showkey}
        return [Text(shown(str(node.name).strip().lower(), values, named))]
    if isinstance(node, Tag):
        name = str(node.tag).strip().lower()
        if name in _DROPPED_TAGS:
            return []
        if name == "nowiki" and node.contents is not None:
            return [Text(node.contents.strip_code().translate(_SHIELD))]
        if node.contents is not None:
            _prune(node.contents)
        if name in _BLOCKS and not node.wiki_markup:
            return [Text("\n"), node, Text("\n")]
    elif isinstance(node, Wikilink):
        if _is_dropped(str(node.title)):
            return []
        if node.text is not None:
            _prune(node.text)
        elif (title := node.title.strip_code().strip()).startswith(":"):
            return [Text(title[1:])]
    elif isinstance(node, Heading | ExternalLink) and node.title is not None:
        _prune(node.title)
    return [node]


def _is_dropped(title: str) -> bool:
    """Whether a link to `title` is no text. With a colon before it, it stands in the sentence."""
    name, colon, _ = title.strip().partition(":")
    name = name.strip().lower()
    return bool(colon) and (name in _DROPPED_SPACES or name in _LANGUAGES)


def _argument(template: Template, name: int | str) -> str:
    value = template.get(name).value
    _prune(value)
    return value.strip_code().strip()
