"""Which documents have the same text, whatever they are called: no copy of a held-out text may be trained on."""

import hashlib
import unicodedata
from collections.abc import Iterable

from dskd.corpus.documents import Document
from dskd.infra.hashes import letters

# Of a text with a title: what is shorter is no text of its own. Articles are like that of which WikiExtractor left the
# head of a table alone; dozens of stations along one line then say the same.
_SHORTEST = 50  # letters and digits


def fingerprint(document: Document, text: str = "") -> str:
    """A hash of a document's letters, the same for copies; "" where it has none, or a title and too few.

    Without its `text`, that of a dump's article is made of the mark-up, since taking it off takes long: copies of it in
    other forms have another one.
    """
    found = letters(text or document.markup or document.text())
    if not found or (document.title and len(found) < _SHORTEST):
        return ""
    return hashlib.sha256(found.encode()).hexdigest()


def fingerprints(documents: Iterable[Document]) -> set[str]:
    """Those of the documents that have one."""
    return set(map(fingerprint, documents)) - {""}


def same_title(document: Document) -> str:
    """A document's title as it is compared with that of another text: in one case, spaces for underscores."""
    title = unicodedata.normalize("NFC", document.title.replace("_", " "))
    return unicodedata.normalize("NFC", " ".join(title.split()).casefold())
