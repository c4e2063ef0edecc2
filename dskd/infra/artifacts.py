"""Where files live, and how they get there: verified, whole, or not at all.

Every output is written beside its place and renamed when it is complete, so that a reader never
sees half a file and a failed run leaves the earlier result untouched.
"""

import json
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:  # torch takes seconds to import, which what only reads parameters does not need
    from torch import Tensor
from dskd.errors import UserError, one_line
from dskd.infra.hashes import SUMS, identity, read_checksums, sha256_file
from dskd.infra.output import output

# What damaged bytes lead to in a reader; RecursionError (deep nesting) is a RuntimeError.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    SafetensorError,
    StopIteration,
    TypeError,
    ValueError,
)

_TRIES = 10  # to read a file that another process replaces

# The artifacts between stages (paths below the project's root).
TEACHER = "artifacts/teacher"
SOURCES = "artifacts/sources"
LEXICON = "artifacts/lexicon.parquet"
LEXICON_REPORT = "reports/lexicon"
QUALITY = "reports/quality.json"
PROMPTS = "artifacts/prompts"
CORPUS = "artifacts/corpus"
STATES = "artifacts/states"
SPLIT_STATES = "artifacts/split_states"  # made again where the former are not there; no stage has them
RESERVOIR = "artifacts/reservoir"
SENSES = "artifacts/senses"
CODES = "artifacts/codes"
SENSES_REPORT = "reports/senses.json"
TARGETS = "artifacts/targets"
STUDENTS = "artifacts/students"
BENCHMARKS = "artifacts/benchmarks"
SCORES = "reports/scores"
METRICS = "reports/metrics.json"
SUMMARY = "reports/summary.json"
DIFFERENCES = "reports/differences.csv"
STUDY = "reports/runs/study/metrics.json"
POWER = "docs/trials/power.csv"
HALF = "docs/trials/study.csv"
CURVES = "reports/curves"
PROVENANCE = "reports/provenance.json"

LOCK = "dvc.lock"
SPEEDS = "tests/speed/results.csv"  # of `make bench`


def project_root(start: Path | None = None) -> Path:
    """The nearest folder at or above `start` (default: the working folder) with a dvc.yaml."""
    start = (start or Path.cwd()).resolve()
    for folder in [start, *start.parents]:
        if (folder / "dvc.yaml").exists():
            return folder
    raise UserError(f"{start} is not inside a dskd project (no dvc.yaml at or above it)")


def require(path: str | Path, stage: str) -> Path:
    """`path`, if it is there and as it was written; else an error that names the stage that makes it.

    A file is compared with the `SHA256SUMS` of the artifact that it is in, a folder file by file: none may be missing,
    changed or added.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} is missing: make it with `dvc repro {stage}` or `python -m dskd {stage}`")
    folder = _artifact(path)
    if folder is not None:
        with reading(folder / SUMS, stage):
            sums = {folder / name: digest for name, digest in read_checksums(folder).items()}
        for file, digest in sums.items():
            if file.is_relative_to(path) and not (file.is_file() and sha256_file(file) == digest):
                raise UserError(f"{_shown(file)} {_fault(file)}{_mend(file, folder, stage)}")
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)  # as Jupyter's
            if file not in sums and not hidden and not file.is_dir() and file != folder / SUMS:
                end = f"delete it; if it is meant, delete {folder / SUMS}"
                raise UserError(f"{_shown(file)} is no file that the stage wrote: {end}")
    return path


def _artifact(path: Path) -> Path | None:
    """The folder with a `SHA256SUMS` that `path` is or lies in; None where there is none."""
    found = None
    for place in (path, *path.parents):
        if (place / "dvc.yaml").exists():
            break
        if (place / SUMS).is_file() and (found is None or _lists(place, found / SUMS)):
            found = place
    return found


def _lists(folder: Path, file: Path) -> bool:
    """Whether a folder's checksums know this file, which is then a part of what was brought here, whatever it says."""
    try:
        return file.relative_to(folder).as_posix() in read_checksums(folder)
    except (ValueError, AttributeError):
        return False


