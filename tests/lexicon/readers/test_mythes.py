"""A thesaurus in MyThes's format, and what its reader makes of it."""

import gzip
import os
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from dskd.errors import UserError
from dskd.lexicon.readers.mythes import relations
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation

THESAURUS = """UTF-8
abdominal|1
(adj)|ventral|belly|stomach (related term)|venter (related term)
Caf\u00e9|2
(noun)|coffee_bar|café|Coffee  House |restaurant (generic term)|eatery (generic term)
(verb)|go out|stay in (antonym)|dine (similar term)|24|(sic)

go|1
(verb)|travel|move|move on (related term)|stay (antonym)
"""
RELATIONS = [
    Relation("café", "coffee bar", SYNONYM, "mythes", "café.noun.1"),
    Relation("café", "coffee house", SYNONYM, "mythes", "café.noun.1"),
    Relation("café", "go out", SYNONYM, "mythes", "café.verb.2"),
    Relation("café", "stay in", ANTONYM, "mythes", "café.verb.2"),
    Relation("go", "travel", SYNONYM, "mythes", "go.verb.1"),
    Relation("go", "move", SYNONYM, "mythes", "go.verb.1"),
    Relation("go", "stay", ANTONYM, "mythes", "go.verb.1"),
]


@pytest.fixture
def write(tmp_path):
    def written(content):
        path = tmp_path / "th_en_US.dat"
        path.write_bytes(content)
        return path

    return written


@pytest.mark.parametrize("packed", [bytes, gzip.compress, lambda data: data.replace(b"\n", b"\r\n")])
def test_relations_of_a_thesaurus(write, packed):
    assert list(relations(write(packed(THESAURUS.encode())))) == RELATIONS


@pytest.mark.parametrize("part", ["antonym", "Antonyms", "adj, antonyms", "ant."])
def test_terms_of_a_meaning_of_antonyms_are_antonyms(write, part):
    text = f"UTF-8\nhot|2\n(adj)|warm\n({part})|cold\n"
    found = [(relation.tail, relation.relation) for relation in relations(write(text.encode()))]
    assert found == [("warm", SYNONYM), ("cold", ANTONYM)]


def test_a_term_with_more_than_a_word_is_left_out_and_counted(write, capsys):
    terms = "(adj)|warm, heated|fiery;blazing|red-hot|(informal) toasty|[slang] spicy|km/h|baking / hot"
    marked = "(adj)|icy [antonym]|cold (Antonym)|cool (antonym, informal) |tepid (ironic)"
    text = f"UTF-8\nhot|2\n{terms}\n{marked}\nhot (food)|1\n(adj)|spiced\n"
    found = [(relation.head, relation.tail, relation.relation) for relation in relations(write(text.encode()))]
    assert found == [
        *(("hot", word, SYNONYM) for word in ("red-hot", "km/h")),
        *(("hot", word, ANTONYM) for word in ("icy", "cold", "cool")),
    ]
    assert "6 times more than a word in a term, first 'warm, heated'" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "codec"), [("ISO8859-1", "latin-1"), ("iso8859-1", "latin-1"), ("CP-1251", "cp1251")])
def test_the_first_line_names_the_encoding(write, name, codec):
    text = "жар" if codec == "cp1251" else "café"
    path = write(f"{name}\nheat|1\n(noun)|{text}\n".encode(codec))
    assert [relation.tail for relation in relations(path)] == [text]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", ":1: no encoding that MyThes has: ''"),
        (b"good|1\n(adj)|fine\n", ":1: no encoding that MyThes has: 'good|1'"),
        (b"ISCII-DEVANAGARI\ngood|1\n(adj)|fine\n", ":1: no encoding"),
        (b"UTF-8\n\n", "has no entry"),
        (b"UTF-8\ngood|2\n(adj)|fine\nbad|1\n(adj)|evil\n", ":4: no meaning"),
        (b"UTF-8\ngood|2\n(adj)|fine\nbad|1\n(adj)|evil\n", "line 2 announces 2: 'bad|1'"),
        (b"UTF-8\ngood|1\n(adj)|fine\n(noun)|welfare\n", ":4: no entry"),
        (b"UTF-8\ngood|1\n(adj)|fine\n(noun)|5\n", ":4: no entry"),
        (b"UTF-8\ngood|2\n(adj)|fine\n", ":4: no meaning"),
        (b"UTF-8\ngood|1\n(adj)\n", ":3: no meaning"),
        (b"UTF-8\ngood|1\n(adj)|fine||well\n", ":3: no meaning"),
        (b"UTF-8\ngood|1\nadj|fine\n", ":3: no meaning"),
        (b"UTF-8\ngood|0\n", ":2: no entry"),
        (b"UTF-8\ngood\n", ":2: no entry"),
        (b"UTF-8\ngood|1\n(adj)|caf\xe9\n", ":3: no UTF-8"),
        (b"UTF-8\ngood|1\n(adj)|" + b"x" * (1 << 20) + b"\n", ":3: the line is too long"),
        (gzip.compress(THESAURUS.encode())[:-9], "is not a whole gzip file"),
    ],
)
def test_a_malformed_thesaurus_is_an_error_that_names_the_line(write, content, says):
    path = write(content)
    with pytest.raises(UserError) as error:
        list(relations(path))
    assert f"{path}" in str(error.value) and says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.skipif(not os.environ.get("DSKD_MIRROR"), reason="DSKD_MIRROR names no mirror")
def test_a_real_thesaurus():
    path = Path(os.environ["DSKD_MIRROR"]) / "thesaurus" / "th_en_US_v2.dat.gz"
    if not path.exists():
        pytest.skip("the mirror has no thesaurus")
    found = list(islice(relations(path), 100_000))
    assert Counter(relation.relation for relation in found)[ANTONYM] > 1000
    assert Relation("'s gravenhage", "the hague", SYNONYM, "mythes", "'s gravenhage.noun.1") in found
    assert Relation("abient", "adient", ANTONYM, "mythes", "abient.adj.1") in found
    assert not any(relation.tail.endswith(")") for relation in found)
    assert not {"abdomen", "venter", "stomach"} & {relation.tail for relation in found if relation.head == "abdominal"}
