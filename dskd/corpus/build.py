"""The text to train and evaluate on: Wikipedia or another, WordNet's glosses and prompts as blocks of tokens.

Documents are split, ordered and packed source by source, so that the share of glosses is exact; block b of
a source covers tokens b·L to b·L+L of its stream, so that each token but the first is predicted once. Where the
tokenizer begins every text with tokens of its own, so does every block, in the place of its first tokens.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from itertools import chain, combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from dskd import params
from dskd.corpus.documents import Document, text_documents
from dskd.corpus.packing import PackedText, Packing, pack, pack_pieces
from dskd.corpus.prompts import Prompts, pack_prompts, too_long
from dskd.corpus.store import SOURCES, SPLITS
from dskd.errors import UserError
from dskd.infra.randomness import hash_integers, text_key, uniform
from dskd.lexicon.readers.wordnet import Gloss, glosses
from dskd.lexicon.relations import ANTONYM, SYNONYM, heldout_pairs, heldout_words, normalised
from dskd.model.tokenizer import before_text, special_ids

# Texts that close a document in pre-training. A chat model's eos token is the end of a turn instead
# (SmolLM2-Instruct: eos is <|im_end|>, while documents end with <|endoftext|>), so these come first. Only a special
# token counts: in Gemma's vocabulary </s> is a piece of HTML.
_DOCUMENT_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>")
_SPLIT, _ORDER, _MIX = (text_key(f"corpus.{use}") for use in ("split", "order", "mix"))


def build_corpus(
    corpus: params.CorpusParams,
    lexicon: params.LexiconParams,
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
            tokens that are text.

    Raises:
        UserError: a split has no block, or none of a source that it was to have; the dump is broken; the tokenizer has
            no token to close a document.
    """
    separator = separator_token(tokenizer)
    documents = {"wiki": text_documents(text)}
    documents["gloss"], left_out = gloss_documents(reader, lexicon)
    documents["lexicon"] = [] if related is None else lexicon_documents(related)

    tensors, rows, ids, short = {}, {}, {}, {}
    for split in SPLITS:
        blocks = (corpus.train_tokens if split == "train" else corpus.heldout_tokens) // corpus.block_length
        wanted = {"gloss": round(corpus.gloss_share * blocks)}
        wanted["lexicon"] = round(corpus.lexicon_share * blocks) if split == "train" else 0
        wanted["wiki"] = blocks - sum(wanted.values())
        packed = {}
        for source in documents:
            if source == "lexicon" and not wanted[source]:
                continue
            chosen = draw(documents[source], split, corpus.seed, 0.0 if source == "lexicon" else corpus.heldout_share)
            settings = Packing(corpus.block_length, separator, f"{split} {source}")
            if split == "heldout" and source == "wiki" and corpus.heldout_piece:
                most = corpus.heldout_piece // corpus.block_length
                stream = pack_pieces(chosen, wanted[source], most, corpus.seed, tokenizer, settings)
            else:
                stream = pack(chosen, wanted[source], tokenizer, settings)
            packed[source] = stream
            rows[f"{split}.{source}"] = {
                "documents": len(stream.ids),
                "documents_available": len(chosen),
                "characters": stream.characters,
                "blocks": len(stream.blocks),
                "tokens": len(stream.blocks) * corpus.block_length,
            }
            if split == "heldout":
                text = _target_bytes(stream.blocks, tokenizer, separator)
                rows[f"{split}.{source}"] |= {"bytes": text.bytes, "byte_tokens": text.tokens}
            if len(stream.blocks) < wanted[source]:
                short[f"{split}.{source}"] = {"blocks_wanted": wanted[source], "blocks": len(stream.blocks)}
        streams = {source: stream.blocks for source, stream in packed.items()}
        if prompts is not None and len(prompts.ends) and split == "train":
            streams["prompt"] = pack_prompts(prompts, corpus.block_length, corpus.seed)
            rows["train.prompt"] = {
                "documents": len(prompts.ends),
                "documents_available": len(prompts.ends),
                "blocks": len(streams["prompt"]),
                "tokens": len(streams["prompt"]) * corpus.block_length,
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
    tensors["heldout_document"], heldout_documents = _block_documents(tensors["heldout_source"], packed)
    summary = {
        "block_length": corpus.block_length,
        "separator": {"id": separator, "token": tokenizer.convert_ids_to_tokens(separator)},
        "by_split_and_source": rows,
        "fewer_than_wanted": short,
        "glosses_left_out_for_heldout_words": left_out,
        "documents_in_both_splits": len(set(ids["train"]) & set(ids["heldout"])),
        "heldout_documents": heldout_documents,
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
    name, share = {
        "wiki": ("sources.wikipedia", "gloss_share: 1.0"),
        "gloss": ("WordNet's glosses", "gloss_share: 0.0"),
        "lexicon": ("the lexicon written out", "lexicon_share: 0.0"),
    }[source]
    return UserError(
        f"the {split} corpus has nothing of {name}: the {row['documents_available']} documents of it in this split do "
        f"not fill a block of {corpus.block_length} tokens; give more text, or change corpus.heldout_share, "
        f"corpus.block_length or lexicon.heldout_share, or leave {name} out with corpus.{share}"
    )


def separator_token(tokenizer) -> int:
    """The token that closes a document: the one of pre-training where it is known, else eos.

    Raises:
        UserError: the tokenizer has neither.
    """
    vocabulary, special = tokenizer.get_vocab(), special_ids(tokenizer)
    for token in (*_DOCUMENT_ENDS, tokenizer.eos_token):
        if vocabulary.get(token) in special:
            return vocabulary[token]
    raise UserError(f"the tokenizer has no eos token nor any of {', '.join(_DOCUMENT_ENDS)}: set its eos_token")


def render_gloss(gloss: Gloss) -> str:
    """A synset as people write it: 'bank: sloping land. They pulled the canoe up on the bank.'"""
    sentences = [f"{', '.join(gloss.lemmas)}: {gloss.definition}"]
    sentences += [example[:1].upper() + example[1:] for example in gloss.examples]
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in sentences)


def gloss_documents(reader, lexicon: params.LexiconParams) -> tuple[list[Document], int]:
    """WordNet's synsets without those that have a held-out word, or both words of a held-out pair, among their lemmas;
    and how many these are."""
    found = list(glosses(reader))
    words = (lemma.lower() for gloss in found for lemma in gloss.lemmas)
    heldout = heldout_words(words, lexicon.seed, lexicon.heldout_share)
    kept = [gloss for gloss in found if not any(lemma.lower() in heldout for lemma in gloss.lemmas)]
    if lexicon.heldout_pairs:
        of_pairs = [set(combinations(sorted(map(normalised, gloss.lemmas)), 2)) for gloss in kept]
        held = heldout_pairs(chain.from_iterable(of_pairs), lexicon.seed, lexicon.heldout_pairs)
        kept = [gloss for gloss, pairs in zip(kept, of_pairs) if held.isdisjoint(pairs)]
    documents = [Document(f"gloss:{gloss.name}", lambda gloss=gloss: render_gloss(gloss)) for gloss in kept]
    return documents, len(found) - len(kept)


def lexicon_documents(related: pd.DataFrame) -> list[Document]:
    """The lexicon's table written out: of each head a document with a sentence for each of its relations."""
    rows = related[["head", "tail", "relation"]].drop_duplicates().sort_values(["head", "relation", "tail"])
    return [
        Document(f"lexicon:{head}", lambda of=of: render_relations(zip(of["head"], of["tail"], of["relation"])))
        for head, of in rows.groupby("head", sort=True)
    ]


def render_relations(rows: Iterable[tuple[str, str, int]]) -> str:
    """(head, tail, relation) as sentences: 'Good means the same as well. Good is the opposite of bad.'"""
    says = {SYNONYM: "means the same as", ANTONYM: "is the opposite of"}
    return " ".join(f"{head[:1].upper()}{head[1:]} {says[relation]} {tail}." for head, tail, relation in rows)


def draw(documents: list[Document], split: str, seed: int, heldout_share: float) -> list[Document]:
    """The documents of a split in their order. Both depend on (seed, id) alone: another token budget never moves a
    document to the other split."""
    if not documents:
        return []
    keys = np.array([text_key(document.id) for document in documents], dtype=np.uint64)
    heldout = uniform(_SPLIT, seed, keys) < heldout_share
    order = np.argsort(hash_integers(_ORDER, seed, keys), kind="stable")
    return [documents[i] for i in order if heldout[i] == (split == "heldout")]


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
    tokens: int  # that stand for them


def _target_bytes(blocks: np.ndarray, tokenizer, separator: int) -> TargetBytes:
    """Those of the target tokens of (m, L+1) blocks, but for separators and a text's first tokens."""
    ids, counts = np.unique(blocks[:, 1:], return_counts=True)
    keep = ~np.isin(ids, [separator, *before_text(tokenizer)])
    lengths = token_bytes(tokenizer, ids[keep].tolist())
    return TargetBytes(sum(n * int(count) for n, count in zip(lengths, counts[keep])), int(counts[keep].sum()))


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
