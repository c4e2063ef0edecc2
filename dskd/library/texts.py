"""Any texts as blocks of tokens, and a model's last hidden states of them, read once and bounded in memory."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dskd.errors import UserError
from dskd.model.parts import run_part
from dskd.model.tokenizer import before_text, separator_token

_TEXTS = 64  # tokenised at a time
_BLOCKS = 32  # in one chunk, whose states are held in memory together


class TextChunk(NamedTuple):
    """Blocks of one stream of tokens, which block b of all covers from b * L to b * L + L (docs/method.md, 3.1)."""

    blocks: Tensor  # (b, L + 1) int32
    starts: list[int]  # where in the stream the texts begin that were tokenised for this chunk

    @property
    def labels(self) -> Tensor:
        """The token that follows each state: (b, L) int32."""
        return self.blocks[:, 1:]


def text_chunks(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int) -> Iterator[TextChunk]:
    """The texts one after the other, each closed by the tokenizer's separator; a last block that is not full is left
    out. A block begins with the tokens that the tokenizer puts before a text, as in the pipeline's corpus.

    Args:
        length: states of a block (L).

    Raises:
        UserError: `texts` is one string, holds something that is no string, or fills no block.
    """
    separator, beginning = separator_token(tokenizer), before_text(tokenizer)
    stream: list[int] = []
    starts: list[int] = []
    read = given = 0  # tokens that lie before `stream`, and blocks so far

    def cut(blocks: int) -> TextChunk:
        ids = torch.tensor(stream[: blocks * length + 1], dtype=torch.int32).unfold(0, length + 1, length).clone()
        if beginning:
            ids[:, : len(beginning)] = torch.tensor(beginning, dtype=torch.int32)
        del stream[: blocks * length]
        return TextChunk(ids, starts.copy())

    for rows in _tokenised(texts, tokenizer):
        for row in rows:
            starts.append(read + len(stream))
            stream.extend((*row, separator))
        while len(stream) > _BLOCKS * length:
            yield cut(_BLOCKS)
            starts.clear()
            read, given = read + _BLOCKS * length, given + _BLOCKS
    if blocks := max(0, len(stream) - 1) // length:
        yield cut(blocks)
    elif not given:
        raise UserError(
            f"the texts have {len(stream)} tokens, and a block needs {length + 1}: give more text, or a smaller length"
        )


def _tokenised(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> Iterator[list[list[int]]]:
    if isinstance(texts, str):
        raise UserError("texts is one string, and each of its letters would be a text: give a list of strings")
    waiting = iter(texts)
    while batch := list(islice(waiting, _TEXTS)):
        if odd := next((text for text in batch if not isinstance(text, str)), None):
            hint = ': give (row["text"] for row in rows)' if isinstance(odd, dict) else ""
            raise UserError(f"texts holds a {type(odd).__name__}, and takes strings{hint}")
        if kept := [text for text in batch if text]:
            # Split special tokens: a text that names one must not close its document.
            yield tokenizer(kept, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]


@torch.no_grad()
def last_states(model: PreTrainedModel, blocks: Tensor, batch_size: int) -> Tensor:
    """The model's last hidden states after its final norm, of the first L tokens of each block: (b, L, d), on the CPU
    and in the model's own dtype. The model is run in evaluation mode and left as it was."""
    training, base = model.training, cast(PreTrainedModel, model.base_model)
    model.eval()
    try:
        return torch.cat([run_part(base, ids=ids).cpu() for ids in blocks[:, :-1].split(batch_size)])
    finally:
        model.train(training)


def states_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str],
    *,
    states: int = 16_384,
    length: int = 256,
    batch_size: int = 8,
) -> Tensor:
    """The model's last hidden states of the first tokens of these texts: what `StateLoss.whitened` is made of.

    Args:
        model: a causal language model of transformers, on any device.
        texts: any iterable of strings, of which no more is read than is needed.
        states: how many, at most. A covariance of d dimensions needs several times d.
        length: tokens of a block, and so the longest context; batch_size: blocks that the model reads at one time.

    Returns:
        (n, d) in the model's dtype, on the CPU.

    Raises:
        UserError: the texts fill no block.
    """
    found: list[Tensor] = []
    left = -(-states // length)  # blocks
    for chunk in text_chunks(texts, tokenizer, length):
        found.append(last_states(model, chunk.blocks[:left], batch_size).flatten(0, 1))
        left -= len(chunk.blocks)
        if left <= 0:
            break
    return torch.cat(found)[:states]
