"""The text to train and evaluate on: Wikipedia or another, WordNet's glosses and prompts as blocks of tokens.

Documents are split, ordered and packed source by source, so that the share of glosses is exact; block b of
a source covers tokens b·L to b·L+L of its stream, so that each token but the first is predicted once. Where the
tokenizer begins every text with tokens of its own, so does every block, in the place of its first tokens.
"""

import hashlib
import json
import re
from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from dskd import params
from dskd.corpus.documents import Document, text_documents
from dskd.corpus.prompts import Prompts, pack_prompts, too_long
from dskd.corpus.store import SPLITS
from dskd.errors import UserError
from dskd.infra.randomness import hash_integers, text_key, uniform
from dskd.lexicon.readers.wordnet import Gloss, glosses
from dskd.lexicon.relations import heldout_words
from dskd.model.tokenizer import before_text, separator_token

_BATCH_CHARACTERS = 50_000  # rendered and tokenised at a time: little is done in vain for a small corpus
_SPLIT, _ORDER, _MIX = (text_key(f"corpus.{use}") for use in ("split", "order", "mix"))


class PackedText(NamedTuple):
    blocks: np.ndarray  # (n, L+1) int32
    ids: list[str]  # of the documents in the blocks, in order
    starts: list[int]  # of their first tokens in the stream, which block b covers from b·L to b·L+L
    characters: int  # of these documents; the last may be cut by the end of the last block


def build_corpus(
    corpus: params.CorpusParams,
    lexicon: params.LexiconParams,
    text: Path,
    reader,
    tokenizer,
    prompts: Prompts | None = None,
) -> tuple[dict[str, torch.Tensor], dict]:
    """Blocks of both splits, and an account of them.

    Synsets with a held-out word among their lemmas are left out of both splits: the lexical tasks ask for them.
    All articles' mark-up is held in memory, since documents are drawn in seeded order. Blocks of prompts
    (`pack_prompts`) come to the training split, beside what `corpus.train_tokens` asks for.

    Returns:
        tensors: `train` (n, L+1) and `heldout` (m, L+1) int32; `train_source` (n,) and `heldout_source` (m,)
            int8, 0 for Wikipedia, 1 for a gloss and 2 for prompts. Blocks of one source keep the order of its stream.
        summary: what corpus.json holds; `heldout_bytes` are the UTF-8 bytes of the `heldout_byte_tokens`
            target tokens that are text.

    Raises:
        UserError: a split has no block, or none of a source that it was to have; the dump is broken; the tokenizer has
            no token to close a document.
    """
    separator = separator_token(tokenizer)
    documents = {"wiki": text_documents(text)}
    documents["gloss"], left_out = gloss_documents(reader, lexicon)

    tensors, rows, ids, short = {}, {}, {}, {}
    for split in SPLITS:
        blocks = (corpus.train_tokens if split == "train" else corpus.heldout_tokens) // corpus.block_length
        wanted = {"gloss": round(corpus.gloss_share * blocks)}
        wanted["wiki"] = blocks - wanted["gloss"]
        packed = {}
        for source in documents:
            chosen = draw(documents[source], split, corpus.seed, corpus.heldout_share)
            stream = packed[source] = pack(
                chosen, wanted[source], corpus.block_length, tokenizer, separator, f"{split} {source}"
            )
            rows[f"{split}.{source}"] = {
                "documents": len(stream.ids),
                "documents_available": len(chosen),
                "characters": stream.characters,
                "blocks": len(stream.blocks),
                "tokens": len(stream.blocks) * corpus.block_length,
            }
            if len(stream.blocks) < wanted[source]:
                short[f"{split}.{source}"] = {"blocks_wanted": wanted[source], "blocks": len(stream.blocks)}
        streams = [stream.blocks for stream in packed.values()]
        if prompts is not None and len(prompts.ends) and split == "train":
            streams.append(pack_prompts(prompts, corpus.block_length, corpus.seed))
            rows["train.prompt"] = {
                "documents": len(prompts.ends),
                "documents_available": len(prompts.ends),
                "blocks": len(streams[-1]),
                "tokens": len(streams[-1]) * corpus.block_length,
                "cut_at_their_beginning": too_long(prompts, corpus.block_length),
            }
        tensors |= _interleave(split, streams, corpus.seed)
        ids[split] = sorted(chain.from_iterable(stream.ids for stream in packed.values()))
        if not len(tensors[split]):
            raise UserError(
                f"the {split} corpus is empty: it was to have {blocks} blocks of {corpus.block_length} tokens; raise "
                f"corpus.{split}_tokens, or corpus.heldout_share, or lower corpus.block_length, or give more text"
            )
        for source, stream in packed.items():
            if wanted[source] and not len(stream.blocks):
                raise _lacks(split, source, rows[f"{split}.{source}"], corpus)
    bytes_, byte_tokens = _target_bytes(tensors["heldout"], tokenizer, separator)
    summary = {
        "block_length": corpus.block_length,
        "separator": {"id": separator, "token": tokenizer.convert_ids_to_tokens(separator)},
        "by_split_and_source": rows,
        "fewer_than_wanted": short,
        "glosses_left_out_for_heldout_words": left_out,
        "documents_in_both_splits": len(set(ids["train"]) & set(ids["heldout"])),
        "heldout_bytes": bytes_,
        "heldout_byte_tokens": byte_tokens,
        "sha256": {
            "train": _sha256(tensors["train"].numpy().tobytes()),
            "heldout": _sha256(tensors["heldout"].numpy().tobytes()),
            "train_documents": _sha256("\n".join(ids["train"]).encode()),
            "heldout_documents": _sha256("\n".join(ids["heldout"]).encode()),
        },
    }
    return tensors, summary


