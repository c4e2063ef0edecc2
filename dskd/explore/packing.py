"""How much text and how many numbers fit into one page: columns of bytes, deflated, written in 85 characters.

The contexts of senses overlap, since each is a window in the same text. They are joined to lines of text that hold each
window once, and a context is a place in it.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

_SEPARATOR = "\n"


class Window(NamedTuple):
    """A place in a text with what stands around it."""

    document: str
    left: str  # up to the word
    word: str  # as it stands there, with its leading space
    right: str


class Joined(NamedTuple):
    lines: list[str]  # "document<TAB>text"
    places: list[int]  # of each window: where its word begins, in characters, in the lines joined by a line's end


def join_windows(windows: Sequence[Window]) -> Joined:
    """Lines in which every window is found, each once where it goes on with, or lies in, the window before it. No place
    is before that of the window before, also where a text says the same again and again.

    Args:
        windows: in the order of the text, so that neighbours overlap.
    """
    lines, places, before, known = [], [], 0, None  # `before`: characters of the finished lines with their ends
    for window in windows:
        text = window.left + window.word + window.right
        lead = len(window.left) + len(window.word) - len(window.word.lstrip(" "))
        shift = _overlap(lines[-1], text) if known == window.document else -1
        if shift < 0 or before + shift + lead < places[-1]:
            before += len(lines[-1]) + 1 if lines else 0
            lines.append(f"{window.document}\t{text}")
            shift, known = len(window.document) + 1, window.document
        else:
            lines[-1] += text[len(lines[-1]) - shift :]
        places.append(before + shift + lead)
    return Joined(lines, places)


def _overlap(line: str, text: str) -> int:
    """Where `text` begins in a line that it lies in or goes on with by 12 characters or more; -1 where it does not."""
    start = line.index("\t") + 1
    tail = max(start, len(line) - 2 * len(text))
    found = line.find(text, tail)
    while found < 0 and len(line) - tail >= 12:
        tail = line.find(text[:12], tail)
        if tail < 0:
            return -1
        if text.startswith(line[tail:]):
            return tail
        tail += 1
    return found


def packed(columns: Mapping[str, np.ndarray | str | list[str]]) -> str:
    """Columns by name as deflated bytes in RFC 1924's base 85: equal columns give equal text.

    The bytes begin with their number, since they are filled up to fours. Base 85 takes 25 % more than the bytes, base
    64 takes 33 %. A comma stands for "<", which HTML would read.

    A list of strings becomes lines; ValueError where one would become two, or a single empty line none. Of numbers
    wider than a byte the low bytes of all come first, then the next, which deflates better. Everything is
    little-endian.
    """
    head, parts = {}, []
    for name, column in columns.items():
        if isinstance(column, np.ndarray):
            parts.append(_planes(column))
            head[name] = [column.dtype.str.lstrip("<|"), len(column)]
        else:
            lines = column if isinstance(column, str) else _SEPARATOR.join(column)
            if lines is not column and lines.count(_SEPARATOR) != max(len(column) - 1, 0):
                raise ValueError(f"a line of {name!r} has an end within it, and would be two")
            if len(column) == 1 and not lines:
                raise ValueError(f"the only line of {name!r} is empty, and would be none")
            parts.append(lines.encode("utf-8"))
            head[name] = ["text" if isinstance(column, str) else "lines", len(parts[-1])]
    first = json.dumps(head, separators=(",", ":")).encode()
    whole = len(first).to_bytes(4, "little") + first + b"".join(parts)
    deflated = zlib.compress(whole, 9)
    data = len(deflated).to_bytes(4, "little") + deflated
    return base64.b85encode(data, pad=True).decode("ascii").replace("<", ",")


def unpacked(text: str) -> dict[str, np.ndarray | str | list[str]]:
    """What `packed` was given."""
    data = base64.b85decode(text.replace(",", "<"))
    whole = zlib.decompress(data[4 : 4 + int.from_bytes(data[:4], "little")])
    start = 4 + int.from_bytes(whole[:4], "little")
    columns = {}
    for name, (kind, length) in json.loads(whole[4:start]).items():
        if kind in ("text", "lines"):
            lines = whole[start : start + length].decode("utf-8")
            columns[name] = lines if kind == "text" else lines.split(_SEPARATOR) if lines else []
            start += length
        else:
            width = np.dtype(kind).itemsize
            planes = np.frombuffer(whole, np.uint8, width * length, start).reshape(width, length)
            columns[name] = np.ascontiguousarray(planes.T).view(f"<{kind}")[:, 0]
            start += width * length
    return columns


def _planes(column: np.ndarray) -> bytes:
    width = column.dtype.itemsize
    flat = np.ascontiguousarray(column.astype(column.dtype.newbyteorder("<")))
    return np.ascontiguousarray(flat.view(np.uint8).reshape(-1, width).T).tobytes()


def smallest(values: Sequence[int] | np.ndarray) -> np.ndarray:
    """Numbers that are not negative, in the narrowest of one, two and four bytes; ValueError where one has no place."""
    values = np.asarray(values, dtype=np.int64)
    most = int(values.max(initial=0))
    if values.min(initial=0) < 0 or most >= 2**32:
        raise ValueError(f"a page holds numbers from 0 to {2**32 - 1}, not from {values.min()} to {most}")
    return values.astype(np.uint8 if most < 2**8 else np.uint16 if most < 2**16 else np.uint32)
