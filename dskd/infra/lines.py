"""Lines of a file that may be compressed, and larger than memory."""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from dskd.errors import UserError

_CHUNK = 1 << 20  # bytes that are read, or decompressed, at once
_GZIP = b"\x1f\x8b"  # how every gzip file begins (RFC 1952)
MARK = "\ufeff"  # of the order of bytes: some programs write it before a text, and so before each of joined files


def numbered_lines(path: Path, longest: int, progress: str = "") -> Iterator[tuple[int, bytes | None]]:
    """(number from 1, line without its end) of a plain or gzip file, told apart by its first bytes.

    Lines end with LF or CRLF. A byte-order mark before a line is left out. A line of more than `longest` bytes is None
    and never held whole, so that memory is bounded whatever the file decompresses to. With `progress` a bar of that
    name shows the bytes that were read of the file on disk.

    Raises:
        UserError: the file cannot be read, or is a damaged or truncated gzip file.
    """
    try:
        with open(path, "rb", buffering=_CHUNK) as raw, _bar(path, progress) as bar:
            file = raw
            if raw.peek(2)[:2] == _GZIP:
                file = io.BufferedReader(gzip.GzipFile(fileobj=raw), _CHUNK)
            for number, line in enumerate(_bounded(file, longest), 1):
                if progress:
                    bar.update(raw.tell() - bar.n)
                yield number, line.removeprefix(MARK.encode()) if line else line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is not a whole gzip file ({error}): fetch it again") from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise UserError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from None


def decoded(line: bytes | None, where: str, encoding: str = "utf-8") -> str:
    """The text of a line of `numbered_lines`; `where` is the file and its number.

    Raises:
        UserError: the line was too long, is not in this encoding, or holds something that only other software takes
            for the end of a line; else two lines would be read as one.
    """
    if line is None:
        raise UserError(f"{where}: the line is too long for a list of words: is this the right file?")
    if b"\0" in line:
        raise UserError(f"{where}: it has a NUL byte: save the file as UTF-8 if it is UTF-16, or is it the right file?")
    try:
        text = line.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: no {encoding.upper()} ({error.reason}, byte {error.start + 1})") from None
    if len(text.splitlines()) > 1:
        raise UserError(f"{where}: it has line ends other than LF and CRLF: save the file with one of these")
    return text


def _bounded(file: BinaryIO, longest: int) -> Iterator[bytes | None]:
    while line := file.readline(longest + 1):
        if len(line) <= longest or line.endswith(b"\n"):
            yield line.rstrip(b"\r\n")
            continue
        while (rest := file.readline(_CHUNK)) and not rest.endswith(b"\n"):
            pass
        yield None


def _bar(path: Path, progress: str) -> tqdm:
    size = Path(path).stat().st_size
    return tqdm(total=size, desc=progress, unit="B", unit_scale=True, mininterval=1, disable=not progress)
