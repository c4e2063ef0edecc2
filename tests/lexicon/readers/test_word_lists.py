"""Lists of related words, and what their reader makes of them."""

import gzip
import os
from pathlib import Path

import pytest

from dskd.errors import UserError
from dskd.lexicon.readers.word_lists import relations
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation


@pytest.fixture
def write(tmp_path):
    def written(content):
        path = tmp_path / "strong.pairs.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


def pairs(found):
    return [(relation.head, relation.tail) for relation in found]


@pytest.mark.parametrize("packed", [bytes, gzip.compress, lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")])
def test_two_words_a_line(write, packed):
    text = "# comment\nHot cold \n\n  give_up   surrender\ngive up, go on\nice cream\tice\nnaïve,wise\n"
    text += "24 hours\nsame Same\n"  # no word, and not two
    found = list(relations(write(packed(text.encode())), ANTONYM, "mine"))
    assert found[0] == Relation("hot", "cold", ANTONYM, "mine", "strong")
    assert pairs(found) == [
        ("hot", "cold"),
        ("give up", "surrender"),
        ("give up", "go on"),
        ("ice cream", "ice"),
        ("naïve", "wise"),
    ]


def test_a_line_with_tabs_is_a_head_and_its_tails(write):
    found = relations(write("scold\tflatter\tpraise\t7\nworn-out\tunused fresh\n"), SYNONYM, "roget")
    assert pairs(found) == [("scold", "flatter"), ("scold", "praise"), ("worn-out", "unused fresh")]


def test_one_language_is_kept_and_its_prefix_removed(write):
    path = write("en_good en_bad\nfr_bon en_bad\nfr_bon fr_mauvais\nen_give_up en_go_on\n")
    assert pairs(relations(path, ANTONYM, "x", language="en")) == [("good", "bad"), ("give up", "go on")]
    assert pairs(relations(path, ANTONYM, "x", language="fr")) == [("bon", "mauvais")]


@pytest.mark.parametrize(
    ("content", "language", "says"),
    [
        ("good bad\nalone\n", None, ":2: neither two words nor words separated by tabs: 'alone'"),
        ("good bad worse\n", None, ":1: neither"),
        ("good, bad, worse\n", None, ":1: neither"),
        ("good,\n", None, ":1: neither"),
        ("good\t\tbad\n", None, ":1: neither"),
        ("en_good en_bad\nbad good\n", "en", ":2: no language before the word, as in 'en_word': 'bad'"),
        ("fr_bon fr_mauvais\n", "en", "has no pair of words of the language 'en'"),
        ("# nothing\n", None, "has no pair of words"),
        (b"good bad\nna\xefve wise\n", None, ":2: no UTF-8"),
        (b"good bad\n" + b"x" * (1 << 21), None, ":2: the line is too long"),
        (gzip.compress(b"good bad\n")[:-5], None, "is not a whole gzip file"),
    ],
)
def test_a_malformed_list_is_an_error_that_names_the_line(write, content, language, says):
    path = write(content)
    with pytest.raises(UserError) as error:
        list(relations(path, ANTONYM, "x", language=language))
    assert str(path) in str(error.value) and says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.skipif(not os.environ.get("DSKD_MIRROR"), reason="DSKD_MIRROR names no mirror")
@pytest.mark.parametrize(
    ("name", "language", "count", "first"),
    [
        ("counter-fitting/ppdb_antonyms.txt", None, 638, ("females", "males")),
        ("counter-fitting/wordnet_antonyms.txt", None, 12_572, ("deciphering", "encode")),  # 2 lines: a word and itself
        ("attract-repel/full-ant-sample.txt", "en", 11_874, ("unsympathetic", "likable")),
        ("roget/antonym.txt", None, 37_239, ("scold", "flatter")),
    ],
)
def test_real_constraints(name, language, count, first):
    path = Path(os.environ["DSKD_MIRROR"]) / "constraints" / name
    if not path.exists():
        pytest.skip(f"the mirror has no {name}")
    found = pairs(relations(path, ANTONYM, "x", language=language))
    assert len(found) == count and found[0] == first
