"""Where a sense was met, as text: the words on both sides of its nearest states, and the document they are in."""

import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dskd.corpus.dictionary import DictionaryText
from dskd.senses.store import SenseDictionary

WORDS = 12  # on each side
_TOKENS = 3 * WORDS  # that hold so many words, nearly always
_BATCH = 10_000  # contexts in memory as lists of tokens


def contexts_table(senses: SenseDictionary, text: DictionaryText, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """A row for each context of each sense, the nearest first, with the columns of `store.save_contexts`."""
    stream = text.stream()
    ends = torch.cat([text.starts[1:], torch.tensor([len(stream)])])  # a separator there is decoded to nothing
    sense, place = (senses.contexts >= 0).nonzero(as_tuple=True)
    tokens = senses.tokens.repeat_interleave(senses.offsets.diff())[sense]
    rows = []
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
        columns = {
            "token": tokenizer.batch_decode(tokens[group][:, None]),
            "sense": sense[group].tolist(),
            "left": [_last_words(found) for found in _decoded(lefts, tokenizer)],
            "right": [_first_words(found) for found in _decoded(rights, tokenizer)],
            "document": [text.documents[document] for document in of.tolist()],
        }
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)


def _decoded(ids: list[Tensor], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Texts in one line each: every kind of space becomes a space, and what cannot be printed too."""
    texts = tokenizer.batch_decode([found.tolist() for found in ids], skip_special_tokens=True)
    return ["".join(char if char.isprintable() else " " for char in found) for found in texts]


def _last_words(text: str) -> str:
    return " ".join(text.split()[-WORDS:])


def _first_words(text: str) -> str:
    """With the space before them, if there is one: the right side may go on with the word."""
    return (" " if text[:1] == " " else "") + " ".join(text.split()[:WORDS])
