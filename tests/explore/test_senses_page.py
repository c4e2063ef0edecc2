"""The page of senses in a browser, with an invented dictionary: what it shows, and what every control does."""

import csv
import re
import time
from html import unescape

import pytest
from tiny.atlas import EVIL, invented_columns
from tools.browser import CHROMIUM, browser

from dskd.explore.packing import packed, unpacked
from dskd.explore.senses_page import framed, render

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; Debian: apt-get install chromium")

COLUMNS = invented_columns()


class Page:
    """The opened page, asked in JavaScript."""

    def __init__(self, opened, path, downloads):
        self.browser, self.path, self.downloads = opened, path, downloads

    def open(self, word: str, width: int = 1400) -> None:
        self.browser.open(self.path, width)
        self.wait("document.documentElement.dataset.ready")
        self.go(word)

    def go(self, word: str) -> None:
        self.browser.value(f"location.hash = encodeURIComponent({word!r})")
        self.wait(f"decodeURIComponent(location.hash.slice(1)) === {word!r} && $('p-word').value === {word!r}")
        self.wait("$('p-map').hidden || document.documentElement.dataset.map")

    def wait(self, condition: str):
        for _ in range(500):
            found = self.value(condition)
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"{condition} never held")

    def value(self, expression: str):
        """What an expression gives; `$` finds an element by its id, as in the page's own script."""
        return self.browser.value(f"(() => {{ const $ = (id) => document.getElementById(id); return {expression} }})()")

    def text(self, selector: str) -> str:
        return self.value(f"document.querySelector({selector!r}).innerText")

    def texts(self, selector: str) -> list[str]:
        return self.value(f"[...document.querySelectorAll({selector!r})].map((e) => e.textContent)")

    def click(self, selector: str) -> None:
        self.value(f"document.querySelector({selector!r}).click()")

    def choose(self, name: str, value: str) -> None:
        self.value(f"[$({name!r}).value = {value!r}, $({name!r}).dispatchEvent(new Event('change'))].length")

    def type(self, text: str) -> None:
        self.value("[$('p-word').focus(), $('p-word').select()].length")
        self.browser.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"Enter": "\r", "+": "+", "-": "-", "0": "0"}.get(key, "") if kind == "keyDown" else ""
            code = {"Enter": 13, "Escape": 27, "Tab": 9}.get(key, 0)
            self.browser.call("Input.dispatchKeyEvent", type=kind, key=key, text=text, windowsVirtualKeyCode=code)

    def csv(self, table: str) -> list[dict]:
        for old in self.downloads.glob("*.csv"):
            old.unlink()
        self.click(f"[data-table={table}]")
        for _ in range(500):
            if found := list(self.downloads.glob("*.csv")):
                with found[0].open(newline="", encoding="utf-8") as file:
                    return list(csv.DictReader(file))
            time.sleep(0.02)
        raise AssertionError("nothing was saved")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "senses.html").write_text(render(COLUMNS), encoding="utf-8")
    with browser(folder / "profile") as opened:
        opened.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder / "saved"))
        yield Page(opened, folder / "senses.html", folder / "saved")
        assert opened.said == []  # on the console, in all of these tests


@pytest.fixture
def bank(page):
    page.open("bank")
    return page


# ---- the page as a file