def _shown(file: Path) -> str:
    """Its path, in one line whatever its name is."""
    return str(file) if str(file).isprintable() else ascii(str(file))


def _fault(file: Path) -> str:
    return "has changed since it was written: " if file.is_file() else "is missing: "


def _mend(file: Path, folder: Path, stage: str) -> str:
    """The way out where a file is not as its folder's checksums say."""
    first = ""
    if file.is_file() and file.stat().st_nlink > 1:  # DVC would take the same bytes from its cache again
        name = shlex.quote(_shown(file))
        first = f"run `find $(dvc cache dir) -samefile {name} -delete`, since DVC's cache shares its bytes, then "
    return f"{first}delete {folder} and run `dvc repro {stage}`; if the change is meant, delete {folder / SUMS}"


@contextmanager
def reading(path: str | Path, stage: str = "") -> Iterator[None]:
    """What damaged content leads to in the block becomes one line that names `path` and the stage that makes it."""
    try:
        yield
    except _DAMAGE as error:
        again = f"dvc repro {stage}".strip()
        raise UserError(f"{path} is damaged ({one_line(error)[:300]}): delete it and run `{again}`") from None


def read_lock(path: Path) -> dict:
    """The stages of a run with their hashes; UserError where the file is damaged."""
    with reading(path):
        text = path.read_text(encoding="utf-8")
    if any(line.startswith("<<<<<<< ") for line in text.splitlines()):
        raise UserError(
            f"{path} holds a merge conflict: take one side (`git checkout --ours {path.name}`, or --theirs), then run "
            "`dvc repro`"
        )
    try:
        lock = YAML(typ="safe", pure=True).load(text)
        for stage in lock["stages"].values():
            if not all(isinstance(entry["path"], str) for kind in ("deps", "outs") for entry in stage.get(kind, ())):
                raise TypeError("a path is no text")
    except (YAMLError, *_DAMAGE) as error:
        raise UserError(
            f"{path} is damaged ({one_line(error)[:300]}): run `git checkout {path.name}`, then `dvc repro`"
        ) from None
    return lock


def load_tensors(
    path: str | Path, stage: str, names: Iterable[str] = (), optional: Iterable[str] = ()
) -> "dict[str, Tensor]":
    """All tensors of a safetensors file, memory-mapped: nothing is read until it is used. Where another process puts a
    new file in its place meanwhile, they are all of the one or all of the other.

    Raises:
        UserError: the file is missing or damaged, or lacks one of `names` or has others; the message names the
            stage that makes it.
    """
    path, tensors, fault = require(path, stage), {}, None
    for _ in range(_TRIES):
        before, fault = identity(path), None
        try:
            with reading(path, stage), safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}
                if names and tensors.keys() - set(optional) != set(names):
                    raise ValueError(f"it holds {', '.join(tensors)}, not {', '.join(names)}")
        except UserError as error:
            fault = error
        # safetensors opens it by name twice, for the header and for what the header tells of.
        if identity(path) == before:
            break
    else:
        raise UserError(f"{path} is replaced again and again: wait for the run that writes it, or stop it")
    if fault is not None:
        raise fault
    return tensors


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as UTF-8 JSON, keys in the order given; a number that is none is refused."""
    with output(path) as partial:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> dict:
    """Raises UserError if the file holds no JSON object."""
    with reading(path):
        return _object(Path(path).read_text(encoding="utf-8"))


def write_jsonl(path: str | Path, rows: list[dict]) -> None:
    """Write one JSON object a line, keys in the order given."""
    with output(path) as partial:
        partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_jsonl(path: str | Path) -> list[dict]:
    """Raises UserError if a line holds no JSON object."""
    with reading(path):
        return [_object(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line]


def _object(text: str) -> dict:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"no JSON object: {text[:60]!r}")
    return value
