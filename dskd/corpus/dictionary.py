"""The text that the teacher reads for the sense dictionary: plain texts and WordNet's glosses, none of it held out."""

import sys
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from dskd.corpus.copies import fingerprint, fingerprints, same_title
from dskd.corpus.documents import Document, text_documents
from dskd.corpus.packing import Packing, draw, draw_training, pack
from dskd.corpus.word_documents import gloss_documents
from dskd.errors import UserError
from dskd.infra.artifacts import load_tensors, read_json, reading, require, write_json
from dskd.model.blocks import joined_stream
from dskd.model.tokenizer import separator_token
from dskd.params import CorpusParams, LexiconParams, SensesParams


class DictionaryText(NamedTuple):
    """Blocks of tokens, and the documents that they are made of, one after the other."""

    blocks: Tensor  # (n, L + 1) int32; block b covers the tokens b·L to b·L + L of the stream
    starts: Tensor  # (m,) int64, ascending: where each document begins in the stream
    documents: list[str]  # (m,) "wiki:Anarchism", "gloss:bank.n.01"; "" where it is not known

    @property
    def joined(self) -> bool:
        """Whether each block goes on where the one before it ends."""
        return bool(self.documents[0])

    def stream(self) -> Tensor:
        """The tokens in their order: (n·L + 1,)."""
        if not self.joined:
            return torch.cat([self.blocks[:, :-1].flatten(), self.blocks[-1, -1:]])
        # The glosses do not go on where the text ends.
        first_gloss = next((i for i, name in enumerate(self.documents) if name.startswith("gloss:")), 0)
        return joined_stream(self.blocks, anew=int(self.starts[first_gloss]) // (self.blocks.shape[1] - 1))


def dictionary_text(
    senses: SensesParams,
    corpus: CorpusParams,
    lexicon: LexiconParams,
    texts: list[Path],
    reader,
    tokenizer,
) -> DictionaryText:
    """`senses.tokens` tokens of text, of which WordNet's glosses have their share.

    Held-out documents and copies of them are left out, and every gloss of a held-out word. A document of a later text
    is left out where an earlier text has one of its title or of its text, held out or not.

    Args:
        texts: the students' text first, then others; all of one are read before the next begins.

    Raises:
        UserError: the texts have fewer tokens than were asked for; the message says how many.
    """
    length = corpus.block_length
    blocks = senses.tokens // length
    of_glosses = round(senses.gloss_share * blocks)
    separator = separator_token(tokenizer)

    # Documents, by what they are and in their order.
    first, *others = texts
    plain = text_documents(first)
    chosen, _ = draw_training(plain, corpus.seed, corpus.heldout_share)
    if others:  # of mark-up `_names` has another print than of its text
        heldout = draw(plain, "heldout", corpus.seed, corpus.heldout_share)
        known = _names(plain) | {fingerprint(of, of.text()) for of in heldout}
    for path in others:
        found = text_documents(path)
        new = [document for document in found if known.isdisjoint(_names([document]))]
        if len(new) < len(found):
            left_out = f"{len(found) - len(new)} of {len(found)} documents are left out"
            print(f"{path}: {left_out}: an earlier text has their title or text", file=sys.stderr)
        known |= _names(new)
        chosen += draw(new, "train", corpus.seed, 0.0)
    glosses, _ = draw_training(gloss_documents(reader, lexicon)[0], corpus.seed, corpus.heldout_share)

    # Their tokens.
    parts = [
        pack(documents, wanted, tokenizer, Packing(length, separator, label))
        for documents, wanted, label in ((chosen, blocks - of_glosses, "text"), (glosses, of_glosses, "glosses"))
    ]
    _check_budget(senses, length, blocks - of_glosses, of_glosses, *(len(part.blocks) for part in parts))
    starts = [
        start + before for part, before in zip(parts, (0, len(parts[0].blocks) * length)) for start in part.starts
    ]
    return DictionaryText(
        torch.cat([torch.from_numpy(part.blocks) for part in parts]),
        torch.tensor(starts, dtype=torch.int64),
        [name for part in parts for name in part.ids],
    )


def training_text(blocks: Tensor) -> DictionaryText:
    """The students' training blocks (n, L + 1) as a dictionary's text; each counts as a document without a name."""
    starts = torch.arange(len(blocks)) * (blocks.shape[1] - 1)
    return DictionaryText(blocks, starts, [""] * len(blocks))


def _names(documents: list[Document]) -> set[str]:
    """What tells these documents from those of another text: their titles, if they have any, and their texts."""
    return {f"title {title}" for document in documents if (title := same_title(document))} | fingerprints(documents)


def _check_budget(senses: SensesParams, length: int, text: int, glosses: int, has_text: int, has_glosses: int) -> None:
    """Raise UserError where a text has fewer blocks than it was to have, or none is asked for."""
    if not text + glosses:
        raise UserError(f"senses.tokens = {senses.tokens} fills no block of {length} tokens: raise it")
    lacking = (text - has_text + glosses - has_glosses) * length
    if lacking:
        raise UserError(
            f"senses.tokens = {senses.tokens} asks for {text * length} tokens of plain text and {glosses * length} of "
            f"glosses; there are {has_text * length} and {has_glosses * length}, so {lacking} are lacking: lower "
            f"senses.tokens, change senses.gloss_share, or name more text under sources.texts"
        )


def save_dictionary_text(folder: Path, text: DictionaryText) -> None:
    """Write the text into a folder that is there."""
    save_file({"blocks": text.blocks.contiguous(), "starts": text.starts}, folder / "text.safetensors")
    write_json(folder / "documents.json", {"documents": text.documents})


def load_dictionary_text(folder: Path) -> DictionaryText:
    """The text that `save_dictionary_text` wrote; UserError where there is none, or a damaged one."""
    tensors = load_tensors(folder / "text.safetensors", "harvest", ["blocks", "starts"])
    names = require(folder / "documents.json", "harvest")
    with reading(names, "harvest"):
        return DictionaryText(**tensors, documents=read_json(names)["documents"])
