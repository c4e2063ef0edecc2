"""Bytes, texts and values as no reader should meet them, and what a reader may do when it does.

DSKD_FUZZ_CASES sets the cases a reader; the same cases come at every run.
"""

import json
import os
import resource
import signal
import struct
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from dskd.errors import UserError

ROOT = Path(__file__).parents[2]
CASES = int(os.environ.get("DSKD_FUZZ_CASES", 200))
SECONDS = 20  # of the processor, a case; ordinary ones take milliseconds
MEMORY = 3 << 30  # bytes of address space that a test may add to what the process has


def fuzz(*strategies, share=1, **named):
    """Give the test `CASES // share` cases, always the same ones."""
    options = settings(
        max_examples=max(1, CASES // share),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: options(given(*strategies, **named)(test))


@contextmanager
def survives(*names):
    """The block ends within `SECONDS`, well or with a UserError of one line that holds one of `names`."""

    def late(*_):
        pytest.fail(f"no answer after {SECONDS} s")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    except UserError as error:
        line = str(error)
        assert len(line.splitlines()) == 1 and len(line) < 5000
        assert any(str(name) in line for name in names), line
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@pytest.fixture(autouse=True, scope="module")
def bounded_memory():
    """More memory than `MEMORY` on top is a MemoryError, which no reader catches."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


# --- what bytes, texts and values are like ---------------------------------------------------------------------------

HOSTILE = [
    b"\0",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\n",
    b"\xff\xfe",
    b"\xed\xa0\x80",  # half a surrogate pair
    b'"\\ud800"',
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1",
    b"9" * 5000,
    b"[" * 20_000,
    b'{"a":' * 20_000,
    b"x" * 200_000,
    b" " * 20_000,
    b"null",
    b"true",
    b'"',
    b"{}",
    b"\t",
    b"|",
    b"&a [*a]",
    b"../",
    b"/etc/passwd",
    b"\xff" * 8,
    b"\x7f" + b"\xff" * 7,
]


@st.composite
def damaged(draw, whole: bytes, most: int = 3) -> bytes:
    """`whole` after some bytes were changed, deleted, doubled or put in, or its end cut off; or garbage."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200) | st.sampled_from(HOSTILE))
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, most))):
        at, size = draw(st.integers(0, len(data))), draw(st.integers(1, 40))
        kind = draw(st.integers(0, 5))
        if kind == 0:
            data[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = data[at : at + size]
        elif kind == 3:
            del data[at:]
        else:
            data[at : at + (size if kind == 4 else 0)] = draw(st.sampled_from(HOSTILE))
    return bytes(data)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [10**30, -(10**400), 1e308, float("nan"), float("inf"), "\ud800", "\0", "a\nb", "\ufeff", "", "x"]
    )
    | st.floats()
    | st.text(max_size=5)
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


def places(value, path=()):
    """The way to every value within `value`."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


@st.composite
def altered(draw, whole):
    """`whole`, a value of JSON, with one or two of the values in it replaced, left out or put under another key."""
    whole = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 2))):
        *path, last = draw(st.sampled_from(list(places(whole))[1:] or [(None,)]))
        if last is None:
            return draw(values)
        at = whole
        for key in path:
            at = at[key]
        kind = draw(st.integers(0, 3))
        if kind == 0:
            del at[last]
        elif kind == 1 and isinstance(at, dict):
            at[draw(st.text(max_size=3))] = at.pop(last)
        else:
            at[last] = draw(values)
    return whole


def hostile_json(whole):
    """Bytes of a JSON file like `whole`."""
    text = altered(whole).map(lambda value: json.dumps(value).encode())
    return text | damaged(json.dumps(whole).encode())


def hostile_jsonl(rows):
    lines = altered(rows).filter(lambda v: isinstance(v, list)).map(lambda v: "\n".join(map(json.dumps, v)).encode())
    return lines | damaged("\n".join(map(json.dumps, rows)).encode())


def hostile_tensors(tensors):
    """Bytes of a safetensors file like one of `tensors`: damaged, with another header, or lacking a tensor."""
    whole = save(tensors)
    size = struct.unpack("<Q", whole[:8])[0]
    header, data = json.loads(whole[8 : 8 + size]), whole[8 + size :]

    def joined(head) -> bytes:
        text = json.dumps(head).encode()
        return struct.pack("<Q", len(text)) + text + data

    return damaged(whole[: 8 + size]).map(lambda head: head + data) | damaged(whole) | altered(header).map(joined)


def in_folder(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
