"""How a source is written, in params.yaml as in the catalogue of benchmarks: where a file or folder is."""

import re
from typing import NamedTuple

from dskd.errors import UserError
from dskd.sources.archives import is_inside
from dskd.sources.download import is_safe

FORMS = (
    "pypi:NAME==VERSION!PATH/IN/ARCHIVE, hf:[datasets/]OWNER/NAME@REVISION[!PATH], nltk:ID, "
    "https://HOST/PATH[!PATH/IN/ARCHIVE] or file:PATH"
)
_NAME = r"[a-z0-9_][a-z0-9_.-]*"  # a name, and never an option of a program or a way out of a folder
_PATTERNS = {
    "pypi": rf"(?P<name>{_NAME}==[a-z0-9][a-z0-9_.+-]*)!(?P<path>.+)",
    "hf": rf"(?P<name>(?:datasets/)?{_NAME}/{_NAME}@{_NAME}(?:/{_NAME})*)(?:!(?P<path>.+))?",
    "nltk": rf"(?P<name>(?:{_NAME}/)?{_NAME})(?P<path>)",
    "https": r"(?P<name>//[a-z0-9_.-]+(?::\d{1,5})?/[^\s?#!\x80-\U0010ffff]+)(?:!(?P<path>.+))?",
    "file": r"(?P<name>.+)(?P<path>)",
}


class Place(NamedTuple):
    """A source, taken apart."""

    text: str  # as it is written
    form: str  # pypi, hf, nltk, https or file
    name: str  # NAME==VERSION, [datasets/]OWNER/NAME@REVISION, ID, the whole address, or the path of a file
    path: str | None  # of a file, or with / at its end a folder, in the archive or repository


def parse(source: str) -> Place:
    """A source that is not in parts.

    Raises:
        UserError: it is malformed, or what comes from there can be changed on its way.
    """
    form, _, rest = source.partition(":")
    form = "https" if form == "http" else form
    found = re.fullmatch(_PATTERNS.get(form, "(?!)"), rest, re.ASCII | re.IGNORECASE)
    if found is None or not source.isprintable() or not is_inside(found["path"] or ""):
        raise UserError(f"source {re.sub('//.*@', '//', source)!r} is malformed: write {FORMS}")
    if form != "https":
        return Place(source, form, found["name"], found["path"] or None)
    address = source.partition("!")[0]
    if not is_safe(address):
        raise UserError(f"{source}: what comes over http can be changed on its way: write https:")
    return Place(source, form, address, found["path"])
