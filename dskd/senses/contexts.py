"""Where a sense was met, as text: the words on both sides of its nearest states, and the document they are in."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dskd.senses.store import Senses

if TYPE_CHECKING:
    import pandas as pd

WORDS = 12  # on each side
_TOKENS = 3 * WORDS  # that hold so many words, nearly always
_BATCH = 10_000  # contexts in memory as lists of tokens


class ReadText(Protocol):
    """The text of a dictionary, as far as contexts need it: `corpus.dictionary.DictionaryText`."""

    @property
    def starts(self) -> Tensor: ...

    @property
    def documents(self) -> list[str]: ...

    @property
    def joined(self) -> bool: ...

    def stream(self) -> Tensor: ...


def contexts_table(senses: Senses, text: ReadText, tokenizer: PreTrainedTokenizerBase) -> "pd.DataFrame":
    """A row for each context of each sense, the nearest first, with the columns of `store.save_contexts`."""
    import pandas as pd

    parts = [pd.DataFrame(columns) for columns in contexts_of(senses, text, tokenizer)]
    return pd.concat(parts, ignore_index=True)


def contexts_of(senses: Senses, text: ReadText, tokenizer: PreTrainedTokenizerBase) -> Iterator[dict[str, list]]:
    """Some thousands of contexts at a time, by sense and then the nearest first: the columns of
    `store.save_contexts`."""
    stream = text.stream()
    ends = torch.cat([text.starts[1:], torch.tensor([len(stream)])])  # a separator there is decoded to nothing
    sense, place = (senses.contexts >= 0).nonzero(as_tuple=True)
    tokens = senses.tokens.repeat_interleave(senses.offsets.diff())[sense]
    for group in torch.arange(len(sense)).split(_BATCH):
        positions = senses.contexts[sense[group], place[group]]
        # The document of the token, which follows the state: a state at a document's end expects the next one.
        of = torch.searchsorted(text.starts, positions + text.joined, right=True) - 1
        lefts, rights = [], []
        for position, token, document in zip(positions.tolist(), tokens[group].tolist(), of.tolist()):
            start, end = int(text.starts[document]), int(ends[document])
            lefts.append(stream[max(start, position + 1 - _TOKENS) : position + 1])
            follows = stream[position + 1 : min(end, position + 2 + _TOKENS)]
            rights.append(follows[1:] if len(follows) and int(follows[0]) == token else follows)
        yield {
            "token": tokenizer.batch_decode(tokens[group][:, None]),
            "sense": sense[group].tolist(),
            "left": [_last_words(found) for found in _decoded(lefts, tokenizer)],
            "right": [_first_words(found) for found in _decoded(rights, tokenizer)],
            "document": [text.documents[document] for document in of.tolist()],
        }


def _decoded(ids: list[Tensor], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Texts in one line each: every kind of space becomes a space, and what cannot be printed too."""
    texts = tokenizer.batch_decode([found.tolist() for found in ids], skip_special_tokens=True)
    return ["".join(char if char.isprintable() else " " for char in found) for found in texts]


def _last_words(text: str) -> str:
    return " ".join(text.split()[-WORDS:])


def _first_words(text: str) -> str:
    """With the space before them, if there is one: the right side may go on with the word."""
    return (" " if text[:1] == " " else "") + " ".join(text.split()[:WORDS])
