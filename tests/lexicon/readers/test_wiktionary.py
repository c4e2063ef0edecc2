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


@pytest.mark.parametrize(
    "word", ["see also", "see Thesaurus", "and others", "etc.", "also happy", "cheerful or merry", "happy1", "big†"]
)
def test_a_remark_to_the_reader_is_no_word(write, word):
    summary = Summary()
    line = json.dumps(entry("glad", [{"synonyms": links(word, "see red", "A4", "oregano")}])).encode()
    found = [relation.tail for relation in relations(write(line), summary=summary)]
    assert found == ["see red", "a4", "oregano"] and summary.unclear == 1


def with_null(value, keys):
    """As a table's round trip leaves it: every row and every struct has every field."""
    if isinstance(value, list):
        return [with_null(item, keys) for item in value]
    if isinstance(value, dict):
        return {key: with_null(value.get(key), keys) for key in {**value, **dict.fromkeys(keys)}}
    return value


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_field_that_is_null_is_no_field(write, missing):
    fields = "synonyms antonyms form_of alt_of tags raw_tags raw_glosses sense source etymology_number".split()
    entries = [json.loads(json.dumps(with_null(entry, fields))) for entry in (BANK, GOOD)]
    assert entries[0]["senses"][0]["form_of"] is None
    content = jsonl(*entries).replace(b"null", json.dumps(missing).encode())
    summary = Summary()
    assert list(relations(write(content), summary=summary)) == RELATIONS
    assert summary == Summary(lines=2, entries=2, forms=1, tagged=2, relations=7)


def test_a_number_that_a_table_made_a_fraction_names_the_same_sense(write):
    assert list(relations(write(jsonl(BANK | {"etymology_number": 2.0})))) == RELATIONS[:5]


def test_raw_tags_and_labels_before_a_gloss_count_as_tags(write):
    senses = [
        {"glosses": ["Wanton."], "raw_tags": ["Obsolete"], "synonyms": links("wanton")},
        {"glosses": ["Motley."], "raw_glosses": ["(UK, rare or obsolete) Motley."], "synonyms": links("motley")},
        {"glosses": ["(not obsolete) Merry."], "synonyms": [*links("merry"), *links("jolly", raw_tags=["dated"])]},
        {"glosses": ["Bright."], "synonyms": [*links("bright", qualifier="rare"), *links("lit", qualifier="archaic")]},
    ]
    summary = Summary()
    found = [relation.tail for relation in relations(write(jsonl(entry("gay", senses))), summary=summary)]
    assert found == ["merry", "bright"] and summary.tagged == 4
    whole = entry("gay", senses, tags=["archaic"], synonyms=links("happy"))
    assert list(relations(write(jsonl(whole)))) == []


def test_a_link_of_the_entry_whose_sense_is_left_out_is_left_out(write):
    senses = [{"glosses": ["Ignorant, not knowing."], "tags": ["obsolete"]}, {"glosses": ["Pleasant."]}]
    senses += [{"glosses": ["Plural of ny."], "form_of": links("ny")}]
    told = {"foolish": "ignorant", "silly": "(archaic) silly", "pleasant": "Pleasant.", "lovely": "pleasant to see"}
    told |= {"new": "plural of ny", "kind": "of people", "fine": ""}
    links_ = [{"word": word, "sense": sense} for word, sense in told.items()]
    summary = Summary()
    found = list(relations(write(jsonl(entry("nice", senses, synonyms=links_))), summary=summary))
    assert [relation.tail for relation in found] == ["pleasant", "lovely", "kind", "fine"] and summary.tagged == 4


def wordy(*antonyms, word="wordy"):
    return entry(word, [{"glosses": ["x"], "synonyms": links("lengthy"), "antonyms": list(antonyms)}], pos="adj")


def test_antonyms_of_a_thesaurus_page_that_lists_the_word_itself_are_synonyms(write, capsys):
    page = {"source": "Thesaurus:brief"}
    flawed = wordy(*links("longwinded", "talkative", "wordy", **page), *links("brief"))
    other = wordy(*links("rapid", source="Thesaurus:slow"), word="quick")  # the page does not list it
    of_itself = entry("hot", [{"glosses": ["x"]}], pos="adj", antonyms=links("cold", source="Thesaurus:hot"))
    summary = Summary()
    found = list(relations(write(jsonl(flawed, other, of_itself)), summary=summary))
    assert [(r.head, r.tail) for r in found if r.relation == ANTONYM] == [("hot", "cold")]
    assert [r.tail for r in found if r.relation == SYNONYM] == ["lengthy", "lengthy"]
    assert summary.mistaken == 5 and "5 antonyms that are synonyms in truth" in capsys.readouterr().err


def test_antonyms_of_thesaurus_pages_are_kept_where_a_page_that_lists_the_word_is_rare(write):
    sound = [wordy(*links(f"brief{'x' * i}", source="Thesaurus:terse"), word=f"wordy{'x' * i}") for i in range(20)]
    both = wordy(*links("sanction", "forbid", source="Thesaurus:allow"), word="sanction")
    summary = Summary()
    found = list(relations(write(jsonl(both, *sound)), summary=summary))
    kept = [relation for relation in found if relation.relation == ANTONYM]
    assert len(kept) == 20 and kept[0] == Relation("wordy", "brief", ANTONYM, "wiktionary", "wordy.adj.1")
    assert summary.mistaken == 2 and summary.relations == len(found)


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
