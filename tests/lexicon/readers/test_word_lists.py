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
    text = "# comment\nHot cold \n\n  give_up   surrender\ngive up, go on\nice cream,ice\nnaïve,wise\n"
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


def test_a_line_with_tabs_is_a_head_and_its_tails(write, capsys):
    text = "scold\tflatter\tpraise\t7\nworn-out\tunused fresh\nfalse\ttrue\tright\n"
    found = relations(write(text), SYNONYM, "roget")
    assert pairs(found) == [
        ("scold", "flatter"),
        ("scold", "praise"),
        ("worn-out", "unused fresh"),
        ("false", "true"),
        ("false", "right"),
    ]
    assert "1 times something that is no word in a pair, first at" in capsys.readouterr().err


def test_what_may_be_meant_otherwise_is_said(write, capsys):
    text = "fast\tspeedy\tpace\nslow\tunhurried\tpace\nquickly\trapidly\tmanner\nstay\tremain\tact\n"
    assert len(pairs(relations(write(text), SYNONYM, "x"))) == 8
    said = "every line has 3 columns: all but the first are taken as related to it, as in 'fast, speedy, pace'"
    assert said in capsys.readouterr().err
    text = "fast\trapid speedy\nslow\tunhurried\nquickly\trapidly fast\n"
    assert pairs(relations(write(text), SYNONYM, "x"))[0] == ("fast", "rapid speedy")
    assert "half of the lines or more have a word and, after a tab or comma" in capsys.readouterr().err
    pairs(relations(write("fast\trapid\nslow\tunhurried\nbig\tvery large\nold\taged\tancient\n"), SYNONYM, "x"))
    assert not capsys.readouterr().err


def test_commas_and_tabs_follow_the_rules_of_csv(write):
    text = '"hot","warm"\n"give up", go on\n"wet"\t"damp"\tmoist\n'
    assert pairs(relations(write(text), SYNONYM, "x")) == [
        ("hot", "warm"),
        ("give up", "go on"),
        ("wet", "damp"),
        ("wet", "moist"),
    ]


def test_marks_of_byte_order_and_spaces_of_any_kind_are_no_part_of_a_word(write):
    text = "hot warm\n\ufeffbig large\nwet\u00a0 damp\nold\u3000aged\r\n"  # as of files that were joined
    found = [("hot", "warm"), ("big", "large"), ("wet", "damp"), ("old", "aged")]
    assert pairs(relations(write(text), SYNONYM, "x")) == found


ROWS = ("hot", "warm"), ("big", "large"), ("old", "aged")