def test_no_word_is_a_place_on_the_page(bank):
    """A link to such a word would lead past its cards."""
    found = bank.value("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(found) > 20 and not [name for name in found if name.isalpha()]


def test_the_page_holds_its_data_and_allows_its_own_script_alone():
    text = render(COLUMNS)
    assert text == render(COLUMNS) and text.count("<script") == 2
    back = unpacked(re.search(r'id="p-data">([^<]*)<', text)[1])
    assert back["words"] == COLUMNS["words"] and back["vectors"].tolist() == COLUMNS["vectors"].tolist()
    assert EVIL not in text and "{{" not in text.partition('id="p-data"')[0]
    text = text.replace(packed(COLUMNS), "")
    assert not re.search(r"(src|href)=\"?https?:|url\(|@import|\bfetch\(|\beval\(|innerHTML|style=\"", text)


@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_fits_and_what_comes_from_data_does_not_run(page, width):
    page.open("bank", width)
    assert page.value("document.documentElement.scrollWidth") <= width
    assert page.value("document.title").startswith("bank") and page.value("document.images.length") == 0
    assert EVIL in page.texts("#p-lines tbody td")[1] and EVIL in page.text("#p-facts")
    assert page.value("getComputedStyle(document.querySelector('h1')).fontFamily").startswith("system-ui")


def test_a_script_that_is_put_into_the_page_does_not_run(bank):
    bank.value("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    assert bank.value("window.ran ?? null") is None
    assert bank.browser.said and all("Content Security Policy" in str(said) for said in bank.browser.said)
    bank.browser.said.clear()


# ---- the word box


def test_a_word_is_completed_and_chosen_with_the_keyboard(bank):
    bank.type("h")
    assert bank.wait("$('p-word').getAttribute('aria-expanded')") == "true"
    assert bank.texts("#p-completions [role=option]") == ["hot10 senses"]
    bank.press("ArrowDown")
    assert bank.value("$('p-word').getAttribute('aria-activedescendant')") == "completion-0"
    assert bank.value("$('completion-0').getAttribute('aria-selected')") == "true"
    bank.press("Enter")
    bank.wait("$('senses-title').textContent === 'hot'")
    assert bank.value("location.hash") == "#hot" and bank.value("$('p-completions').hidden")
    assert bank.text("#p-status") == "hot: 10 senses"


def test_escape_closes_the_list_and_enter_takes_what_was_typed(bank):
    bank.type("co")
    bank.wait("!$('p-completions').hidden")
    bank.press("Escape")
    assert (
        bank.value("$('p-completions').hidden") and bank.value("$('p-word').getAttribute('aria-expanded')") == "false"
    )
    bank.type("COLD")
    bank.press("Enter")
    bank.wait("$('senses-title').textContent === 'cold'")


def test_a_completion_can_be_clicked(bank):
    bank.type("sho")
    bank.wait("!$('p-completions').hidden")
    bank.value("$('completion-0').dispatchEvent(new PointerEvent('pointerdown', {bubbles: true, cancelable: true}))")
    bank.wait("$('senses-title').textContent === 'shore'")


def test_the_page_begins_with_the_runs_word_and_links_lead_to_words(page):
    page.browser.open(page.path, 1400)
    page.wait("document.documentElement.dataset.ready")
    page.go("good")
    page.go("évident")
    assert page.text("#senses-title") == "évident"
    page.go("hot")
    page.click("#p-relations a")
    page.wait("$('senses-title').textContent === 'warm'")
    page.value("history.back()")
    page.wait("$('senses-title').textContent === 'hot'")


# ---- words without senses


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("bnak", ["not in this dictionary", "Nearest spellings: bank"]),
        ("seldom", ["has it once", "2 states or more", "senses.tokens", "dvc repro"]),
        ("nowhere", ["has it nowhere", "held out", "lexicon.heldout_share = 0.1"]),
        ("depository financial institution", ["several tokens", "dep + ository", "python -m dskd senses depository"]),
        ("a`b", ["not in this dictionary", "python -m dskd senses WORD"]),
        ("", ["Type a word", "bank"]),
    ],
)
def test_a_word_without_senses_says_why_and_what_would_help(page, word, says):
    page.open("bank")
    page.go(word)
    page.wait("!$('p-missing').hidden")
    for part in says:
        assert part in page.text("#p-missing")
    assert page.value("$('p-concordance').hidden") and page.value("$('p-map').hidden")


def test_a_spelling_leads_to_its_word(page):
    page.open("bnak")
    page.click("#p-spellings a")
    page.wait("$('senses-title').textContent === 'bank'")


# ---- cards


