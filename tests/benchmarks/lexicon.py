"""Reading a wiktextract file of a gigabyte: speed beside parsing every line, plain and gzip, and the memory it takes.

The file is the mirror's few real entries over and over (DSKD_MIRROR), so that only the length is not real.
"""

import gzip
import json
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import line, memory_beyond, seconds

from dskd.lexicon import wiktextract

SAMPLE = Path(os.environ.get("DSKD_MIRROR", "")) / "wiktionary_sample" / "en-en-extract.jsonl"


def available() -> bool:
    return SAMPLE.is_file()


def bench_lexicon(size: int = 10**9) -> list[dict]:
    """Each is timed once: a gigabyte evens out what disturbs shorter runs."""
    entries = SAMPLE.read_bytes()
    lines = []
    for kind, open_file, content in (("plain", open, entries), ("gzip", gzip.open, gzip.compress(entries))):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "entries"
            with path.open("wb") as file:
                for _ in range(size // len(entries)):
                    file.write(content)
            shape = f"{size / 1e6:.0f} MB, {path.stat().st_size / 1e6:.0f} MB on disk"
            taken: list[float] = []
            memory = memory_beyond(lambda p=path, t=taken: t.append(seconds(lambda: drain(wiktextract.relations(p)))))
            with open_file(path, "rb") as file:
                reference = seconds(lambda f=file: drain(map(json.loads, f)))
        ratio = reference / taken[0]
        lines += [
            line(
                f"wiktextract, {kind}, against parsing every line", shape, round(size / 1e6 / taken[0]), "MB/s", 1.5,
                ratio >= 1.5, round(size / 1e6 / reference), round(ratio, 3),
            ),
            line(f"wiktextract, {kind}, memory", shape, round(memory), "MB", 1000, memory <= 1000),
        ]  # fmt: skip
    return lines


def drain(items: Iterable) -> None:
    deque(items, maxlen=0)