def table(*columns, separator="\t"):
    return "".join(separator.join([*row, *columns]) + "\n" for row in ROWS)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        # Headers.
        ("source,target\nhot,warm\n", ":1: 'source, target' looks like the names of columns"),
        ("# a comment\n\n Word ; Synonym \nhot warm\n", ":3: "),
        ('"Word","Synonyms"\nhot,warm\n', ":1: 'Word, Synonyms' looks like the names of columns"),
        ("word1\tword2\tPOS\tSimLex999\nold\tnew\tA\t1.58\n", ":1: 'word1, word2, POS, SimLex999' looks like"),
        ("hot warm\nword_a word_b\n", ":2: 'word_a, word_b' looks like"),
        # Columns that hold no words.
        ("old\tnew\tA\t1.58\n", ":1: 'A' is a label or a number"),
        ("hot\twarm\n" + table("antonym"), ":2: 'antonym' is a label"),
        (table("JJ"), ":1: 'JJ' is a label"),
        ("hot\tsyn\twarm\n", ":1: 'syn' is a label"),
        (table("0.93"), ":1: '0.93' is a label or a number"),
        ("hot\tIsA\tfeeling\n", ":1: 'IsA' is a label"),
        (table("True"), ":1: 'True' is a label"),
        ("synonym\thot\twarm\nantonym\thot\tcold\n", "every row has a label or a number in one column"),
        (table("5"), "every row has a label or a number in one column"),
        (table("similar"), "every row has a label or a number in one column"),
        (table("similar") + "hot\twarm\tfiery\tmild\n", "every row has a label or a number in one column"),
        (table("similar") + "hot\twarm\n", "every row has a label or a number in one column"),
        ("hot\tadj\nbig\tadj\nrun\tverb\n", "every row has a label or a number in one column"),
        ("hot\t5.4e-02\n", ":1: '5.4e-02' is a number and no word"),
        ("hot\twarm\t1e-05\n", ":1: '1e-05' is a number and no word"),
        ("".join(f"good{'x' * i}\tkind{'ab'[i % 2]}\n" for i in range(500)), "every row has a label"),
        ("hot\thaving a high temperature\nbig\tof great size\nold\taged\n", "most lines have a word and 3 words"),
        ("Adjective Synonym\nhot warm\n", ":1: 'Adjective, Synonym' looks like the names of columns"),
        # Other separators, and more than a word in a field.
        ("hot;warm\n", ":1: neither two words"),
        ("hot; warm\n", ":1: 'hot;' is not one word, since it has ';'"),
        ("hot|warm\n", ":1: neither two words"),
        ("hot| warm\n", ":1: 'hot|' is not one word"),
        ("hot -> warm\n", ":1: neither two words"),
        ("hot: warm\n", ":1: 'hot:' is not one word"),
        ("hot\twarm, fiery\n", ":1: 'warm, fiery' is not one word, since it has ','"),
        ('hot\t"warm, fiery"\n', ":1: 'warm, fiery' is not one word"),
        ("hot\twarm (of food)\n", ":1: 'warm (of food)' is not one word, since it has '('"),
        ("hot\twarm/fiery\n", ":1: 'warm/fiery' is not one word"),
        ("hot， warm\n", ":1: 'hot，' is not one word, since it has '，'"),
        ("ho\u200bt warm\n", ":1: 'ho\\u200bt' is not one word, since it has '\\u200b'"),
        ("1. hot\twarm\n", ":1: '1. hot' is not one word"),
        ("hot,warm # of food\n", ":1: 'warm # of food' is not one word, since it has '#'"),
        ("* hot\twarm\n", ":1: '* hot' is not one word"),
        ("hot warm.\nbig large.\n", "every line ends with a mark, as in 'hot, warm.'"),
        ("'hot','warm'\n", ":1: \"'hot'\" is not one word, since it has quotation marks"),
        ("“hot” “warm”\n", ":1: '“hot”' is not one word"),
        ('["hot", "warm"]\n', ":1: ',' expected after '\"', in"),
        ("[hot, warm]\n", ":1: '[hot' is not one word, since it has '['"),
        ('"hot"s,warm\n', ":1: ',' expected after '\"', in"),
        ('"hot,warm\n', ":1: unexpected end of data, in"),
        # Marks of sense, part of speech or language in every word.
        (
            "hot.a.01 warm.a.02\nold.a.01 aged.s.03\n",
            "part of speech or sense, as in 'hot.a.01, warm.a.02'",
        ),
        ("hot_JJ warm_JJ\n", "mark of a part of speech or sense"),
        ("hot#a#1 warm#a\n", "mark of a part of speech or sense"),
        ("hot1 warm2\n", "mark of a part of speech or sense"),
        ("en_hot en_warm\nfr_bon en_good\n", "begins with a language, as in 'en_hot, en_warm': name the one to keep"),
        # Other encodings and line ends.
        ("hot warm\nbig large\n".encode("utf-16"), ":1: it has a NUL byte: save the file as UTF-8"),
        ("hot warm\n".encode("utf-16-be"), ":1: it has a NUL byte"),
        ("hot warm\rbig large\r", ":1: it has line ends other than LF and CRLF"),
        ("hot\twarm\rbig\tlarge", ":1: it has line ends other than LF and CRLF"),
        ("hot\twarm\u2028big\tlarge", ":1: it has line ends other than LF and CRLF"),
        # Nothing.
        ("", "has no pair of words; it has no line with words; a line is two words"),
        ("1 2\n3 4\n", "has no pair of words; it has 2 rows, first '1, 2'; a line is two words"),
        ("hot Hot\n", "has no pair of words; it has 1 rows, first 'hot, Hot'"),
    ],
)
def test_a_table_of_another_kind_gives_no_pairs_but_an_error(write, content, says):
    path = write(content)
    with pytest.raises(UserError) as error:
        list(relations(path, SYNONYM, "x"))
    assert str(path) in str(error.value) and says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        "hot\twarm\ngive up\t\nold\taged\n",
        "hot\twarm\n\tgive up\nold\taged\n",
        "hot\twarm\ngive up\nold\taged\n",
        "give up\nhot\twarm\nold\taged\n",
        "hot\twarm\tfiery\nbig\tlarge\tnan\n",
        "hot,warm\nbig,NA\n",
        "hot\twarm\nbig\tNone\n",
        "hot\tadj.\twarm\nrun\tv.\tsprint\n",
        "over\tprep\tabove\nrun\tv\tsprint\n",
        "".join(f"w{chr(97 + i)}x\t{'similar' if i % 2 else 'opposite'}\tt{chr(97 + i)}x\n" for i in range(16)),
        "hot_a\twarm\tfiery\nbig_a\tlarge\thuge\nrun_v\tgo\tdash\n",
        "n00001740\tentity\nn00001930\tthing\nn00002137\tidea\n",
        "- hot, warm\n- big, large\n",
        "1 hot, warm\n2 big, large\n3 old, aged\n",
        "a. hot, warm\nb. big, large\nc. old, aged\n",
        "hot\twarm\t# of food\n",
        "hot,!cold\n",
        "hot@en\twarm@en\n",
        "Stimulus,Response\nhot,warm\n",
        "Base\tReplacement\nhot\twarm\n",
        "string1,string2\nhot,warm\n",
        "phrase-a phrase-b\nhot warm\n",
        "hot\twarm\tyes\nbig\tlarge\tno\nold\taged\tyes\nwet\tdamp\tno\n",
        "Word One,Word Two\nhot,warm\n",
        "source_word\ttarget_word\nhot\twarm\n",
        "word\trelated_words\nhot\twarm\n",
        "adj1\tadj2\nhot\tcold\n",
    ],
)
def test_gaps_labels_and_lists_are_errors(write, content):
    with pytest.raises(UserError):
        list(relations(write(content), SYNONYM, "x"))


def test_what_looks_like_a_gap_or_a_label_is_a_word_where_it_may_be_one(write):
    text = "hot\twarm\t\t\nnull\tvoid\nnan\tgrandmother\n24 hours\tday\nalike\tsimilar\tsame\n"
    found = pairs(relations(write(text), SYNONYM, "x"))
    assert {("hot", "warm"), ("null", "void"), ("nan", "grandmother"), ("alike", "similar")} <= set(found)
    assert len([pair for pair in found if pair[0] == "hot"]) == 1


def test_what_a_header_or_a_label_may_be_is_a_word_elsewhere(write):
    text = "big\tlarge\nsource,target\nhead,tail\nnoun\tsubstantive\nword\tterm\tnoun phrase\ngo_on\tdo_so\n"
    assert ("source", "target") in (found := pairs(relations(write(text), SYNONYM, "x")))
    assert pairs(relations(write("kick the bucket\tgive up the ghost\n" * 4), SYNONYM, "x"))
    assert {("noun", "substantive"), ("head", "tail"), ("word", "term"), ("go on", "do so")} < set(found)


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