def _lacks(split: str, source: str, row: dict, corpus: params.CorpusParams) -> UserError:
    """The error of a split that has no block of a source from which some were to come."""
    name, without = {"wiki": ("sources.wikipedia", "1.0"), "gloss": ("WordNet's glosses", "0.0")}[source]
    return UserError(
        f"the {split} corpus has nothing of {name}: the {row['documents_available']} documents of it in this split do "
        f"not fill a block of {corpus.block_length} tokens; give more text, or change corpus.heldout_share, "
        f"corpus.block_length or lexicon.heldout_share, or leave {name} out with corpus.gloss_share: {without}"
    )


def render_gloss(gloss: Gloss) -> str:
    """A synset as people write it: 'bank: sloping land. They pulled the canoe up on the bank.'"""
    sentences = [f"{', '.join(gloss.lemmas)}: {gloss.definition}"]
    sentences += [example[:1].upper() + example[1:] for example in gloss.examples]
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in sentences)


def gloss_documents(reader, lexicon: params.LexiconParams) -> tuple[list[Document], int]:
    """WordNet's synsets without those that have a held-out word among their lemmas, and how many these are."""
    found = list(glosses(reader))
    words = (lemma.lower() for gloss in found for lemma in gloss.lemmas)
    heldout = heldout_words(words, lexicon.seed, lexicon.heldout_share)
    kept = [gloss for gloss in found if not any(lemma.lower() in heldout for lemma in gloss.lemmas)]
    documents = [Document(f"gloss:{gloss.name}", lambda gloss=gloss: render_gloss(gloss)) for gloss in kept]
    return documents, len(found) - len(kept)


def draw(documents: list[Document], split: str, seed: int, heldout_share: float) -> list[Document]:
    """The documents of a split in their order. Both depend on (seed, id) alone: another token budget never moves a
    document to the other split."""
    if not documents:
        return []
    keys = np.array([text_key(document.id) for document in documents], dtype=np.uint64)
    heldout = uniform(_SPLIT, seed, keys) < heldout_share
    order = np.argsort(hash_integers(_ORDER, seed, keys), kind="stable")
    return [documents[i] for i in order if heldout[i] == (split == "heldout")]


