"""Entries in wiktextract's schema, and what its reader makes of them."""

import gzip
import json
import os
from pathlib import Path

import pytest
from speed.measure import memory_beyond

from dskd.errors import UserError
from dskd.lexicon.readers.wiktionary import SKIPPED_TAGS, Summary, relations
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation


def entry(word, senses, pos="noun", **rest):
    return {"pos": pos, "word": word, "lang": "English", "lang_code": "en", "senses": senses, **rest}


def links(*words, **rest):
    return [{"word": word, **rest} for word in words]


BANK = entry(
    "Bank",
    [
        {"glosses": ["Lends money."], "synonyms": links("money_box"), "antonyms": links("sperm  bank#Etymology 1")},
        {"glosses": ["Obsolete form of banc."], "alt_of": links("banc"), "synonyms": links("court")},
        {"glosses": ["A bench."], "tags": ["archaic"], "synonyms": links("bench")},
        {"glosses": ["A row."], "tags": ["slang"], "synonyms": [*links("row"), *links("rank", tags=["obsolete"])]},
    ],
    etymology_number=2,
    synonyms=[*links("shore", sense="edge; of river"), *links("bank", "tier", source="Thesaurus:row")],
)
GOOD = entry("good", [{"antonyms": links("bad", "Bad#English")}], pos="adj")
RELATIONS = [
    Relation("bank", "money box", SYNONYM, "wiktionary", "bank.2.noun.1"),
    Relation("bank", "sperm bank", ANTONYM, "wiktionary", "bank.2.noun.1"),
    Relation("bank", "row", SYNONYM, "wiktionary", "bank.2.noun.4"),
    Relation("bank", "shore", SYNONYM, "wiktionary", "bank.2.noun.edge, of river"),
    Relation("bank", "tier", SYNONYM, "wiktionary", "bank.2.noun"),
    Relation("good", "bad", ANTONYM, "wiktionary", "good.adj.1"),
    Relation("good", "bad", ANTONYM, "wiktionary", "good.adj.1"),
]


def jsonl(*entries):
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode()


@pytest.fixture
def write(tmp_path):
    def written(content):
        path = tmp_path / "extract.jsonl"
        path.write_bytes(content)
        return path

    return written


