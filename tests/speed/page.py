"""How large the page of senses is, and how long it takes to open and to answer a word, in headless Chromium.

The page is made of the committed page's data and today's script. It measures the times itself, so that this process
adds nothing to them. A time begins with the navigation, or when a word is entered. It ends when the first card is
painted; all cards of a word go into the page at once.

Some waits for Chromium never end. It says nothing when the page's process has died, when a new address differs in its
`#word` alone (nothing is loaded), when `#word` stays the same (nothing changes), and when a page in the background is
to be painted. So each wait has a limit here, each opening has a new browser, and no word follows itself.
"""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from speed.measure import line
from tools.browser import CHROMIUM, Browser, browser

from dskd.explore.packing import unpacked
from dskd.explore.senses_page import PAGE, render
from dskd.infra import artifacts

OPENINGS, WORDS, WIDTH = 5, 50, 1400
LIMIT = 60  # seconds that a wait may take

# In the page, before its own script: the first card is marked as soon as it is there, and `tell` gets its time.
WATCH = """
window.opened = new Promise((done) => { window.tell = done; });
new PerformanceObserver((seen) => tell(seen.getEntries()[0].renderTime)).observe({ type: "element" });
new MutationObserver(() => document.querySelector("#p-cards p")?.setAttribute("elementtiming", "card"))
  .observe(document, { subtree: true, attributeFilter: ["data-milliseconds"] });
"""
ASK = """async (word, isTyped) => {
  while (!document.documentElement.dataset.map) await new Promise((done) => setTimeout(done, 20)); // the last map
  const began = performance.now(), painted = new Promise((done) => { window.tell = done; });
  if (isTyped) {
    document.getElementById("p-word").value = word;
    document.getElementById("p-word").dispatchEvent(new Event("input"));
    document.getElementById("p-search").requestSubmit();
  } else location.hash = encodeURIComponent(word);
  return [(await painted) - began, document.getElementById("senses-title").textContent];
}"""


def available() -> bool:
    return CHROMIUM is not None


def bench_page() -> list[dict]:
    """Openings are of new browsers, each with a new profile; the words are those of `chosen`, in the last browser."""
    committed = (artifacts.project_root() / PAGE).read_text(encoding="utf-8")
    columns = unpacked(re.search(r'id="p-data">([^<]*)<', committed)[1])
    text, openings, answers, said = render(columns), [], [], []
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        (path := Path(folder) / "senses.html").write_text(text, encoding="utf-8")
        for number in range(OPENINGS):
            with limited(Path(folder) / f"profile {number}") as opened:
                version = opened.call("Browser.getVersion")["product"]
                opened.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
                opened.open(path, WIDTH)
                openings.append(asked(opened, "opened"))
                for i, word in enumerate(chosen(columns, text) if number == OPENINGS - 1 else ()):
                    taken, shown = asked(opened, f"({ASK})({json.dumps(word)}, {json.dumps(i % 2 == 0)})")
                    assert shown == word, f"{word!r} was asked for, and {shown!r} came"
                    answers.append(taken)
                said += opened.said
    shape = f"{int((columns['numbers'] > 0).sum()):,} words, {version.split('.')[0].replace('/', ' ')}"
    for message in said:
        print(message)
    size = len(text.encode())
    rows = [line("page of senses, size", shape, round(size / 1e6, 3), "MB", 5, size < 5e6)]
    for name, taken, target in (("opening", openings, 1000), ("cards of a word", answers, 100)):
        for kind, found in (("median", median(taken)), ("largest", max(taken))):
            of = f"{kind} of {len(taken)}, {shape}"
            rows.append(line(f"page of senses, {name}, {kind}", of, round(found), "ms", target, found < target))
    return [*rows, line("page of senses, messages on the console", shape, len(said), "messages", 0, not said)]


@contextmanager
def limited(profile: Path) -> Iterator[Browser]:
    """A browser that ends with the block. A wait longer than LIMIT raises TimeoutError."""

    def late(*_) -> None:
        raise TimeoutError(f"Chromium did not answer within {LIMIT} s")

    signal.signal(signal.SIGALRM, late)  # it interrupts a read from Chromium's pipe, too
    signal.alarm(LIMIT)
    try:
        with browser(profile) as opened:
            yield opened
    finally:
        signal.alarm(0)


def asked(opened: Browser, expression: str):
    """What an expression of JavaScript gives, or the promise that it gives; the limit begins anew."""
    signal.alarm(LIMIT)
    found = opened.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
    assert "exceptionDetails" not in found, found
    return found["result"].get("value")


def chosen(columns: dict, text: str) -> list[str]:
    """WORDS different words: ten with the most relatives, which take longest, the others from common to rare.

    A word that is also the id of an element is left out: the browser goes there, away from the cards."""
    named = set(re.findall(r'\bid="([\w-]+)"', text))
    at = [i for i in np.flatnonzero(columns["numbers"]) if columns["words"][i] not in named]
    related = columns["synonymCounts"].astype(int) + columns["antonymCounts"]
    most = sorted(at, key=lambda i: -related[i])[:10]
    others = [i for i in at if i not in most]
    spread = np.linspace(0, len(others) - 1, WORDS - len(most)).astype(int)
    return [columns["words"][i] for i in (*most, *(others[j] for j in spread))]
