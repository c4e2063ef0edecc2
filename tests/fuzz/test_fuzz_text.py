"""Text and lexicon from a hostile hand: readers return, or raise a UserError of one line."""

import bz2
import gzip
import os
import shutil

import pytest
from hypothesis import strategies as st
from tiny import wordnet as tiny_wordnet
from tiny.benchmarks import parquet
from tiny.wordnet import write_wordnet
from tools.hostile import (  # noqa: F401 (a fixture for all)
    bounded_memory,
    damaged,
    fuzz,
    hostile_jsonl,
    scalars,
    survives,
)

from dskd.corpus.documents import check_text, kept_name, text_documents
from dskd.corpus.wikitext import articles, strip_markup
from dskd.errors import UserError
from dskd.lexicon import store as lexicon_store
from dskd.lexicon.readers.wordnet import FILES, glosses, open_wordnet, prepare, relations
from dskd.lexicon.store import SCHEMA, antonyms, load_lexicon, save_lexicon, synonyms
from dskd.scores.lexical_choice import build_items, read_vocabulary

# NLTK leaves files open where it fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


# --- text ------------------------------------------------------------------------------------------------------------

PAGE = "<page><title>A &amp; B</title><ns>0</ns><revision><text>'''Bold''' [[b|c]] &lt;ref&gt;</text></revision></page>"
DUMP = f'<?xml version="1.0" encoding="utf-8"?><mediawiki xmlns="http://www.mediawiki.org/">{PAGE * 3}</mediawiki>'
XML = [
    b"<page>" * 5000,
    b"<!DOCTYPE a [<!ENTITY b 'b'>]>",
    b"&b;",
    b"]]>",
    b"<redirect/>",
    b"utf-7",
    b"utf-32",
    b"none",
    b"<ns/>",
    b"<revision><timestamp>3</timestamp></revision>",
    b'<siteinfo><namespace key="2">A &amp; B</namespace></siteinfo>',
]


@st.composite
def dumps(draw):
    if draw(st.booleans()):
        return draw(damaged(bz2.compress(DUMP.encode())))
    text = draw(damaged(DUMP.encode()))
    if draw(st.booleans()):
        text = text.replace(b"utf-8", draw(st.sampled_from(XML)), 1)
    at = draw(st.integers(0, len(text)))
    return bz2.compress(text[:at] + draw(st.sampled_from([b"", *XML])) + text[at:])


@fuzz(dumps())
def test_a_wikipedia_dump_may_be_anything(tmp_path, content):
    path = tmp_path / "dump"
    path.write_bytes(content)
    with survives(path):
        for title, markup in articles(path):
            assert isinstance(title + strip_markup(markup), str)


ROWS = [{"text": "One.\r\nTwo.", "title": "a"}, {"text": "\ufeffThree.", "title": None}, {"text": "Four.", "id": 7}]


EXTRACTED = b'<doc id="1" title="A &amp; B">\nA & B\n\nOne.<br>\n\n</doc>\n<doc id="2" title="C">\nTwo.\n</doc>\n'


@fuzz(
    hostile_jsonl(ROWS) | dumps() | damaged(EXTRACTED),
    st.sampled_from(["text.jsonl", "text", "wikipedia.xml.bz2"]),
    st.booleans(),
)
def test_a_text_may_be_anything(tmp_path, content, name, zipped):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if zipped else content)
    with survives(path):
        check_text("file:text", path)
        assert kept_name("file:text", path) in ("text.jsonl", "text.docs", "wikipedia.xml.bz2")
    with survives(path):
        for document in text_documents(path):
            assert isinstance(document.id + document.text(), str) and document.id.encode()


