"""What an artifact was made of, and with which parameters: noted beside it, and compared where it is read.

DVC knows this of what `dvc repro` makes. A stage that is run by hand would take whatever is there.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dskd.errors import UserError
from dskd.infra.artifacts import read_json, reading, require, write_json

if TYPE_CHECKING:
    from dskd.params import Params

ORIGIN_FILE = "origin.json"  # beside an artifact: what it was made of
SHOWN = {  # how a line calls what something was made of
    "teacher": "teacher or tokenizer",
    "tokenizer": "tokenizer",
    "corpus": "text",
    "split": "split (student.layers - student.trained)",
    "student": "student.source",
    "targets": "choice of targets",
    "variant": "kind of targets (objectives.*.targets)",
    "settings": "value of targets.*",
    "senses": "sense dictionary",
    "lexicon": "lexicon",
    "wordnet": "WordNet",
}
_PARAMETERS = "parameters"


def save_made_of(folder: Path, made_of: Mapping[str, object], parameters: Mapping[str, object] | None = None) -> None:
    """Note in a folder that is there what it was made of: hashes of `teacher`, `tokenizer`, `corpus` and others that
    `SHOWN` names; `split`, the number of the teacher's layers below it; what else readers need to know; and with which
    `parameters` (`values_of`)."""
    write_json(folder / ORIGIN_FILE, {**made_of, **({_PARAMETERS: dict(parameters)} if parameters else {})})


def check_made_of(folder: str | Path, stage: str, wanted: Mapping[str, object]) -> None:
    """Raise UserError where a folder was made of another one of these; the message names the stage that makes it."""
    path = require(Path(folder) / ORIGIN_FILE, stage)
    with reading(path, stage):
        known = read_json(path)
        others = [SHOWN[name] for name, value in wanted.items() if known[name] != value]
    if others:
        raise of_another_run(folder, stage, others)


def of_another_run(folder: str | Path, stage: str, others: Iterable[str]) -> UserError:
    """What is wrong with a folder that was made with others of these than the run's."""
    made = f"{folder} was made with another {' and another '.join(others)}"
    return UserError(f"{made}: run `dvc repro {stage}`, or get both of one run")


def values_of(params: "Params", *keys: str) -> dict[str, object]:
    """The values of these parameters, "corpus" or "lexicon.seed", as JSON has them. A source is known by its hash: its
    address and its licence make no other artifact."""
    values = params.model_dump(mode="json")
    return {key: _known_by(_at(values, key)) for key in keys}


def check_parameters(folder: str | Path, stage: str, params: "Params") -> None:
    """Raise UserError where a folder was made with other values of the parameters that it notes than these."""
    path = require(Path(folder) / ORIGIN_FILE, stage)
    with reading(path, stage):
        noted = read_json(path).get(_PARAMETERS)
        if noted is None:
            raise UserError(f"{folder} does not say with which parameters it was made: run `dvc repro {stage}`")
        had, has = flat(noted), flat(values_of(params, *noted))
    for key in sorted(had.keys() | has.keys()):
        if had.get(key) != has.get(key):
            raise made_otherwise(folder, stage, key, had.get(key), has.get(key))


def made_otherwise(folder: str | Path, stage: str, key: str, had: object, has: object) -> UserError:
    """What is wrong with a folder that was made with another value of a parameter than params.yaml has."""
    return UserError(
        f"{folder} was made with {key} = {had!r}, and params.yaml has {has!r}: run `dvc repro {stage}`, or set it back"
    )


def _at(values: Mapping, key: str) -> object:
    for part in key.split("."):
        values = values[part]
    return values


def _known_by(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return value["sha256"] if "licence" in value else {key: _known_by(inner) for key, inner in value.items()}


def flat(value: dict, prefix: str = "") -> dict[str, object]:
    """The values of nested mappings by their whole names: {"corpus.seed": 0}."""
    found = {}
    for key, inner in value.items():
        name = f"{prefix}{key}"
        found |= flat(inner, f"{name}.") if isinstance(inner, dict) else {name: inner}
    return found
