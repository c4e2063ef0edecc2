"""What counts as a word, and how it is written in the lexicon."""

import pytest

from dskd.lexicon.relations import normalised, plain_word, sense_name


@pytest.mark.parametrize(
    "text, word",
    [
        ("Bank", "bank"),
        ("  sperm_bank \t of\nblood ", "sperm bank of blood"),
        ("Cafe\u0301", "caf\u00e9"),
        ("Don\u2019t", "don't"),  # as in print
        ("rock \u02bcn\u02bc roll", "rock 'n' roll"),
        ("a" * 255, "a" * 255),
        ("e\u0301" * 255, "\u00e9" * 255),  # of twice as many characters before
        ("a" * 256, ""),
        (" " * 600 + "bank", ""),  # not looked at
        ("", ""),
        ("1984", ""),
        ("?!", ""),
        ("ba\u200bnk", ""),
        ("bank\x00", ""),
    ],
)
def test_a_word_is_printable_not_too_long_has_a_letter_and_is_written_in_one_way(text, word):
    assert normalised(text) == word


@pytest.mark.parametrize(
    "text, plain", [("Mother-in-law's", True), ("C++", True), ("bank (river)", False), ("a/b", False)]
)
def test_a_plain_word_has_nothing_but_what_words_are_written_with(text, plain):
    assert plain_word(text) == (text.lower() if plain else "")


def test_a_sense_s_name_is_one_line_without_what_separates_senses():
    assert sense_name("bank", "noun", 1) == "bank.noun.1"
    assert sense_name("bank", "edge; of\n river") == "bank.edge, of river"
    assert sense_name("a" * 150, "b") == "a" * 100 + ".b"
    assert sense_name("ba\x00nk", "edge\u200b") == "ba nk.edge"
