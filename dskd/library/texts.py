"""Any texts as blocks of tokens, and a model's last hidden states of them, read once and bounded in memory."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dskd.errors import UserError
from dskd.infra.lines import MARK
from dskd.library.models import check_plain, evaluating, no_autocast, vocabulary
from dskd.model.architecture import sees_ahead
from dskd.model.parts import run_part
from dskd.model.tokenizer import before_text, check_ids, separator_token

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


def check_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, length: int, batch_size: int) -> None:
    """Raise UserError where model and tokenizer do not fit, a block of so many tokens is more than it reads, or the
    model sees what follows a token, which is tried on a few."""
    check_plain(model)
    name, head = type(model).__name__, model.get_output_embeddings()
    if not hasattr(head, "weight"):
        raise UserError(f"{name} has no output head: load it with AutoModelForCausalLM")
    tokens = vocabulary(model)
    check_ids(tokenizer, tokens, name)
    most = getattr(model.config, "max_position_embeddings", None)
    for title, value in (("length", length), ("batch_size", batch_size)):
        if type(value) is not int or value < 1:
            raise UserError(f"{title} = {value!r}: it takes a whole number of 1 or more")
    if most is not None and length > most:
        raise UserError(f"length = {length}, and {name} reads {most} tokens at most: take a smaller length")
    base = cast(PreTrainedModel, model.base_model)
    with torch.no_grad(), no_autocast(), evaluating(model):
        encoder = getattr(model.config, "is_encoder_decoder", False)
        if encoder or sees_ahead(lambda ids: run_part(base, ids=ids), tokens):
            raise UserError(
                f"{name} sees what follows a token, so that its states know the token that they are to predict: take a "
                "model of AutoModelForCausalLM"
            )


def text_chunks(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int) -> Iterator[TextChunk]:
    """The texts one after the other, each closed by the tokenizer's separator; a last block that is not full is left
    out. A block begins with the tokens that the tokenizer puts before a text, as in the pipeline's corpus.

    Args:
        length: states of a block (L).

    Raises:
        UserError: `texts` is one string, holds something that is no string, is of rows of JSON, or fills no block.
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
    if isinstance(texts, Mapping) or not isinstance(texts, Iterable):
        raise UserError(f"texts is a {type(texts).__name__}: give a list of strings, or another iterable of them")
    # The end of a line is no part of the text that it ends, nor is a mark of the order of bytes.
    is_file = hasattr(texts, "readline")  # also where it is no TextIOBase, as of codecs.open
    waiting = (line.removesuffix("\n").removesuffix("\r") for line in texts) if is_file else iter(texts)
    first = True
    while batch := list(islice(waiting, _TEXTS)):
        if odd := [text for text in batch if not isinstance(text, str)]:
            hint = ': give (row["text"] for row in rows)' if isinstance(odd[0], dict) else ""
            raise UserError(f"texts holds a {type(odd[0]).__name__}, and takes strings{hint}")
        if half := [text for text in batch if not is_unicode(text)]:
            raise UserError(f"texts holds half a character in {half[0][:40]!a}: read it with encoding='utf-8'")
        if first and _are_rows(batch):
            raise UserError(
                'the texts are rows of JSON, with names and quotation marks: give their texts, json.loads(row)["text"]'
            )
        first = False
        if kept := [text for text in (text.removeprefix(MARK) for text in batch) if text]:
            # Split special tokens: a text that names one must not close its document.
            yield tokenizer(kept, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]


def _are_rows(batch: list[str]) -> bool:
    """Whether most of the texts are rows of one table in JSON: objects with the same names in them."""
    rows = [text.removeprefix(MARK).strip().removesuffix(",") for text in batch]
    names: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        try:
            names[tuple(json.loads(row))] += row.startswith("{")
        except (ValueError, RecursionError, TypeError):
            continue
    return 2 * max(names.values(), default=0) > sum(map(bool, rows))


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded: it holds no half of a surrogate pair."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


@torch.no_grad()
@no_autocast()
def last_states(model: PreTrainedModel, blocks: Tensor, batch_size: int) -> Tensor:
    """The model's last hidden states after its final norm, of the first L tokens of each block: (b, L, d), on the CPU
    and in the model's own dtype. The model is run in evaluation mode and left as it was. UserError where a state is not
    finite: every mean of it would be wrong."""
    base = cast(PreTrainedModel, model.base_model)
    with evaluating(model):
        found = torch.cat([run_part(base, ids=ids).cpu() for ids in blocks[:, :-1].split(batch_size)])
    if not found.isfinite().all():
        raise UserError(f"{type(model).__name__} gives states that are not finite: load it in bfloat16 or float32")
    return found


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
        UserError: the texts fill no block, model and tokenizer do not fit, or a state is not finite.
    """
    check_model(model, tokenizer, length, batch_size)
    if states < 1:
        raise UserError(f"states = {states}: ask for one state or more")
    found: list[Tensor] = []
    left = -(-states // length)  # blocks
    for chunk in text_chunks(texts, tokenizer, length):
        found.append(last_states(model, chunk.blocks[:left], batch_size).flatten(0, 1))
        left -= len(chunk.blocks)
        if left <= 0:
            break
    return torch.cat(found)[:states]
