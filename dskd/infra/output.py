"""Outputs are written beside their place and renamed when they are complete: whole, or not at all."""

import errno
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dskd.errors import UserError, is_disk_full
from dskd.infra.hashes import SUMS, checksum_lines, remove, sha256_tree

WENT_ON = "DSKD_WENT_ON"  # environment: a file to make where a stage goes on, whose time is not that of the whole
_PATIENCE = 5  # seconds to wait for another writer, which may be about to end


@contextmanager
def output(path: str | Path, fingerprint: str | None = None, checksums: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    The block creates a file or a folder there. With a `fingerprint` (of everything the output
    depends on) the temporary place is a folder that survives a failure or a kill: the next call with the
    same fingerprint gets it back as it was left, to go on from, finished or not; another fingerprint empties it.
    With `checksums` the folder gets a file `SHA256SUMS`, which `require` compares it with.

    Raises:
        UserError: the disk is full (the message names the output and what is free), another run is writing the same
            output, or a file would take the place of a folder.
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
                (partial / SUMS).write_bytes(os.fsencode(checksum_lines(partial)))
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
    elif WENT_ON in os.environ and any(partial.iterdir()):
        Path(os.environ[WENT_ON]).touch()


def _replace(new: Path, path: Path) -> None:
    """Rename `new` to `path`: a file in one step, a folder after the old one was put aside. A folder gives way to a
    folder alone: it may hold what is somebody's own."""
    if path.is_dir() and new.is_file():
        remove(new)
        raise UserError(f"{path} is a folder, which a file would replace with all that is in it: name a file")
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
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{path} lies in a file: name another place") from None
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
