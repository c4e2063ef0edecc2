"""Where files live, and how they get there: verified, whole, or not at all.

Every output is written beside its place and renamed when it is complete, so that a reader never
sees half a file and a failed run leaves the earlier result untouched.
"""

import errno
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:  # torch takes seconds to import, which what only reads parameters does not need
    from torch import Tensor


class UserError(Exception):
    """Something the user can mend: one line that names the thing and the way out."""


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

# The artifacts between stages (paths below the project's root).
TEACHER = "artifacts/teacher"
SOURCES = "artifacts/sources"
LEXICON = "artifacts/lexicon.parquet"
LEXICON_REPORT = "reports/lexicon"
QUALITY = "reports/quality.json"
PROMPTS = "artifacts/prompts"
CORPUS = "artifacts/corpus"
STATES = "artifacts/states"
SENSES = "artifacts/senses"
TARGETS = "artifacts/targets"
STUDENTS = "artifacts/students"
BENCHMARKS = "artifacts/benchmarks"
SCORES = "reports/scores"
METRICS = "reports/metrics.json"
STUDY = "reports/study/metrics.json"
CLAIM = "reports/claim/metrics.json"
HALF = "docs/trials/study.csv"
CURVES = "reports/curves"
PROVENANCE = "reports/provenance.json"
SPEEDS = "tests/benchmarks/results.csv"  # of `make bench`

_PATIENCE = 5  # seconds to wait for another writer, which may be about to end
SUMS = "SHA256SUMS"  # in a folder of artifacts; `sha256sum --check SHA256SUMS` understands it too


def project_root(start: Path | None = None) -> Path:
    """The nearest folder at or above `start` (default: the working folder) with a dvc.yaml."""
    start = (start or Path.cwd()).resolve()
    for folder in [start, *start.parents]:
        if (folder / "dvc.yaml").exists():
            return folder
    raise UserError(f"{start} is not inside a dskd project (no dvc.yaml at or above it)")


def require(path: str | Path, stage: str) -> Path:
    """`path`, if it is there and as it was written; else an error that names the stage that makes it.

    A file is compared with the `SHA256SUMS` of the nearest folder that has one, a folder file by file.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} is missing: make it with `dvc repro {stage}` or `python -m dskd {stage}`")
    folder = next((place for place in (path, *path.parents) if (place / SUMS).is_file()), None)
    if folder is not None:
        with reading(folder / SUMS, stage):
            lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
            sums = {folder / name: digest for digest, name in (line.split("  ", 1) for line in lines)}
        for file, digest in sums.items():
            if file.is_relative_to(path) and not (file.is_file() and sha256_file(file) == digest):
                raise UserError(f"{file} {_mend(file, folder, stage)}")
    return path


def _mend(file: Path, folder: Path, stage: str) -> str:
    """What is wrong with a file that is not as its folder's checksums say, and the way out."""
    what, first = "is missing", ""
    if file.is_file():
        what = "has changed since it was written"
        if file.stat().st_nlink > 1:  # DVC would take the same bytes from its cache again
            first = f"run `find $(dvc cache dir) -samefile {file} -delete`, since DVC's cache shares its bytes, then "
    return f"{what}: {first}delete {folder} and run `dvc repro {stage}`; if the change is meant, delete {folder / SUMS}"


@contextmanager
def reading(path: str | Path, stage: str = "") -> Iterator[None]:
    """What damaged content leads to in the block becomes one line that names `path` and the stage that makes it."""
    try:
        yield
    except _DAMAGE as error:
        again = f"dvc repro {stage}".strip()
        raise UserError(f"{path} is damaged ({one_line(error)[:300]}): delete it and run `{again}`") from None