@pytest.mark.parametrize("packed", [bytes, gzip.compress, lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")])
def test_relations_of_senses_and_of_entries(write, packed):
    summary = Summary()
    assert list(relations(write(packed(jsonl(BANK, GOOD))), summary=summary)) == RELATIONS
    assert summary == Summary(lines=2, entries=2, forms=1, tagged=2, relations=7)


def test_the_tags_to_skip_can_be_chosen(write):
    path = write(jsonl(BANK))
    assert {"bench", "rank"} <= {relation.tail for relation in relations(path, skipped_tags=())}
    assert "row" not in {relation.tail for relation in relations(path, skipped_tags={*SKIPPED_TAGS, "slang"})}


def test_an_entry_whose_senses_are_all_left_out_has_no_relations(write):
    forms = [entry("banks", [{"form_of": links("bank")}], synonyms=links("shores")), BANK | {"senses": []}]
    assert list(relations(write(jsonl(*forms)))) == []


@pytest.mark.parametrize(
    "word",
    ["Thesaurus:big", "big (size)", "a, b", "color/colour", "[[big]]", "'' ''", "-", "24", "", "a\u200bb", "\ud800a"],
)
def test_what_is_not_plainly_a_word_is_left_out(write, word):
    summary = Summary()
    line = json.dumps(entry("large", [{"synonyms": links(word, "rock 'n' roll", "naïve", "well-off")}])).encode()
    found = [relation.tail for relation in relations(write(line), summary=summary)]
    assert found == ["rock 'n' roll", "naïve", "well-off"] and summary.unclear == 1


def test_other_languages_and_redirects_are_passed_over(write):
    other = [BANK | {"lang_code": "de"}, {"title": "a", "redirect": "b"}, GOOD]
    summary = Summary()
    assert len(list(relations(write(jsonl(*other)), summary=summary))) == 2
    assert (summary.lines, summary.bad, summary.entries) == (3, 0, 1)


def test_bad_lines_are_counted_and_named(write, capsys):
    bad = [b"{\n", b"no JSON\n", b'{"synonyms": nothing}\n', b'{"synonyms":' * 9000 + b"}\n"]
    bad += [
        jsonl(GOOD | {"senses": [{"antonyms": "bad"}]}),
        jsonl(GOOD | {"word": 5}),
        b'{"synonyms": "' + b"x" * (1 << 24) + b'"}\n',
    ]
    path = write(jsonl(GOOD) * 4 + b"\n" + b"".join(bad) + jsonl(GOOD) * 6)
    summary = Summary()
    assert len(list(relations(path, summary=summary))) == 20
    assert (summary.lines, summary.bad, summary.first_bad) == (17, 7, [6, 7, 8, 9, 10])
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"{path}: 7 of 17 lines") and "6, 7, 8, 9, 10, ..." in last


def test_progress_is_in_bytes_of_the_file(write, capsys):
    path = write(gzip.compress(jsonl(*[GOOD] * 5000)))
    assert list(relations(path))
    shown = capsys.readouterr().err
    assert "wiktionary: 100%" in shown and f"{path.stat().st_size / 1000:.3g}"[:3] in shown


def test_an_entry_without_relations_is_no_error(write):
    assert list(relations(write(jsonl(entry("bring", [{"glosses": ["To carry."]}]) | {"extra": None})))) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no English entry"),
        (jsonl(BANK | {"lang_code": "de"}), "no English entry"),
        (jsonl(GOOD) + b"{\n{\n", "2 of 3 lines are no entries of wiktextract (lines 2, 3)"),
        (b"<mediawiki>\n" * 3000, "1001 of 1001 lines"),
        (json.dumps([BANK, GOOD], indent=1).encode(), "one JSON object a line"),
        (gzip.compress(jsonl(BANK) * 1000)[:-40], "is not a whole gzip file"),
        (gzip.compress(jsonl(BANK))[:-4], "is not a whole gzip file"),
        (gzip.compress(jsonl(BANK)) + b"garbage", "is not a whole gzip file"),
        (b"\x1f\x8b", "is not a whole gzip file"),
    ],
)
def test_what_is_no_extract_is_an_error_that_names_the_file(write, content, says):
    path = write(content)
    with pytest.raises(UserError) as error:
        list(relations(path))
    assert str(path) in str(error.value) and says in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(UserError, match=rf"{path} cannot be read"):
            list(relations(path))


def test_memory_is_bounded_whatever_a_few_bytes_stand_for(write):
    zeros = gzip.compress(b"\0" * (1 << 26)) * 8  # half a gigabyte in one line
    path = write(gzip.compress(jsonl(GOOD) * 3 + b"{") + zeros + gzip.compress(b"\n" + jsonl(BANK)))
    summary, found = Summary(), []
    used = memory_beyond(lambda: found.extend(relations(path, summary=summary)))
    assert (summary.lines, summary.first_bad, len(found)) == (5, [4], 11)
    assert not used > 100  # megabytes; nan where it cannot be measured


@pytest.mark.skipif(not os.environ.get("DSKD_MIRROR"), reason="DSKD_MIRROR names no mirror")
def test_real_entries():
    folder = Path(os.environ["DSKD_MIRROR"]) / "wiktionary_sample"
    if not folder.is_dir():
        pytest.skip("the mirror has no entries of wiktextract")
    found = list(relations(folder / "en-en-extract.jsonl"))
    assert {relation.head for relation in found} == {"magical"}
    assert sum(relation.relation == SYNONYM for relation in found) == 13 and len(found) == 20
    assert Relation("magical", "bewitching", SYNONYM, "wiktionary", "magical.adj.2") in found
    assert Relation("magical", "unmagical", ANTONYM, "wiktionary", "magical.adj") in found
    summary = Summary()  # "wain" has one sense, archaic, and one synonym, obsolete
    assert list(relations(folder / "en-en-2023.json", summary=summary)) == []
    assert (summary.lines, summary.entries, summary.tagged) == (2, 2, 1)
