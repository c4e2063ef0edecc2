"""Making the lexicon from cold, on one core; and reading a wiktextract file of a gigabyte, plain and gzip.

The gigabyte is the mirror's few real entries over and over (DSKD_MIRROR), so that only the length is not real.
"""

import gzip
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from speed.measure import line, memory_beyond, seconds

from dskd.infra import artifacts
from dskd.lexicon.readers.wiktionary import relations

SAMPLE = Path(os.environ.get("DSKD_MIRROR", "")) / "wiktionary_sample" / "en-en-extract.jsonl"


PYTHON = ["taskset", "--cpu-list", "0", sys.executable]
WALK = f"""
from dskd.lexicon import open_wordnet
for synset in open_wordnet("{artifacts.SOURCES}/nltk_data").all_synsets():
    for lemma in synset.lemmas():
        lemma.antonyms()
"""


def bench_lexicon() -> list[dict]:
    return [*bench_making(), *(bench_reading() if SAMPLE.is_file() else [])]


def bench_making(rounds: int = 3) -> list[dict]:
    """`python -m dskd lexicon`, imports and tokenizer and all, beside NLTK's own walk over all synsets: medians of
    fresh processes on one core.

    The aim is 15 s where the walk takes 9; other machines are slower or quicker at both, so the aim is their ratio."""
    ours, walk = (
        median(seconds(lambda c=command: subprocess.run([*PYTHON, *c], check=True)) for _ in range(rounds))
        for command in (["-m", "dskd", "lexicon"], ["-c", WALK])
    )
    ratio = round(walk / ours, 3)
    figure = "lexicon from cold on one core, beside NLTK's walk"
    return [line(figure, "default parameters", round(ours, 1), "s", 0.6, ratio >= 0.6, round(walk, 1), ratio)]


def bench_reading(size: int = 10**9) -> list[dict]:
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
            memory = memory_beyond(lambda p=path, t=taken: t.append(seconds(lambda: drain(relations(p)))))
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