@fuzz(st.binary(min_size=1, max_size=30).filter(lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")))
def test_a_file_of_a_folder_may_be_called_anything(tmp_path, name):
    shutil.rmtree(tmp_path, ignore_errors=True)
    tmp_path.mkdir()
    (tmp_path / "one.txt").write_text("One.")
    (tmp_path / os.fsdecode(name + b".txt")).write_text("Two.")
    with survives(tmp_path):
        assert all(document.id.encode() for document in text_documents(tmp_path))


@pytest.mark.parametrize("inside", ["<page><title>", "<x>"])
def test_a_dump_of_a_few_bytes_that_stand_for_gigabytes_is_an_error(tmp_path, inside):
    squeezed = bz2.compress(b"x" * (1 << 26))
    path = tmp_path / "dump"
    path.write_bytes(bz2.compress(f"<mediawiki>{inside}".encode()) + squeezed * 40)
    with pytest.raises(UserError, match="no page ends within 16 MiB"):
        list(articles(path))


def test_entities_of_entities_are_an_error(tmp_path):
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "lol"}">' for i in range(12))
    path = tmp_path / "dump"
    path.write_bytes(bz2.compress(f"<!DOCTYPE m [{laughs}]><mediawiki>&l11;</mediawiki>".encode()))
    with pytest.raises(UserError, match="not a whole bz2 MediaWiki dump"):
        list(articles(path))


MARKS = "[[ ]] [ ] {{ }} {| |} | || ! |- '' ''' <ref> </ref> <b> </b> <!-- --> == === * # : ; http:// [https:// &nbsp;"
MARKS = [
    *MARKS.split(),
    "{{convert|",
    "{{convert|1|to|2|ft|",
    "|x",
    "<div>",
    "</div>",
    "</nowiki>",
    "\U0010ff5b",
    "{{lang|a|",
    "[[File:",
    "\n",
    " ",
    ",",
    "\u00ad",
    "\0",
    "\ud800",
    "a",
    "<nowiki>",
    "<br/>",
]


@fuzz(st.lists(st.tuples(st.sampled_from(MARKS) | st.text(max_size=4), st.integers(1, 12)), max_size=25))
def test_mark_up_may_be_anything(pieces):
    with survives():
        strip_markup("".join(text * times for text, times in pieces))


@pytest.mark.parametrize(
    "text", [*MARKS, " ,", " \u00ad", "[http://x ", "((", "<a", "_", "'", "px", "[http://]a", ", ,"]
)
def test_mark_up_that_repeats_itself_takes_no_time(text):
    with survives():
        strip_markup(text * 2_000)
        strip_markup(f"[http://{text * 2_000}")


# --- the lexicon -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wordnet")
    prepare(write_wordnet(folder / "raw", counts={"bank%1:14:00::": 5, "fast%5:00:00:quick:00": 3}), folder / "nltk")
    return folder


ENTRY = [*(f"{kind}.{part}" for kind in ("data", "index") for part in ("noun", "adj")), "cntlist.rev"]


@fuzz(st.data(), st.sampled_from([*ENTRY, *ENTRY, *FILES]))
def test_files_of_wordnet_may_be_anything(wordnet, data, name):
    path = wordnet / "nltk/corpora/wordnet" / name
    whole = path.read_bytes()
    start = max(0, whole.rfind(b"tiny one") + 11) if data.draw(st.booleans()) else 0  # past the licence
    path.write_bytes(whole[:start] + data.draw(damaged(whole[start:])))
    try:
        with survives("WordNet", "data.", path.parent):
            reader = open_wordnet(wordnet / "nltk")
            list(relations(reader))
            list(glosses(reader))
            words = tiny_wordnet.lexicon(seed=0, heldout_share=1.0)
            build_items(words, 0, 10, read_vocabulary(reader))
    finally:
        path.write_bytes(whole)


@fuzz(st.sampled_from(FILES), st.sampled_from(["missing", "folder"]), share=10)
def test_a_wordnet_that_lacks_a_file_leaves_nothing_behind(wordnet, tmp_path, name, kind):
    folder = tmp_path / "raw"
    shutil.rmtree(tmp_path, ignore_errors=True)
    shutil.copytree(wordnet / "raw", folder)
    (folder / name).unlink()
    if kind == "folder":
        (folder / name).mkdir()
    with survives(folder):
        prepare(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory):
    path = tmp_path_factory.mktemp("lexicon") / "lexicon.parquet"
    row = ("good", "bad", -1, "wordnet", "good.a.01;x", False, "Good", 7, (8, 9))
    frame = lexicon_store.pd.DataFrame([row, (*row[:1], "fine", *row[2:])] * 3, columns=SCHEMA.names)
    save_lexicon(path, frame)
    return path.read_bytes()


@fuzz(st.data())
def test_a_lexicon_may_be_anything(tmp_path, lexicon, data):
    path = tmp_path / "lexicon.parquet"
    path.write_bytes(data.draw(damaged(lexicon)))
    with survives(path):
        table = load_lexicon(path)
        synonyms(table), antonyms(table)


@fuzz(st.lists(st.fixed_dictionaries({name: scalars for name in SCHEMA.names}), min_size=1, max_size=3))
def test_a_lexicon_may_have_columns_of_any_type(tmp_path, rows):
    path = tmp_path / "lexicon.parquet"
    try:
        path.write_bytes(parquet(rows))
    except (lexicon_store.pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError):
        return
    with survives(path):
        load_lexicon(path)
