"""Words as tokens: what a word is when it is written inside a text, after a space."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from dskd.errors import UserError
from dskd.infra.artifacts import LEXICON
from dskd.lexicon.relations import heldout_words

if TYPE_CHECKING:
    import pandas as pd
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    from dskd.params import LexiconParams

# Words are tokenised after a comma, whose tokens are then cut off: a tokenizer of the SentencePiece kind
# (Mistral) puts a space of its own before the text, so that " bank" alone would begin with two.
_BEFORE = ","


def word_tokens(tokenizer, words: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The token ids of each word written with a leading space, as inside a sentence; none where the tokenizer does not
    know all of it: its token for what is unknown is that of many words.

    Raises:
        UserError: the tokenizer joins a comma and the space after it.
    """
    words = sorted(set(words))
    if not words:
        return {}
    options = {"add_special_tokens": False, "return_attention_mask": False}
    prefix = tokenizer(_BEFORE, **options)["input_ids"]
    rows = tokenizer([f"{_BEFORE} {word}" for word in words], **options)["input_ids"]
    if any(row[: len(prefix)] != prefix for row in rows):
        raise UserError("this tokenizer joins a word with the comma before it: use a teacher with another tokenizer")
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    name = getattr(model, "unk_token", None)  # which the tokenizer around it need not know
    unknown = {tokenizer.unk_token_id, None if name is None else tokenizer.convert_tokens_to_ids(name)} - {None}
    spans = [tuple(row[len(prefix) :]) for row in rows]
    if model is not None and not unknown:  # what it does not know may be left out
        spans = [span if _is_whole(tokenizer, word) else () for word, span in zip(words, spans)]
    return {word: () if unknown & {*span} else span for word, span in zip(words, spans)}


def _is_whole(tokenizer, word: str) -> bool:
    """Whether each letter of a word is in one of its tokens."""
    found = tokenizer(word, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return len({place for start, end in found for place in range(start, end)}) >= len(word.replace(" ", ""))


def check_tokens(lexicon: "pd.DataFrame", tokenizer) -> None:
    """Raise UserError where the tokens of the lexicon's table are not those that this tokenizer makes of its words."""
    tokens = word_tokens(tokenizer, {*lexicon["form"], *lexicon["tail"]})
    stated = chain(zip(lexicon["form"], zip(lexicon["head_token"])), zip(lexicon["tail"], lexicon["tail_tokens"]))
    for word, span in stated:
        if tokens[word] != span:
            raise UserError(
                f"{LEXICON} was made with another tokenizer, which has other tokens for {word!r}: run "
                "`dvc repro lexicon`, or get it and the teacher of one run"
            )


def head_forms(
    tokenizer, words: Iterable[str], min_letters: int, inflections: Mapping[str, Sequence[str]]
) -> dict[str, list[tuple[str, int]]]:
    """Word -> the forms of it that are heads, each with its token; words without any are left out.

    A head is one token, alphabetic, of at least `min_letters` letters (docs/method.md, section 2). The forms are the
    word, its `inflections`, and both with a capital: "bank", "Bank", "banks", "Banks".
    """
    forms = {
        word: [form for form in _forms(word, inflections) if form.isalpha() and len(form) >= min_letters]
        for word in words
    }
    tokens = word_tokens(tokenizer, (form for found in forms.values() for form in found))
    heads = {}
    for word, found in forms.items():
        if single := [(form, tokens[form][0]) for form in found if len(tokens[form]) == 1]:
            heads[word] = single
    return heads


def _forms(word: str, inflections: Mapping[str, Sequence[str]]) -> list[str]:
    lower = [word, *inflections.get(word, ())]
    return [*lower, *(form[:1].upper() + form[1:] for form in lower)]


def is_tail(tokens: tuple[int, ...], max_span: int) -> bool:
    """A tail is a span of 1 to `max_span` tokens."""
    return 1 <= len(tokens) <= max_span


def inflected_forms(
    tokenizer, reader: "WordNetCorpusReader", words: Iterable[str], settings: "LexiconParams | None" = None
) -> dict[str, list[str]]:
    """Word -> the inflected forms of it that the tokenizer has as tokens, by WordNet's rules and exceptions (Morphy).

    A form that is a word of `words` itself ("better") is no form of another one. With `settings` no held-out word is a
    form, or it would have the relations of its base.
    """
    words = set(words)
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    found: dict[str, list[str]] = {}
    forms = {text.strip() for text in texts} - words
    if settings is not None:
        forms -= heldout_words(forms, settings.seed, settings.heldout_share)
    for form in sorted(forms):
        if form.isalpha() and form.islower():
            lemmas = {reader.morphy(form, pos) for pos in "nvar"} & words
            for lemma in sorted(lemmas):
                found.setdefault(lemma, []).append(form)
    return found
