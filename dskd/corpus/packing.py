"""Documents as blocks of tokens: drawn in a seeded order, and packed one after the other, or in pieces."""

from array import array
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from dskd.corpus.copies import fingerprint, fingerprints
from dskd.corpus.documents import Document
from dskd.infra.randomness import hash_integers, text_key, uniform
from dskd.model.tokenizer import before_text

_BATCH_CHARACTERS = 50_000  # rendered and tokenised at a time: little is done in vain for a small corpus
_SPLIT, _ORDER, _PIECE = (text_key(f"corpus.{use}") for use in ("split", "order", "piece"))


class PackedText(NamedTuple):
    blocks: np.ndarray  # (n, L+1) int32
    ids: list[str]  # of the documents in the blocks, in order
    starts: list[int]  # of their first tokens in the stream, which block b covers from b·L to b·L+L; none of pieces
    characters: int  # of these documents; the last may be cut by the end of the last block
    document: np.ndarray  # (n,) int32: which of them has most of a block's tokens
    prints: list[str]  # of these documents (`copies.fingerprint` of their text)


class Packing(NamedTuple):
    """How documents become blocks."""

    length: int  # tokens that are predicted in a block (L)
    separator: int  # the token that closes a document
    label: str  # of the progress bar


def draw(documents: list[Document], split: str, seed: int, heldout_share: float) -> list[Document]:
    """The documents of a split in their order. Both depend on (seed, id) alone: another token budget never moves a
    document to the other split."""
    if not documents:
        return []
    keys = np.array([text_key(document.id) for document in documents], dtype=np.uint64)
    heldout = uniform(_SPLIT, seed, keys) < heldout_share
    order = np.argsort(hash_integers(_ORDER, seed, keys), kind="stable")
    return [documents[i] for i in order if heldout[i] == (split == "heldout")]


def draw_training(documents: list[Document], seed: int, heldout_share: float) -> tuple[list[Document], int]:
    """The documents to train on in their order, without copies of held-out ones (`copies.fingerprint`), and how many
    copies there are: of a text that stands under two names, one may be held out."""
    heldout = fingerprints(draw(documents, "heldout", seed, heldout_share))
    every = draw(documents, "train", seed, heldout_share)
    kept = [document for document in every if fingerprint(document) not in heldout] if heldout else every
    return kept, len(every) - len(kept)


def pack(documents: list[Document], wanted: int, tokenizer, settings: Packing) -> PackedText:
    """Up to `wanted` blocks from the beginning of the documents' stream."""
    length = settings.length
    need = wanted * length + 1 if wanted else 0
    tokens, ids, starts, prints, characters = array("i"), [], [], [], 0  # four bytes a token, however long the text is
    with _bar(need, settings) as bar:
        for document, text, row in _token_rows(documents if wanted else [], tokenizer):
            ids.append(document.id)
            prints.append(fingerprint(document, text))
            starts.append(len(tokens))
            tokens.extend((*row, settings.separator))
            characters += len(text)
            bar.update(min(len(tokens), need) - bar.n)
            if len(tokens) >= need:
                break
    blocks = max(0, min(wanted, (len(tokens) - 1) // length))
    stream = np.frombuffer(tokens, dtype=np.int32) if tokens else np.empty(0, np.int32)
    place = np.arange(blocks)[:, None] * length + np.arange(length + 1)[None, :]  # (blocks, L+1)
    packed = stream[place] if blocks else np.empty((0, length + 1), np.int32)
    owners = np.searchsorted(starts, place[:, 1:], side="right") - 1  # the document of each predicted token
    document = np.array([np.bincount(row).argmax() for row in owners], dtype=np.int32)
    ids, starts, prints = (ids, starts, prints) if blocks else ([], [], [])
    return PackedText(_begun(packed, tokenizer), ids, starts, characters, document, prints)


def pack_pieces(
    documents: list[Document], wanted: int, most: int, seed: int, tokenizer, settings: Packing
) -> PackedText:
    """Up to `wanted` blocks, of each document at most `most` that follow one another, so that no block has two
    documents. A hash of (seed, id) draws the block that a piece begins with. A document without a whole block has none.
    """
    length, pieces, ids, prints, characters = settings.length, [], [], [], 0
    with _bar(wanted * length, settings) as bar:
        for document, text, row in _token_rows(documents if wanted else [], tokenizer):
            row = np.array([*row, settings.separator], dtype=np.int32)
            there = (len(row) - 1) // length
            free = there - min(most, there) + 1  # blocks that the piece may begin with
            taken = min(most, there, wanted - sum(map(len, pieces)))
            if taken:
                first = int(hash_integers(_PIECE, seed, text_key(document.id)) % np.uint64(free))
                place = (first + np.arange(taken))[:, None] * length + np.arange(length + 1)  # (taken, L+1)
                pieces.append(row[place])
                ids.append(document.id)
                prints.append(fingerprint(document, text))
                characters += len(tokenizer.decode(row[first * length : (first + taken) * length + 1]))
                bar.update(taken * length)
            if bar.n >= wanted * length:
                break
    packed = np.concatenate([np.empty((0, length + 1), np.int32), *pieces])
    owners = np.repeat(np.arange(len(pieces), dtype=np.int32), list(map(len, pieces)))
    return PackedText(_begun(packed, tokenizer), ids, [], characters, owners, prints)


def _bar(tokens: int, settings: Packing) -> tqdm:
    return tqdm(total=tokens, desc=settings.label, unit=" tokens", unit_scale=True, mininterval=0.5)


def _token_rows(documents: list[Document], tokenizer) -> Iterator[tuple[Document, str, list[int]]]:
    """(document, text, tokens) of each document that has text."""
    for batch in _batches(documents):
        # Split special tokens: a text that names one must not close its document.
        texts = [text for _, text in batch]
        rows = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        yield from ((document, text, row) for (document, text), row in zip(batch, rows))


def _batches(documents: list[Document]) -> Iterator[list[tuple[Document, str]]]:
    batch, size = [], 0
    for document in documents:
        text = document.text()
        if text:
            batch.append((document, text))
            size += len(text)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _begun(blocks: np.ndarray, tokenizer) -> np.ndarray:
    """The blocks (n, L+1), each with what the tokenizer begins a text with in the place of its first tokens: Gemma and
    others read no text well that begins without it."""
    if beginning := before_text(tokenizer):
        blocks[:, : len(beginning)] = beginning
    return blocks
