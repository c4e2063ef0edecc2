"""Targets: their form, and how they are saved and loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from dskd.infra.artifacts import load_tensors
from dskd.infra.made_of import save_made_of
from dskd.infra.output import output

_FILE = "targets.safetensors"


class SenseTargets(NamedTuple):
    """Rows of `vectors` for every position of the training blocks; -1 where there are fewer, or none."""

    vectors: Tensor  # (R, d): the dictionary's senses, then those of spans
    pull: Tensor  # (n, L, kappa) int32, nearest senses of the token and its synonyms
    push: Tensor  # (n, L, kappa) int32, nearest senses of its antonyms


def no_targets() -> SenseTargets:
    """What an objective without a sense term gets: the same bytes, whatever the lexicon and the senses are."""
    rows = torch.zeros(0, 0, 0, dtype=torch.int32)
    return SenseTargets(torch.zeros(0, 0), rows, rows.clone())


def save_targets(folder: Path, targets: SenseTargets, made_of: Mapping[str, object] | None = None) -> None:
    """Write the targets into `folder`, which appears whole or not at all; `made_of` is for `check_made_of`."""
    with output(folder, checksums=True) as partial:
        partial.mkdir()
        save_file({name: value.contiguous() for name, value in targets._asdict().items()}, partial / _FILE)
        if made_of is not None:
            save_made_of(partial, made_of)


def load_targets(folder: str | Path) -> SenseTargets:
    """Raises UserError if the targets are missing or damaged."""
    return SenseTargets(**load_tensors(Path(folder) / _FILE, "targets", SenseTargets._fields))