def test_cards_have_what_the_dictionary_knows(page):
    page.open("hot")
    cards = page.texts("#p-cards article")
    assert len(cards) == 10 and "warm" in cards[0] and "opposed to" in cards[0] and "cold" in cards[0]
    counts = [int(re.search(r"(\d+) states?", card)[1]) for card in cards]
    assert counts == sorted(counts, reverse=True)
    assert re.search(r"hot\.[nvar]\.\d\d \(\d+ % sure", cards[0]) and "what hot means" in cards[0]
    assert page.text("#p-relations") == "synonyms in the lexicon: warm · antonyms in the lexicon: cold, icy."


def test_the_contexts_of_a_card_are_shown_below(bank):
    bank.click("#p-cards article:nth-of-type(3) button")
    assert set(bank.texts("#p-lines tbody td:first-child")) == {"3"}


# ---- concordance


def test_the_concordance_has_both_sides_of_every_context(bank):
    rows = bank.csv("concordance")
    assert len(rows) == 50 and {row["word"] for row in rows} == {"bank"}
    assert rows[0]["left"].startswith("'=1+1 ") and EVIL in rows[0]["right"] and rows[0]["source"] == f"wiki:{EVIL}"
    assert rows[0]["right"].startswith("ing ")  # what follows in the same word
    assert all(row["left"].split() and row["right"].split() for row in rows[1:])


@pytest.mark.parametrize("by", ["left", "word", "right", "source", "sense"])
def test_the_concordance_is_sorted_both_ways(bank, by):
    keys = {"left": lambda row: row[by].lower().split()[::-1], "right": lambda row: row[by].strip().lower()}
    found = []
    for direction in ("ascending", "descending"):
        if (by, direction) != ("sense", "ascending"):  # which it has from the beginning
            bank.click(f"#p-lines [data-by={by}]")
        assert bank.value(f"document.querySelector('#p-lines [data-by={by}]').closest('th').ariaSort") == direction
        assert bank.value(f"document.activeElement.dataset.by ?? '{by}'") == by
        found.append([keys.get(by, lambda row: row[by])(row) for row in bank.csv("concordance")][2:])
    if by != "sense":
        assert found[0] == sorted(found[0]) and found[1][:-2] == sorted(found[1], reverse=True)[:-2]


def test_one_sense_can_be_chosen(bank):
    bank.choose("p-only", "2")
    assert set(bank.texts("#p-lines tbody td:first-child")) == {"2"} and len(bank.csv("concordance")) == 5


# ---- map


def marks(page) -> list[str]:
    return page.value("[...document.querySelectorAll('#p-picture .mark')].map((m) => m.getAttribute('transform'))")


def test_the_map_has_the_word_and_its_relatives_and_says_how_good_it_is(page):
    page.open("hot")
    rows = page.csv("map")
    assert {row["kind"] for row in rows} == {"the word", "synonym", "antonym"}
    assert {row["word"] for row in rows} == {"hot", "warm", "cold", "icy"} and len(rows) == len(marks(page))
    quality = float(re.search(r"trustworthiness (\d\.\d\d)", page.text("#map-note"))[1])
    assert 0.9 < quality <= 1
    again = marks(page)
    page.go("bank")
    page.go("hot")
    assert marks(page) == again  # the same each time


@pytest.mark.parametrize(
    ("by", "names"),
    [("word", "hot|warm|cold|icy"), ("kind", "the word|synonym|antonym"), ("pos", "noun|verb|adjective|adverb"),
     ("number", "sense 1|sense 10"), ("synset", "hot.n.01|grey")],
)  # fmt: skip
def test_marks_are_coloured_by_what_is_chosen(page, by, names):
    page.open("hot")
    page.choose("p-colour", by)
    legend = " ".join(page.texts("#p-legend li"))
    assert all(name in legend for name in names.split("|"))
    drawn = "[...document.querySelectorAll('#p-picture .mark .shape')]"
    looks = page.value(f"{drawn}.map((s) => s.tagName + s.getAttribute('fill') + s.getAttribute('d'))")
    assert len(set(looks)) >= 3


