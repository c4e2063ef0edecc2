"""How soon reports/senses.html opens in Chromium, and answers a word."""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from speed.measure import line
from tools.browser import CHROMIUM, browser

from dskd.infra import artifacts

PAGE = Path("reports/senses.html")
WORDS = 200  # heads of the lexicon, evenly apart


def available() -> bool:
    return bool(CHROMIUM) and PAGE.exists()


def bench_page() -> list[dict]:
    heads = sorted(pd.read_parquet(artifacts.LEXICON, columns=["head"])["head"].unique())
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as page:
        began = time.monotonic()
        page.open(PAGE, 1400)
        _wait(page)
        opened = time.monotonic() - began
        times = [_answer(page, word) for word in heads[:: len(heads) // WORDS]]
    shape = f"{PAGE.stat().st_size / 1e6:.1f} MB, Chromium without a window"
    asked, median, slowest = f"{len(times)} words, {shape}", statistics.median(times), max(times)
    return [
        line("senses page, from a file to its first view", shape, round(opened, 2), "s", 1, opened <= 1),
        line("senses page, a word, median", asked, round(median), "ms", 100, median <= 100),
        line("senses page, a word, slowest", asked, round(slowest), "ms", 100, slowest <= 100),
    ]


def _answer(page, word: str) -> float:
    """Milliseconds from asking to the page as it is laid out, the way to the browser and back counted."""
    page.value("delete document.documentElement.dataset.milliseconds")
    began = time.monotonic()
    page.value(f"location.hash = '#' + encodeURIComponent({word!r})")
    _wait(page)
    page.value("document.body.getBoundingClientRect().height")
    return (time.monotonic() - began) * 1e3


def _wait(page) -> None:
    """Until the page has shown what it was asked for."""
    until = time.monotonic() + 30
    while page.value("document.documentElement.dataset.milliseconds") is None:
        assert time.monotonic() < until, "the page does not answer"
