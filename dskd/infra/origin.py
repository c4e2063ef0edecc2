"""What an artifact was made of, written beside it, so that nobody takes it for that of another run."""

from collections.abc import Mapping
from pathlib import Path

from dskd.errors import UserError
from dskd.infra.artifacts import read_json, reading, require, write_json

ORIGIN_FILE = "origin.json"
_SHOWN = {
    "teacher": "teacher or tokenizer",
    "tokenizer": "tokenizer",
    "corpus": "text",
    "split": "split (student.layers - student.trained)",
}


def save_made_of(folder: Path, made_of: Mapping[str, object]) -> None:
    """Note in a folder that is there what it was made of: hashes of `teacher`, `tokenizer` and `corpus`; `split`, the
    number of the teacher's layers below it; and what else readers need to know."""
    write_json(folder / ORIGIN_FILE, made_of)


def check_made_of(folder: str | Path, stage: str, wanted: Mapping[str, str | int]) -> None:
    """Raise UserError where a folder was made of another one of these; the message names the stage that makes it."""
    path = require(Path(folder) / ORIGIN_FILE, stage)
    with reading(path, stage):
        known = read_json(path)
        others = [_SHOWN[name] for name, value in wanted.items() if known[name] != value]
    if others:
        raise UserError(
            f"{folder} was made with another {' and another '.join(others)}: run `dvc repro {stage}`, or get both of "
            "one run"
        )