def test_any_words_can_be_put_on_the_map(bank):
    bank.choose("p-what", "list")
    assert not bank.value("$('list-label').hidden")
    bank.value("[$('p-list').value = 'hot, cold zzz', $('p-list').dispatchEvent(new Event('change'))].length")
    assert {row["word"] for row in bank.csv("map")} == {"hot", "cold"}
    assert "Without senses: zzz" in bank.text("#map-note")


def test_a_mark_tells_what_it_is_and_the_keyboard_goes_from_mark_to_mark(bank):
    bank.value("document.querySelector('#p-picture .mark').focus()")
    assert bank.text("#p-point").startswith("bank 1: ")
    for key, at in (("ArrowRight", 1), ("ArrowDown", 2), ("ArrowLeft", 1)):
        bank.press(key)
        assert bank.value("document.activeElement.dataset.at") == str(at)
        assert bank.text("#p-point") == bank.value("document.activeElement.getAttribute('aria-label')")
    assert bank.value("document.querySelectorAll('#p-picture .mark[tabindex=\"0\"]').length") == 1
    bank.value("document.querySelectorAll('#p-picture .mark')[12].focus()")
    word = bank.value("document.activeElement.getAttribute('aria-label')").split()[0]
    bank.press("Enter")
    bank.wait(f"$('senses-title').textContent === {word!r}")


def test_hovering_tells_of_a_mark(bank):
    bank.value("$('p-map').scrollIntoView()")
    box = "document.querySelector('[data-at=\"5\"]').getBoundingClientRect()"
    x, y = bank.value(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
    bank.browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    bank.wait("/^(bank|shore|lender) /.test($('p-point').textContent)")


def test_the_map_zooms_with_wheel_keys_and_buttons_and_can_be_dragged(bank):
    whole = marks(bank)
    bank.value("$('p-map').scrollIntoView()")
    x, y = bank.value("(() => { const b = $('p-picture').getBoundingClientRect(); return [b.x + 20, b.y + 20] })()")
    for zoomed in (
        lambda: bank.browser.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-120),
        lambda: bank.click("[data-zoom='1.4']"),
        lambda: [bank.value("document.querySelector('#p-picture .mark').focus()"), bank.press("+")],
        lambda: bank.click("[data-zoom='0.714']"),
    ):
        zoomed()
        for _ in range(100):
            if marks(bank) != whole:
                break
            time.sleep(0.02)
        assert marks(bank) != whole
        bank.click("[data-zoom='0']")
        assert marks(bank) == whole
    for kind, dx in (("mousePressed", 0), ("mouseMoved", 60), ("mouseReleased", 60)):
        bank.browser.call("Input.dispatchMouseEvent", type=kind, x=x + dx, y=y, button="left", buttons=1, clickCount=1)
    moved = [[float(n) for n in re.findall(r"-?[\d.]+", mark)] for mark in (whole[0], marks(bank)[0])]
    assert moved[1][0] > moved[0][0] + 10 and moved[1][1] == pytest.approx(moved[0][1])


# ---- students


def test_the_table_of_students_adds_up_and_tells_senses_that_merge(bank):
    rows = bank.csv("students")
    whole = [row for row in rows if row["word"] == "all that were compared"]
    assert [row["model"] for row in whole] == ["teacher", "cut", "kd-0", "dskd-0"]
    assert all(
        float(r["kept"]) + float(r["merged"]) + float(r["scattered"]) == pytest.approx(1, abs=2e-4) for r in whole
    )
    assert float(whole[0]["kept"]) > float(whole[-1]["kept"])
    own = [row for row in rows if row["word"] == "bank"]
    assert len(own) == 40 and all(re.match(r"(kept|merged into \d+ \(|scattered) ?\d*", row["fate"]) for row in own)
    assert "hot" in bank.text("#p-compared")


def test_contexts_are_shown_where_teacher_and_student_have_them(bank):
    bank.choose("p-what", "land")
    assert not bank.value("$('model-label').hidden") and bank.value("$('p-model').value") == "dskd-0"
    kinds = [row["kind"] for row in bank.csv("map")]
    assert kinds.count("sense") == 10 and kinds.count("teacher") == kinds.count("dskd-0") == 50
    assert bank.value("document.querySelectorAll('#p-scene > line').length") == 50
    bank.choose("p-model", "cut")
    assert "cut" in {row["kind"] for row in bank.csv("map")}


