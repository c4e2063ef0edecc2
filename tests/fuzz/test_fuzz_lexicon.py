"""Sources of the lexicon from a hostile hand: readers return words, or raise a UserError of one line."""

import gzip
import json

from hypothesis import strategies as st
from lexicon.readers.test_mythes import THESAURUS
from lexicon.readers.test_wiktionary import BANK, GOOD
from tools.hostile import bounded_memory, damaged, fuzz, hostile_jsonl, survives  # noqa: F401 (a fixture for all)

from dskd.lexicon.readers import mythes, wiktionary, word_lists
from dskd.lexicon.readers.wiktionary import Summary
from dskd.lexicon.relations import ANTONYM, LONGEST, normalised, sense_name

PAIRS = "# pairs\nhot cold\nen_good en_bad\ngive_up,surrender\nscold\tflatter\tpraise\nna\u00efve wise\n".encode()
WORDS = st.text(max_size=30) | st.sampled_from(["İstanbul", "ΑΣ Σ", "ﬃ", "a\u0301", "\ud800a", "a" * 600, "ΐ" * 200])


def check(relations):
    """Every relation holds words as they should be, and can be written to a file."""
    for relation in relations:
        for word in (relation.head, relation.tail):
            assert word and word == normalised(word) and len(word) <= LONGEST and word.encode()
        assert relation.head != relation.tail
        assert relation.sense.isprintable() and ";" not in relation.sense and relation.sense.encode()


@st.composite
def packed(draw, content):
    """The content, or a gzip file of it, or a damaged one."""
    content = draw(content)
    kind = draw(st.integers(0, 2))
    return content if kind == 0 else gzip.compress(content) if kind == 1 else draw(damaged(gzip.compress(content)))


def read(path, content, reader, *arguments, **options):
    path.write_bytes(content)
    with survives(path):
        check(reader(path, *arguments, **options))


@fuzz(packed(hostile_jsonl([GOOD, BANK, GOOD, BANK])))
def test_an_extract_of_wiktionary_may_be_anything(tmp_path, content):
    read(tmp_path / "extract", content, wiktionary.relations)


@fuzz(st.lists(WORDS, min_size=5, max_size=5))
def test_an_entry_may_have_any_texts(tmp_path, texts):
    word, pos, linked, gloss, tag = texts
    link = {"word": linked, "sense": gloss, "tags": [tag]}
    sense = {"glosses": [gloss], "synonyms": [link, {}]}
    entry = {"word": word, "pos": pos, "lang_code": "en", "senses": [sense, {"tags": [tag]}], "antonyms": [link] * 2}
    path = tmp_path / "extract"
    path.write_text(json.dumps(entry) + "\n")
    summary = Summary()
    check(wiktionary.relations(path, summary=summary))
    assert summary.bad == 0


@fuzz(packed(damaged(THESAURUS.encode()) | damaged(THESAURUS.replace("UTF-8", "ISO8859-1", 1).encode())))
def test_a_thesaurus_may_be_anything(tmp_path, content):
    read(tmp_path / "thesaurus", content, mythes.relations)


@fuzz(packed(damaged(PAIRS)), st.sampled_from([None, "en"]))
def test_a_list_of_pairs_may_be_anything(tmp_path, content, language):
    read(tmp_path / "pairs", content, word_lists.relations, ANTONYM, "x", language=language)


@fuzz(WORDS)
def test_a_word_is_normal_after_once(text):
    word = normalised(text)
    assert word == normalised(word)
    assert not word or (word.isprintable() and "  " not in word and "_" not in word and word == word.strip())


@fuzz(st.lists(WORDS | st.integers(), min_size=1, max_size=4))
def test_the_name_of_a_sense_is_one_field_of_one_line(parts):
    name = sense_name(*parts)
    assert name.isprintable() and ";" not in name and len(name.encode()) <= 404 * len(parts)


def test_every_single_character_is_normal_after_once():
    for code in range(0x110000):
        assert normalised(word := normalised(chr(code))) == word, hex(code)
