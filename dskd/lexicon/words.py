"""What the readers of word lists have in common: how a word is written, and how a sense is named."""

import unicodedata

LONGEST = 255  # characters; a longer title does not fit into MediaWiki either (255 bytes)
_LONGEST_PART = 100  # characters of a part of a sense's name


def normalised(text: str) -> str:
    """A word in lower case and NFC, with single spaces, also for underscores; "" if `text` is no word.

    A word has a letter, no control, format or surrogate characters, and at most LONGEST characters.
    """
    if len(text) > 2 * LONGEST:  # before anything that takes time; NFC may halve it
        return ""
    word = unicodedata.normalize("NFC", " ".join(text.lower().replace("_", " ").split()))
    kept = len(word) <= LONGEST and word.isprintable() and any(map(str.isalpha, word))
    return word if kept else ""


def sense_name(*parts: object) -> str:
    """Parts joined by full stops, in one line: "bank.noun.1".

    Each is cut to 100 characters, and ";", which separates the senses in the lexicon's table, becomes ",".
    """
    name = ".".join(str(part)[:_LONGEST_PART] for part in parts).replace(";", ",")
    if not name.isprintable():
        name = "".join(char if char.isprintable() else " " for char in name)
    return " ".join(name.split())
