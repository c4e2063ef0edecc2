"""What writes the content of a source to a path, for each form of `grammar`."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dskd.errors import UserError, is_disk_full, one_line
from dskd.infra.hashes import files_below, remove
from dskd.sources.archives import check_archive, extract, unpacking
from dskd.sources.download import DownloadError, download
from dskd.sources.grammar import Place

_LARGEST_DOWNLOAD = 4 << 30  # bytes


@contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`; what an interrupted run left in it is removed."""
    work = target.with_name(f"{target.name}.download")
    remove(work)
    work.mkdir(mode=0o700)  # NLTK refuses a folder that others may write to
    try:
        yield work
    finally:
        remove(work)


def read_file(place: Place, target: Path) -> None:
    """A file or folder of this machine.

    Raises:
        UserError: there is none, or it holds something else than files and folders.
    """
    try:
        path = Path(place.name).expanduser()
        found = path.is_file() or path.is_dir()  # a device or pipe may have no end
        if path.is_dir():
            files_below(path)  # before it is copied: a pipe has no end, and a link may lead nowhere
    except (OSError, RuntimeError) as error:  # a name too long; ~ of nobody; not to be read
        raise UserError(f"{place.text}: {one_line(error)}") from None
    if not found:
        raise UserError(f"{place.text}: there is no {path.absolute()}")
    copy(path, target)


def copy(path: Path, target: Path) -> None:
    shutil.copytree(path, target) if path.is_dir() else shutil.copyfile(path, target)


def read_https(place: Place, archive_sha256: str | None, target: Path) -> None:
    """A file of a web server, or one file or folder of an archive there."""
    try:
        if place.path is None:
            download(place.name, target, _LARGEST_DOWNLOAD)
            return
        with work_folder(target) as work:
            archive = work / place.name.rpartition("/")[2]
            download(place.name, archive, _LARGEST_DOWNLOAD)
            if archive_sha256:
                check_archive(archive, archive_sha256, place.text)
            with unpacking(f"{place.text}: {archive.name} is damaged, or no zip or tar; run again"):
                extract(archive, place.path, target, place.text)
    except DownloadError as error:
        raise UserError(
            f"{place.text} {error}; check the network and the address, or fetch the file by other means and write "
            "file:PATH as the source in params.yaml, with the same sha256"
        ) from None


def read_hub(place: Place, target: Path) -> None:
    """A repository of the Hugging Face hub, or a file or folder of it, by the hub's own client."""
    from huggingface_hub import constants, hf_hub_download, snapshot_download

    repository, _, revision = place.name.rpartition("@")
    kind, path, offline = "model", place.path, constants.HF_HUB_OFFLINE
    if repository.startswith("datasets/"):
        kind, repository = "dataset", repository.removeprefix("datasets/")
    with work_folder(target) as work:
        # Offline, the hub's own cache may still have it; else past that cache, which would double the space.
        where = None if offline else work
        options = {"repo_id": repository, "repo_type": kind, "revision": revision, "local_dir": where}
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
            raise UserError(f"{place.text}: could not be had from {constants.ENDPOINT} ({why}); {cause}") from None
        remove(work / ".cache")
        if not found.exists():
            raise UserError(f"{place.text}: {path} is not in the repository at that revision")
        copy(found, target) if offline else os.replace(found, target)


def read_nltk(place: Place, target: Path) -> None:
    """By NLTK's downloader; NLTK's own NLTK_DOWNLOAD_URL names another index."""
    from nltk.downloader import Downloader

    with work_folder(target) as work:
        downloader = Downloader(os.environ.get("NLTK_DOWNLOAD_URL"), str(work))
        try:
            info = downloader.info(place.name.rpartition("/")[2])
            downloader.download(info.id, str(work), raise_on_error=True, extract=True)
        except (OSError, ValueError, SyntaxError) as error:  # SyntaxError: the index is no XML
            if is_disk_full(error):
                raise
            raise UserError(f"{place.text}: NLTK's downloader could not fetch it; {one_line(error)}") from None
        there = f"{getattr(info, 'subdir', 'collections')}/{info.id}"
        if place.name not in (info.id, there) or not (work / there).is_dir():
            raise UserError(f"{place.text}: NLTK has {there} instead, or it is not one folder")
        os.replace(work / there, target)
