"""The picture of the page of senses in README.md: `python tests/tools/picture.py` writes docs/senses.png of a word."""

import base64
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tools.browser import CHROMIUM, browser

ROOT = Path(__file__).resolve().parents[2]
WORD, WIDTH, HEIGHT = "bank", 1200, 820
READY = "document.documentElement.dataset.map"


def picture(page: Path, word: str, folder: Path) -> bytes:
    """The first screen of the page at a word, as PNG."""
    with browser(folder) as opened:
        opened.open(page, WIDTH)
        opened.value(f"location.hash = {word!r}")
        for _ in range(500):
            if opened.value(f"document.title.startsWith({word!r}) && {READY}"):
                break
            time.sleep(0.02)
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1}
        return base64.b64decode(opened.call("Page.captureScreenshot", format="png", clip=clip)["data"])


if __name__ == "__main__":
    if CHROMIUM is None:
        sys.exit("no Chromium; Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        (ROOT / "docs/senses.png").write_bytes(picture(ROOT / "reports/senses.html", WORD, Path(folder)))