def pack(documents: list[Document], wanted: int, length: int, tokenizer, separator: int, label: str) -> PackedText:
    """Up to `wanted` blocks from the beginning of the documents' stream."""
    need = wanted * length + 1 if wanted else 0
    tokens, ids, starts, characters = array("i"), [], [], 0  # four bytes a token, however long the text is
    with tqdm(total=need, desc=label, unit=" tokens", unit_scale=True, mininterval=0.5) as bar:
        for batch in _batches(documents if wanted else []):
            texts = [text for _, text in batch]
            # Split special tokens: a text that names one must not close its document.
            rows = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
            for (name, text), row in zip(batch, rows):
                if len(tokens) >= need:
                    break
                ids.append(name)
                starts.append(len(tokens))
                tokens.extend((*row, separator))
                characters += len(text)
            bar.update(min(len(tokens), need) - bar.n)
            if len(tokens) >= need:
                break
    blocks = max(0, min(wanted, (len(tokens) - 1) // length))
    stream = np.frombuffer(tokens, dtype=np.int32) if tokens else np.empty(0, np.int32)
    place = np.arange(blocks)[:, None] * length + np.arange(length + 1)[None, :]  # (blocks, L+1)
    packed = stream[place] if blocks else np.empty((0, length + 1), np.int32)
    if beginning := before_text(tokenizer):  # Gemma and others read no text well that begins without it
        packed[:, : len(beginning)] = beginning
    return PackedText(packed, *((ids, starts) if blocks else ([], [])), characters)


def _batches(documents: list[Document]) -> Iterator[list[tuple[str, str]]]:
    batch, size = [], 0
    for document in documents:
        text = document.text()
        if text:
            batch.append((document.id, text))
            size += len(text)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _interleave(split: str, streams: list[np.ndarray], seed: int) -> dict[str, torch.Tensor]:
    # Which places are glosses is drawn; the blocks of a source stay in the order of its stream.
    codes = np.repeat(np.arange(len(streams), dtype=np.int8), [len(stream) for stream in streams])
    places = np.argsort(hash_integers(_MIX, seed, text_key(split), np.arange(len(codes))), kind="stable")
    source = codes[places]
    blocks = np.empty((len(codes), streams[0].shape[1]), dtype=np.int32)
    for code, stream in enumerate(streams):
        blocks[source == code] = stream
    return {split: torch.from_numpy(blocks), f"{split}_source": torch.from_numpy(source)}


def _target_bytes(blocks: torch.Tensor, tokenizer, separator: int) -> tuple[int, int]:
    """(UTF-8 bytes, number) of the target tokens of (m, L+1) blocks, but for separators and a text's first tokens."""
    ids, counts = np.unique(blocks[:, 1:].numpy(), return_counts=True)
    keep = ~np.isin(ids, [separator, *before_text(tokenizer)])
    lengths = token_bytes(tokenizer, ids[keep].tolist())
    return sum(n * int(count) for n, count in zip(lengths, counts[keep])), int(counts[keep].sum())


def token_bytes(tokenizer, ids: list[int]) -> list[int]:
    """How many UTF-8 bytes of text each token stands for, whole characters or not."""
    tokens, added = tokenizer.convert_ids_to_tokens(ids), tokenizer.added_tokens_decoder
    if '"ByteLevel"' in json.dumps(json.loads(tokenizer.backend_tokenizer.to_str())["decoder"]):
        # One letter of the vocabulary's alphabet a byte; a token that was added is written as it is.
        return [len(token.encode() if number in added else token) for number, token in zip(ids, tokens)]
    # SentencePiece: "▁" is a space, "<0xE2>" one byte.
    return [1 if re.fullmatch("<0x[0-9A-F]{2}>", t) else len(t.replace("▁", " ").encode()) for t in tokens]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
