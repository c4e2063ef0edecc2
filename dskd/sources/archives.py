"""One file or folder out of a zip or tar archive that may be damaged, or made to do harm."""

import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from dskd.errors import UserError, is_disk_full, one_line
from dskd.infra.hashes import sha256_file

# What the readers of zip and tar raise; RuntimeError: encrypted, or a compression that Python lacks.
_DAMAGED_ARCHIVE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    OverflowError,
    struct.error,
)
_LARGEST_RATIO = 200  # bytes out for a byte of an archive: text gives 10, a bomb 1000 and more
_LARGEST = 1 << 40  # bytes


@contextmanager
def unpacking(message: str, kind: type[Exception] = UserError) -> Iterator[None]:
    """What a damaged archive leads to in the block becomes a `kind` of this message; a full disk stays one."""
    try:
        yield
    except (*_DAMAGED_ARCHIVE, OSError) as error:  # OSError: of bz2, gzip and names that no file can have
        if is_disk_full(error):
            raise
        raise kind(f"{message} ({one_line(error)})") from None


def check_archive(archive: Path, sha256: str, source: str) -> None:
    """Raise UserError where an archive has another hash than `sha256`; nothing has opened it yet.

    Args:
        source: what the error calls it.
    """
    if (found := sha256_file(archive)) != sha256:
        raise UserError(
            f"{source}: {archive.name} has SHA-256 {found}, expected {sha256}; if the new archive is intended, change "
            "`archive_sha256` below this source"
        )


def extract(archive: Path, path: str, target: Path, source: str, unwrap: bool = False, largest: int = _LARGEST) -> None:
    """Write one file of an archive (`path`), or a folder of it (`path/`), to `target`.

    Args:
        source: what errors call it.
        unwrap: whether `path` may leave out the one folder that holds all else, as in a source archive.
        largest: bytes that may come out of it.

    Raises:
        UserError: no such file; a link or a name that leads out; more than 200 times the archive's size, or than
            `largest`.
    """
    found, names, left = False, [], min(_LARGEST_RATIO * archive.stat().st_size, largest)
    for name, is_link, stream in _members(archive):
        names.append(name)
        bare = name.partition("/")[2] if unwrap else name
        relative = next((n[len(path) :] for n in (name, bare) if n == path or _below(n, path)), None)
        if relative is None:
            continue
        if is_link or not (is_inside(name) and is_inside(relative)):  # "folder//etc/passwd" is absolute below folder/
            raise UserError(f"{source}: refused, since {name!r} in the archive leads out of its folder")
        place = target / relative if relative else target
        place.parent.mkdir(parents=True, exist_ok=True)
        with stream() as content, open(place, "wb") as file:
            while piece := content.read(1 << 20):
                left -= file.write(piece)
                if left < 0:
                    bound = f"{_LARGEST_RATIO} times its size or {largest >> 20} MiB"
                    raise UserError(f"{source}: refused, since {archive.name} unpacks to over {bound}")
        found = True
    if not found:
        folder = any(_below(n, path + "/") or f"/{path}/" in n for n in names)
        hint = "it is a folder: end PATH with /" if folder else f"see `unzip -l` or `tar tf` of {archive.name}"
        raise UserError(f"{source}: {path} is not in {archive.name} ({hint})")


def _below(name: str, folder: str) -> bool:
    return folder.endswith("/") and name.startswith(folder) and len(name) > len(folder)


def _members(archive: Path) -> Iterator[tuple[str, bool, Callable[[], BinaryIO]]]:
    """Name, whether it is a link or other special file, and how to open it, of each file of a zip or tar."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for item in zipped.infolist():
                if not item.is_dir():
                    yield item.filename, stat.S_ISLNK(item.external_attr >> 16), lambda i=item: zipped.open(i)
    else:
        with tarfile.open(archive) as tarred:
            for item in tarred:
                if not item.isdir():
                    yield item.name, not item.isreg(), lambda i=item: tarred.extractfile(i)


def is_inside(name: str) -> bool:
    """Whether a name in an archive stays in the folder that it is extracted to."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name
