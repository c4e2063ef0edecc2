"""Which words are related to a token, as spans of tokens, in the order of their support."""

from collections.abc import Iterable

Span = tuple[int, ...]  # the tokens of a word


def ranked_spans(rows: Iterable[tuple[int, str, Span, int]]) -> dict[int, list[Span]]:
    """Head token -> the related words as spans of tokens, those that most senses support first, then by alphabet.

    Args:
        rows: head token, related word, its tokens, and how many senses support the pair; a pair may come again.
    """
    support: dict[int, dict[Span, tuple[int, str]]] = {}
    for head, tail, span, senses in rows:
        spans = support.setdefault(head, {})
        count, word = spans.get(span, (0, tail))
        spans[span] = (count - senses, min(word, tail))  # negative: the largest sorts first
    return {head: sorted(spans, key=spans.__getitem__) for head, spans in sorted(support.items())}
