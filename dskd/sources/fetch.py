"""Fetch what a run starts from: pinned by version, verified by SHA-256, placed whole or not at all.

A verified copy stays in a cache folder of the user's (`$DSKD_CACHE`, default `~/.cache/dskd`), named
by its hash, so that a second clone downloads nothing.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import pandas as pd
from filelock import FileLock, Timeout

from dskd.errors import UserError
from dskd.infra.hashes import remove, sha256_tree, size_mb
from dskd.infra.output import output
from dskd.params import Source, is_archive
from dskd.sources.grammar import Place, parse
from dskd.sources.package_index import read_pypi
from dskd.sources.readers import copy, read_file, read_https, read_hub, read_nltk, work_folder

_PATIENCE = 5  # seconds to wait for another process before that is said
_LINES = ".txt", ".tsv", ".csv", ".jsonl"  # files in which a line stands for itself


def fetch(spec: Source, destination: str | Path, quick: bool = False) -> None:
    """Put the file or folder that `spec.source` names at `destination`.

    Nothing is done if it is there already, with the hash `spec.sha256` (of `sha256_tree`). With `quick` a package
    index is not asked again and again.

    Raises:
        UserError: the source is malformed, missing or out of reach, its content has another hash,
            or the disk is full. `destination` is then as it was.
    """
    destination = Path(destination)
    places = [parse(part) for part in spec.parts()]
    if destination.exists() and sha256_tree(destination) == spec.sha256:
        return

    def read(target: Path) -> None:
        _read(spec, places, quick, target)

    with output(destination) as partial:
        if all(place.form == "file" for place in places):
            read(partial)
        else:
            copy(_cached(spec, read), partial)
        _verify(spec, partial)


def fetch_all(sources: Mapping[str, Source], folder: Path) -> tuple[dict[str, Path], pd.DataFrame]:
    """Fetch every source into `folder`, under its name.

    Returns:
        name -> path, and a table of the sources: name, all fields of `Source`, megabytes.
    """
    fetched = {name: folder / name for name in sources}
    for name, path in fetched.items():
        fetch(sources[name], path)
    rows = [{"name": name, **sources[name].model_dump(), "megabytes": size_mb(path)} for name, path in fetched.items()]
    return fetched, pd.DataFrame(rows)


def _cached(spec: Source, read: Callable[[Path], None]) -> Path:
    """The cache's verified copy; it is fetched if there is none, or if it was damaged."""
    cache = Path(os.environ.get("DSKD_CACHE") or "~/.cache/dskd").expanduser()
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _only_fetcher(cache / f".{spec.sha256}.lock", spec.source)
    except OSError as error:
        raise UserError(f"cannot write to {cache} ({error.strerror}): set DSKD_CACHE to a folder of yours") from None
    try:
        entry = cache / spec.sha256
        if not entry.exists() or sha256_tree(entry) != spec.sha256:
            with output(entry) as partial:
                read(partial)
                _verify(spec, partial)
    finally:
        lock.release()
    return entry


def _only_fetcher(place: Path, source: str) -> FileLock:
    """The right to fetch one source into the cache, as a lock to release; who has to wait for it says so."""
    lock = FileLock(place)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        holder = place.read_text().strip() or "unknown"
        print(
            f"dskd: waiting for process {holder}, which is fetching {source}; if that is stopped or hangs, end it, and "
            "this one goes on",
            file=sys.stderr,
            flush=True,
        )
        lock.acquire()
    place.write_text(str(os.getpid()))
    return lock


def _verify(spec: Source, path: Path) -> None:
    found = sha256_tree(path)
    if found != spec.sha256:
        raise UserError(
            f"{spec.source}: SHA-256 is {found}, expected {spec.sha256}; if the new content is intended, "
            "change `sha256` below this source in params.yaml (group `sources`)"
        )


def _read(spec: Source, places: list[Place], quick: bool, target: Path) -> None:
    """Write the content of a source to `target`; files in several places one after another as one file."""
    sums = iter(spec.archive_sums())
    if len(places) == 1:
        _read_place(spec, places[0], next(sums, None), quick, target)
        return
    with work_folder(target) as work, open(target, "wb") as whole:
        for number, place in enumerate(places, start=1):
            archive_sha256 = next(sums, None) if is_archive(place.text) else None
            _read_place(spec, place, archive_sha256, quick, work / "part")
            if not (work / "part").is_file():
                raise UserError(f"{spec.source}: part {number} is a folder; only files can be joined")
            with open(work / "part", "rb") as part:
                shutil.copyfileobj(part, whole)
                if number < len(places) and place.text.endswith(_LINES):
                    _check_last_line(part, place)
            remove(work / "part")


def _check_last_line(part: BinaryIO, place: Place) -> None:
    """Raise UserError where the next file's first line would go on with this one's last."""
    if part.tell():
        part.seek(-1, os.SEEK_END)
        if part.read(1) not in b"\r\n":
            raise UserError(
                f"{place.text}: its last line has no end, so the next file's first would go on with it: add a line "
                "break, or name it last"
            )


def _read_place(spec: Source, place: Place, archive_sha256: str | None, quick: bool, target: Path) -> None:
    if place.form == "pypi":
        with work_folder(target) as work:
            read_pypi(place, spec.archive, archive_sha256, quick, work, target)
    elif place.form == "https":
        read_https(place, archive_sha256, target)
    else:
        {"file": read_file, "hf": read_hub, "nltk": read_nltk}[place.form](place, target)
