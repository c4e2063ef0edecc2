"""The corpus: blocks of tokens, and how they are saved and loaded."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from dskd.infra.artifacts import load_tensors, read_json, require, write_json
from dskd.infra.output import output

SOURCES = ("wiki", "gloss", "prompt", "lexicon")  # their places are the codes in `train_source` and `heldout_source`
SPLITS = ("train", "heldout")


def save_corpus(
    folder: Path,
    tensors: dict[str, torch.Tensor],
    summary: dict,
    note: Callable[[Path], None] = lambda _: None,
) -> None:
    """Write `blocks.safetensors` and `corpus.json` into `folder`, which appears whole or not at all; `note` writes
    beside them what they were made of."""
    with output(folder, checksums=True) as partial:
        partial.mkdir()
        save_file(tensors, partial / "blocks.safetensors")
        write_json(partial / "corpus.json", summary)
        note(partial)


def heldout_documents(tensors: dict[str, torch.Tensor], summary: dict) -> list[str]:
    """The document of each held-out block."""
    return [summary["heldout_documents"][number] for number in tensors["heldout_document"].tolist()]


def load_corpus(folder: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """The tensors and the summary that `save_corpus` wrote; UserError where there are none, or damaged ones."""
    folder = require(folder, "corpus")
    names = [*SPLITS, *(f"{split}_source" for split in SPLITS), "heldout_document"]
    return load_tensors(folder / "blocks.safetensors", "corpus", names), read_json(folder / "corpus.json")
