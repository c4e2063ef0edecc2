"""The committed report as a reader sees it, on a telephone and on a wide screen."""

import re

import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from tools.browser import CHROMIUM, browser
from whole.test_pipeline import ROOT

from dskd.infra.page import to_html

PAGE = ROOT / "reports/index.html"

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; Debian: apt-get install chromium")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@needs_browser
@pytest.mark.parametrize("width", [400, 1400])
def test_the_report_is_readable(opened, width):
    opened.open(PAGE, width)
    assert opened.said == []
    assert opened.value("document.documentElement.clientWidth") == width
    assert opened.value("document.documentElement.scrollWidth") <= width  # tables scroll inside themselves
    pictures = opened.value("Array.from(document.images, image => image.naturalWidth)")
    assert len(pictures) > 2 and all(pictures)
    opened.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert opened.value("document.documentElement.scrollWidth") <= width


@needs_browser
def test_a_wide_table_scrolls_and_keeps_what_heads_its_rows(opened, tmp_path):
    table = pd.DataFrame({f"column {i}": ["a cell of some width"] for i in range(20)}, index=["row"]).to_html()
    cell = new_code_cell(outputs=[new_output("display_data", {"text/html": table})])
    (tmp_path / "page.html").write_text(to_html(new_notebook(cells=[cell]), "page"))
    opened.open(tmp_path / "page.html", 400)
    assert opened.value("document.documentElement.scrollWidth") <= 400
    left = "document.querySelector('tbody th').getBoundingClientRect().left"
    opened.value("document.querySelector('.output_area').scrollLeft = 500")
    assert opened.value("document.querySelector('.output_area').scrollLeft") == 500
    assert 0 <= opened.value(left) < 40


def shown(markup: str, mime: str = "text/html") -> str:
    """What the page has of an output of this markup."""
    cell = new_code_cell(outputs=[new_output("display_data", {mime: markup})])
    page = to_html(new_notebook(cells=[cell]), "page")
    return page.partition('<div class="output_html rendered_html output_subarea">')[2].partition("</div>")[0].strip()


ADDRESSES = ["javascript:f()", "JavaScript:f()", "java\nscript:f()", "vbscript:f()", "data:text/html,x"]
ADDRESSES += ["DATA:text/html,x", " data:text/html,x", "\tdata:text/html,x", "da\tta:text/html,x"]
ADDRESSES += ["&#100;ata:text/html,x", "data&colon;text/html,x"]


@pytest.mark.parametrize("tag", ["<a href='{}'>x</a>", "<svg><a href='{}'>x</a></svg>", "<img src='{}' alt='x'>"])
def test_no_address_in_a_page_runs_anything(tag):
    for address in ADDRESSES:
        html = shown(tag.format(address))
        assert "x" in html and not re.search(r"<[^>]*(script|html)", html), address


def test_a_page_keeps_what_is_harmless_and_shows_the_rest_as_text():
    table = '<table class="t"><tbody><tr><td colspan="2">1 &lt; 2</td></tr></tbody></table>'
    assert shown(table) == table
    assert shown('<a href="../docs/a.md#b">l</a>') == '<a href="../docs/a.md#b">l</a>'
    assert 'src="data:image/png;base64,AA=="' in shown('<img src="data:image/png;base64,AA==" alt="a">')
    assert not re.search("src|onerror", shown('<img src="https://host/x.png" alt="a" onerror="f()">'))
    assert shown("<p onclick='f()' style='top:0'>a <eos> b</p>") == "<p>a &lt;eos&gt; b</p>"
    assert (
        shown("a <|im_end|> < b <script>f()</script>") == "a &lt;|im_end|&gt; &lt; b &lt;script&gt;f()&lt;/script&gt;"
    )
    assert shown("<style>p {}</style><!-- c --><b>x</b>") == "<b>x</b>"
    assert "&lt;s&gt;" not in shown("`<eos>` and **x**", "text/markdown") and "<strong>" in shown(
        "**x**", "text/markdown"
    )


def test_links_of_the_report_lead_somewhere():
    links = re.findall(r'href="([^"#:]+)(?:#[^"]*)?"', PAGE.read_text(encoding="utf-8"))
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