def one_line(error: BaseException) -> str:
    """The kind of an error and its message, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def load_tensors(path: str | Path, stage: str, names: Iterable[str] = ()) -> "dict[str, Tensor]":
    """All tensors of a safetensors file, memory-mapped: nothing is read until it is used.

    Raises:
        UserError: the file is missing or damaged, or lacks one of `names` or has others; the message names the
            stage that makes it.
    """
    path = require(path, stage)
    with reading(path, stage), safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        if names and tensors.keys() != set(names):
            raise ValueError(f"it holds {', '.join(tensors)}, not {', '.join(names)}")
        return tensors


@contextmanager
def output(path: str | Path, fingerprint: str | None = None, checksums: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    The block creates a file or a folder there. With a `fingerprint` (of everything the output
    depends on) the temporary place is a folder that survives a failure or a kill: the next call with the
    same fingerprint gets it back as it was left, to go on from, finished or not; another fingerprint empties it.
    With `checksums` the folder gets a file `SHA256SUMS`, which `require` compares it with.

    Raises:
        UserError: the disk is full (the message names the output and what is free), or another run is writing
            the same output.
    """
    path = Path(path)
    partial = partial_path(path)
    mark = path.with_name(f".{path.name}.fingerprint")
    with writing(path), _only_writer(path):
        if fingerprint is None:
            remove(partial)
        else:
            _resume(path, partial, mark, fingerprint)
        try:
            yield partial
            if checksums:
                remove(partial / SUMS)  # of a finished folder: it may share its bytes with DVC's cache
                (partial / SUMS).write_text(_sums(partial), encoding="utf-8")
        except BaseException:
            if fingerprint is None:
                remove(partial)
            raise
        if not partial.exists():
            raise FileNotFoundError(f"nothing was written for {path}")
        if fingerprint is not None:
            _write_mark(mark, f"{fingerprint} {sha256_tree(partial)}")
        _replace(partial, path)


def partial_path(path: Path) -> Path:
    """Where `output` has `path` written."""
    return path.with_name(f".{path.name}.partial")


def _resume(path: Path, partial: Path, mark: Path, fingerprint: str) -> None:
    """Leave in the folder `partial` what an earlier run with this fingerprint has made.

    A finished output counts as well: a run may be killed after it and before DVC has recorded it.
    """
    known, _, made = mark.read_text().partition(" ") if mark.exists() else ("", "", "")
    if known != fingerprint:
        remove(partial)
    elif made and not partial.exists() and path.is_dir() and sha256_tree(path) == made:
        os.replace(path, partial)
    partial.mkdir(exist_ok=True)
    if known != fingerprint:
        _write_mark(mark, fingerprint)


def _replace(new: Path, path: Path) -> None:
    """Rename `new` to `path`: a file in one step, a folder after the old one was put aside."""
    old = path.with_name(f".{path.name}.old.partial")
    remove(old)
    if path.is_dir():
        os.replace(path, old)
    os.replace(new, path)
    remove(old)


def _write_mark(mark: Path, text: str) -> None:
    new = mark.with_name(f"{mark.name}.partial")
    new.write_text(text)
    os.replace(new, mark)


@contextmanager
def _only_writer(path: Path) -> Iterator[None]:
    """Hold the right to write `path`. It ends with the process; the file that a killed one leaves blocks nobody."""
    if any(parent.suffix == ".partial" for parent in path.parents):  # part of an output whose right is held
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
        return
    place = path.with_name(f".{path.name}.writer")
    lock = FileLock(place)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        writer = place.read_text().strip() if place.exists() else "just ending"
        raise UserError(f"another run is writing {path} (process {writer}): wait for it or stop it") from None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise UserError(f"cannot write {path} ({error.strerror}): allow writing in {path.parent}") from None
    try:
        place.write_text(f"{os.getpid()} on {platform.node()}\n")
        yield
    finally:
        place.unlink(missing_ok=True)  # before the release: a lock on a file without a name is worth nothing
        lock.release()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A full disk in the block becomes one line that names `path` and what is free there."""
    try:
        yield
    except BaseException as error:
        if is_disk_full(error):
            free = shutil.disk_usage(next(parent for parent in path.absolute().parents if parent.exists())).free / 1e6
            raise UserError(f"disk full while writing {path} ({free:.0f} MB free): make room and run again") from None
        raise


def is_disk_full(error: BaseException) -> bool:
    """Whether `error` says that no space is left (safetensors and Arrow wrap the system's error)."""
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error)


def remove(path: str | Path) -> None:
    """Delete a file, link or folder; nothing happens where there is none."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(path: str | Path) -> str:
    """Hex SHA-256 of a file, or of what `SHA256SUMS` says or would say of a folder's files."""
    path = Path(path)
    return sha256_file(path) if path.is_file() else hashlib.sha256(_sums(path).encode()).hexdigest()


def _sums(folder: Path) -> str:
    """`<SHA-256>  <relative path>`, a line for each file below `folder`, in path order."""
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p != folder / SUMS)
    return "".join(f"{sha256_file(folder / name)}  {name}\n" for name in sorted(names))


def size_mb(path: str | Path) -> float:
    """Megabytes of a file, or of all files below a folder."""
    path = Path(path)
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


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


def fingerprint(*parts: object) -> str:
    """One hash of this package's code and of all else that an output depends on: paths stand for their content, the
    rest for its text."""
    code = sorted(Path(__file__).parent.rglob("*.py"))
    texts = [sha256_tree(part) if isinstance(part, Path) else repr(part) for part in (*code, *parts)]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
