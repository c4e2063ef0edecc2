"""The text to train and evaluate on: Wikipedia or another, WordNet's glosses and prompts as blocks of tokens.

Documents are split, ordered and packed source by source, so that the share of glosses is exact; block b of
a source covers tokens b·L to b·L+L of its stream, so that each token but the first is predicted once. Where the
tokenizer begins every text with tokens of its own, so does every block, in the place of its first tokens.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from dskd.corpus.documents import Document, text_documents
from dskd.corpus.packing import PackedText, Packing, draw, draw_training, pack, pack_pieces
from dskd.corpus.prompts import Prompts, pack_prompts, too_long
from dskd.corpus.store import SOURCES, SPLITS
from dskd.corpus.word_documents import gloss_documents, lexicon_documents
from dskd.errors import UserError
from dskd.infra.randomness import hash_integers, text_key
from dskd.model.tokenizer import before_text, separator_token
from dskd.params import CorpusParams, LexiconParams

_MIX = text_key("corpus.mix")


def build_corpus(
    corpus: CorpusParams,
    lexicon: LexiconParams,
    text: Path,
    reader,
    tokenizer,
    prompts: Prompts | None = None,
    related: pd.DataFrame | None = None,
) -> tuple[dict[str, torch.Tensor], dict]:
    """Blocks of both splits, and an account of them.

    Synsets with a held-out word among their lemmas are left out of both splits: the lexical tasks ask for them.
    All articles' mark-up is held in memory, since documents are drawn in seeded order. Blocks of prompts
    (`pack_prompts`) come to the training split, beside what `corpus.train_tokens` asks for. With
    `corpus.heldout_piece` the held-out plain text is pieces of documents (`pack_pieces`).

    Args:
        related: the lexicon's table, which is written out where `corpus.lexicon_share` asks for it.

    Returns:
        tensors: `train` (n, L+1) and `heldout` (m, L+1) int32; `train_source` (n,) and `heldout_source` (m,)
            int8, a place in `store.SOURCES`. Blocks of one source keep the order of its stream. `heldout_document`
            (m,) int32 says which of the summary's `heldout_documents` has most of the block's tokens.
        summary: what corpus.json holds; of held-out text `bytes` are the UTF-8 bytes of the `byte_tokens` target
            tokens that are text. The copies of held-out documents are counted where there are some.

    Raises:
        UserError: a split has no block, or none of a source that it was to have; the dump is broken; the tokenizer has
            no token to close a document.
    """
    separator = separator_token(tokenizer)
    documents = {"wiki": text_documents(text)}
    documents["gloss"], left_out = gloss_documents(reader, lexicon)
    documents["lexicon"] = [] if related is None else lexicon_documents(related)

    # The blocks of each split, first by source and then mixed.
    tensors, rows, short, copies = {}, {}, {}, {}
    texts: dict[str, list[tuple[str, str]]] = {}  # the name of each document and its fingerprint
    for split in SPLITS:
        packed = _packed(split, documents, corpus, tokenizer, separator)
        streams = {source: stream.text.blocks for source, stream in packed.items()}
        for source, stream in packed.items():
            row = rows[f"{split}.{source}"] = _account(stream)
            copies |= {source: stream.copies} if stream.copies else {}
            if split == "heldout":
                row |= _target_bytes(stream.text.blocks, tokenizer, separator)._asdict()
            if row["blocks"] < stream.wanted:
                short[f"{split}.{source}"] = {"blocks_wanted": stream.wanted, "blocks": row["blocks"]}
        if prompts is not None and len(prompts.ends) and split == "train":
            streams["prompt"] = pack_prompts(prompts, corpus.block_length, corpus.seed)
            rows["train.prompt"] = _account_of_prompts(prompts, streams["prompt"])
        tensors |= _interleave(split, streams, corpus.seed)
        texts[split] = [pair for stream in packed.values() for pair in zip(stream.text.ids, stream.text.prints)]
        _check(split, packed, len(tensors[split]), corpus)
    ids = {split: sorted(name for name, _ in pairs) for split, pairs in texts.items()}
    of_heldout = {source: stream.text for source, stream in packed.items()}
    tensors["heldout_document"], heldout_documents = _block_documents(tensors["heldout_source"], of_heldout)

    summary = {
        "block_length": corpus.block_length,
        "separator": {"id": separator, "token": tokenizer.convert_ids_to_tokens(separator)},
        "by_split_and_source": rows,
        "fewer_than_wanted": short,
        "glosses_left_out_for_heldout_words": left_out,
        "documents_in_both_splits": _in_both(**texts),
        "heldout_documents": heldout_documents,
        "sha256": {
            "train": _sha256(tensors["train"].numpy().tobytes()),
            "heldout": _sha256(tensors["heldout"].numpy().tobytes()),
            "train_documents": _sha256("\n".join(ids["train"]).encode()),
            "heldout_documents": _sha256("\n".join(ids["heldout"]).encode()),
        },
    }
    if copies:
        summary["training_documents_left_out_as_copies_of_heldout_ones"] = copies
    return tensors, summary


class Stream(NamedTuple):
    """The text of one source in a split."""

    text: PackedText
    wanted: int  # blocks
    available: int  # documents
    copies: int  # training documents that are left out, since a held-out one has their text


def _packed(
    split: str, documents: dict[str, list[Document]], corpus: CorpusParams, tokenizer, separator: int
) -> dict[str, Stream]:
    """The text of each source in a split; the lexicon written out is in the training split alone, where it is asked
    for, and none of it is held out."""
    blocks = (corpus.train_tokens if split == "train" else corpus.heldout_tokens) // corpus.block_length
    wanted = {"gloss": round(corpus.gloss_share * blocks)}
    wanted["lexicon"] = round(corpus.lexicon_share * blocks) if split == "train" else 0
    wanted["wiki"] = blocks - sum(wanted.values())
    found = {}
    for source in documents if wanted["lexicon"] else ("wiki", "gloss"):
        heldout_share = 0.0 if source == "lexicon" else corpus.heldout_share
        if split == "train":
            chosen, copies = draw_training(documents[source], corpus.seed, heldout_share)
        else:
            chosen, copies = draw(documents[source], split, corpus.seed, heldout_share), 0
        settings = Packing(corpus.block_length, separator, f"{split} {source}")
        if split == "heldout" and source == "wiki" and corpus.heldout_piece:
            most = corpus.heldout_piece // corpus.block_length
            text = pack_pieces(chosen, wanted[source], most, corpus.seed, tokenizer, settings)
        else:
            text = pack(chosen, wanted[source], tokenizer, settings)
        found[source] = Stream(text, wanted[source], len(chosen), copies)
    return found


def _in_both(train: list[tuple[str, str]], heldout: list[tuple[str, str]]) -> int:
    """How many training documents have the name or the text of a held-out one, whatever source they are of."""
    names, prints = ({pair[i] for pair in heldout} - {""} for i in (0, 1))
    return len({name for name, found in train if name in names or found in prints})


def _account(stream: Stream) -> dict[str, int]:
    blocks = stream.text.blocks
    return {
        "documents": len(stream.text.ids),
        "documents_available": stream.available,
        "characters": stream.text.characters,
        "blocks": len(blocks),
        "tokens": len(blocks) * (blocks.shape[1] - 1),
    }


def _account_of_prompts(prompts: Prompts, blocks: np.ndarray) -> dict[str, int]:
    length = blocks.shape[1] - 1
    return {
        "documents": len(prompts.ends),
        "documents_available": len(prompts.ends),
        "blocks": len(blocks),
        "tokens": len(blocks) * length,
        "cut_at_their_beginning": too_long(prompts, length),
    }


def _check(split: str, packed: dict[str, Stream], blocks: int, corpus: CorpusParams) -> None:
    """Raise UserError where a split has no block, or none of a source from which some were to come."""
    if not blocks:
        wanted, copies = (sum(counts) for counts in zip(*((of.wanted, of.copies) for of in packed.values())))
        whole = "set corpus.heldout_piece to null, " if split == "heldout" and corpus.heldout_piece else ""
        raise UserError(
            f"the {split} corpus is empty: it was to have {wanted} blocks of {corpus.block_length} tokens; {whole}"
            f"{f'give texts that are not all held out too, as {copies} of its documents are; ' if copies else ''}"
            f"raise corpus.{split}_tokens, or corpus.heldout_share, or lower corpus.block_length, or give more text"
        )
    for source, stream in packed.items():
        if stream.wanted and not len(stream.text.blocks):
            raise _lacks(split, source, stream.available, corpus)


def _lacks(split: str, source: str, available: int, corpus: CorpusParams) -> UserError:
    name, share = {
        "wiki": ("sources.wikipedia", "gloss_share: 1.0"),
        "gloss": ("WordNet's glosses", "gloss_share: 0.0"),
        "lexicon": ("the lexicon written out", "lexicon_share: 0.0"),
    }[source]
    pieces = "corpus.heldout_piece, " if split == "heldout" and source == "wiki" and corpus.heldout_piece else ""
    return UserError(
        f"the {split} corpus has nothing of {name}: the {available} documents of it in this split do "
        f"not fill a block of {corpus.block_length} tokens; give more text, or change {pieces}corpus.heldout_share, "
        f"corpus.block_length or lexicon.heldout_share, or leave {name} out with corpus.{share}"
    )


def _interleave(split: str, streams: Mapping[str, np.ndarray], seed: int) -> dict[str, torch.Tensor]:
    # Which places are glosses is drawn; the blocks of a source stay in the order of its stream.
    streams = {code: streams[source] for code, source in enumerate(SOURCES) if source in streams}
    codes = np.repeat(np.array(list(streams), dtype=np.int8), [len(stream) for stream in streams.values()])
    places = np.argsort(hash_integers(_MIX, seed, text_key(split), np.arange(len(codes))), kind="stable")
    source = codes[places]
    blocks = np.empty((len(codes), streams[0].shape[1]), dtype=np.int32)
    for code, stream in streams.items():
        blocks[source == code] = stream
    return {split: torch.from_numpy(blocks), f"{split}_source": torch.from_numpy(source)}


def _block_documents(sources: torch.Tensor, packed: Mapping[str, PackedText]) -> tuple[torch.Tensor, list[str]]:
    """The document of each held-out block, (m,) int32, and the names that these numbers stand for."""
    numbers, names = np.empty(len(sources), dtype=np.int32), []
    for source, stream in packed.items():
        used, place = np.unique(stream.document, return_inverse=True)
        numbers[sources.numpy() == SOURCES.index(source)] = len(names) + place
        names += [stream.ids[number] for number in used.tolist()]
    return torch.from_numpy(numbers), names


class TargetBytes(NamedTuple):
    bytes: int  # of text, in UTF-8
    byte_tokens: int  # tokens that stand for them


def _target_bytes(blocks: np.ndarray, tokenizer, separator: int) -> TargetBytes:
    """Those of the target tokens of (m, L+1) blocks, but for separators and a text's first tokens."""
    ids, counts = np.unique(blocks[:, 1:], return_counts=True)
    keep = ~np.isin(ids, [separator, *before_text(tokenizer)])
    lengths = token_bytes(tokenizer, ids[keep].tolist())
    return TargetBytes(sum(n * int(count) for n, count in zip(lengths, counts[keep])), int(counts[keep].sum()))


def token_bytes(tokenizer, ids: list[int]) -> list[int]:
    """How many UTF-8 bytes of text each token stands for, whole characters or not.

    Raises:
        UserError: the tokenizer has no token for each byte, so that some text is lost in it.
    """
    tokens, added = tokenizer.convert_ids_to_tokens(ids), tokenizer.added_tokens_decoder
    decoder = json.dumps(json.loads(tokenizer.backend_tokenizer.to_str())["decoder"])
    if '"ByteLevel"' not in decoder and '"ByteFallback"' not in decoder:
        raise UserError(
            "the teacher's tokenizer has no tokens for single bytes (neither byte-level nor SentencePiece with byte "
            "fallback), so that bits per byte cannot be told: take another teacher (sources.teacher)"
        )
    if '"ByteLevel"' in decoder:
        # One letter of the vocabulary's alphabet a byte; a token that was added is written as it is.
        return [len(token.encode() if number in added else token) for number, token in zip(ids, tokens)]
    # SentencePiece: "▁" is a space, "<0xE2>" one byte.
    return [1 if re.fullmatch("<0x[0-9A-F]{2}>", t) else len(t.replace("▁", " ").encode()) for t in tokens]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
