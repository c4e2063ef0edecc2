"""The box of the notebook on a word: what it is given, and what it shows when somebody types."""

import pytest

from dskd.explore import word_box as module
from dskd.explore.word_box import cards_of, word_box
from dskd.explore.words import look_up, open_run
from dskd.params import load_params


class Shown:
    """In the place of the notebook's output."""

    def __init__(self):
        self.said = []

    def display(self, html):
        self.said.append(html.data)

    update = display


@pytest.fixture
def shown(monkeypatch):
    found = Shown()
    monkeypatch.setattr(module, "DisplayHandle", lambda: found)
    monkeypatch.setattr(module, "display", lambda box: None)
    return found


def test_what_is_typed_replaces_what_stands_below(shown):
    box = word_box("bank", ["bank", "fast"], str.upper)
    assert box.options == ("bank", "fast") and not box.ensure_option
    box.value = "fast"
    box.value = "fast"
    box.value = "bank"
    assert shown.said == ["BANK", "FAST", "BANK"]


def test_a_word_gives_its_cards_another_one_its_nearest_spellings_and_data_is_escaped(project, shown):
    params, run = load_params(), open_run()
    box = word_box("bank", run.known, lambda word: cards_of(word, params, run))
    assert "fast" in box.options
    for word in ("fast", "fasst", "<img src=x onerror=evil()>", " ", "fast bank", "FAST"):
        box.value = word
    bank, fast, near, evil, nothing, several, capitals = shown.said
    assert "<b>bank</b>" in bank and "<table>" in bank and "<b>fast</b>: 2 senses of " in fast
    assert near.startswith("<p>") and "spelt nearly so: fast" in near
    assert "<img" not in evil and "&lt;img src=x" in evil
    assert "no word to look up" in nothing and "composed" in several and "<b>FAST</b>" in capitals


def test_a_run_that_is_opened_once_answers_as_one_that_is_opened_for_a_word(project):
    params, run = load_params(), open_run()
    for word in ("bank", "fast"):
        once, anew = look_up(word, params.lexicon, 2, run), look_up(word, params.lexicon)
        assert once.summary == anew.summary and [c[:2] for c in once.cards] == [c[:2] for c in anew.cards]
        assert [c.fit.synset for c in once.cards] == [c.fit.synset for c in anew.cards]