def test_a_word_that_was_not_compared_says_so_and_has_no_such_map(page):
    page.open("lender")
    assert "was not compared" in page.text("#p-compared")
    assert page.value("document.querySelector('#p-what [value=land]').disabled")


def test_senses_are_saved_with_what_their_cards_have(page):
    page.open("hot")
    rows = page.csv("senses")
    assert len(rows) == 10 and [row["sense"] for row in rows] == [str(i) for i in range(1, 11)]
    assert rows[0]["nearest synonyms"].startswith("warm ") and rows[0]["synset"].startswith("hot.")


# ---- people who do not use a mouse, or do not see colours

UNNAMED = """[...document.querySelectorAll('main button, main select, main input, #p-search *, svg[role], section')]
  .filter((e) => e.matches('button, select, input, svg, section') && !e.hidden)
  .filter((e) => !(e.ariaLabel || e.getAttribute('aria-labelledby') || e.labels?.length || e.textContent.trim()))
  .map((e) => e.outerHTML)"""
MISSING = """['aria-labelledby', 'aria-controls', 'aria-describedby'].flatMap((name) =>
  [...document.querySelectorAll(`[${name}]`)].map((e) => e.getAttribute(name)).filter((id) => !$(id)))"""
CONTRASTS = """[...document.querySelectorAll('p, h1, h2, h3, td, th, li, a, button, label, small, b, span')]
  .filter((e) => e.innerText?.trim())
  .map((e) => {
    const part = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const light = (colour) => {
      const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(part);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let under = e;
    while (under && getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)') under = under.parentElement;
    const back = light(under ? getComputedStyle(under).backgroundColor : 'rgb(255, 255, 255)');
    const ink = light(getComputedStyle(e).color);
    return (Math.max(back, ink) + 0.05) / (Math.min(back, ink) + 0.05);
  })"""


def test_everything_has_a_name_and_a_place_in_the_order_of_focus(bank):
    assert bank.value(UNNAMED) == [] and bank.value(MISSING) == []
    assert bank.value("document.documentElement.lang") == "en"
    assert bank.value("document.querySelectorAll('h1').length") == 1
    bank.value("document.activeElement.blur()")
    bank.press("Tab")
    assert bank.value("document.activeElement.id") == "p-skip"
    bank.click("#p-skip")
    assert bank.value("document.activeElement.id") == "p-results"


def test_text_is_dark_enough_on_what_it_stands_on(bank):
    found = bank.value(CONTRASTS)
    assert len(found) > 100 and min(found) >= 4.5  # WCAG 2.2, 1.4.3


def test_in_a_frame_of_a_notebook_a_link_leads_to_its_word(page, tmp_path):
    around = tmp_path / "notebook.html"
    around.write_text(f"<!DOCTYPE html><title>A notebook</title>{framed(render(COLUMNS))}", encoding="utf-8")
    inside = "document.querySelector('iframe').contentDocument"
    page.browser.open(around, 1400)
    page.wait(f"{inside}.documentElement.dataset.ready")
    page.value(f"{inside}.querySelector('#p-relations a, #p-compared a').click()")
    word = page.value(f"{inside}.querySelector('#senses-title').textContent")
    time.sleep(0.3)
    page.wait(f"{inside}.querySelector('#senses-title').textContent !== 'good'")
    assert word and page.value("document.title") == "A notebook"


def test_a_word_may_be_typed_with_accents_of_their_own(page):
    page.open("bank")
    page.value("location.hash = encodeURIComponent('e\u0301vident')")
    page.wait("$('senses-title').textContent === 'évident'")


def test_in_a_notebook_the_page_is_an_attribute_of_a_frame():
    shown = framed(render(COLUMNS))
    (page,) = re.findall(r'<iframe srcdoc="([^"]*)"', shown)
    assert unescape(page) == render(COLUMNS) and "<" not in page and shown.count("<iframe") == 1
