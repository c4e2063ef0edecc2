"""Texts compared by their letters."""

import re
import unicodedata

_NO_LETTERS = re.compile(r"[\W_]+")


def letters(text: str) -> str:
    """The letters and digits of a text, in lower case; other forms of a letter (NFKC) are the same."""
    return _NO_LETTERS.sub("", unicodedata.normalize("NFKC", text).lower())
