"""Words as tokens: what a word is when it is written inside a text, after a space."""

from collections.abc import Iterable

from dskd.artifacts import UserError

# Words are tokenised after a comma, whose tokens are then cut off: a tokenizer of the SentencePiece kind
# (Mistral) puts a space of its own before the text, so that " bank" alone would begin with two.
_BEFORE = ","


def word_tokens(tokenizer, words: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The token ids of each word written with a leading space, as inside a sentence.

    Raises:
        UserError: the tokenizer joins a comma and the space after it.
    """
    words = sorted(set(words))
    if not words:
        return {}
    prefix = tokenizer(_BEFORE, add_special_tokens=False)["input_ids"]
    rows = tokenizer([f"{_BEFORE} {word}" for word in words], add_special_tokens=False)["input_ids"]
    if any(row[: len(prefix)] != prefix for row in rows):
        raise UserError("this tokenizer joins a word with the comma before it: use a teacher with another tokenizer")
    return {word: tuple(row[len(prefix) :]) for word, row in zip(words, rows)}


def is_head(word: str, tokens: tuple[int, ...], min_letters: int) -> bool:
    """A head is one token, alphabetic, of at least `min_letters` letters (docs/method.md, section 2.3)."""
    return len(tokens) == 1 and word.isalpha() and len(word) >= min_letters


def is_tail(tokens: tuple[int, ...], max_span: int) -> bool:
    """A tail is a span of 1 to `max_span` tokens."""
    return 1 <= len(tokens) <= max_span
