"""Texts of one's own: folders of files and JSON lines, and what is none."""

import bz2
import gzip
import json
import os
from pathlib import Path

import pytest
import yaml
from corpus.test_build import page, write_dump
from tiny.project import run

from dskd.corpus.documents import check_text, kept_name, kept_text, text_documents
from dskd.corpus.extracted import extracted_articles
from dskd.corpus.store import load_corpus
from dskd.errors import UserError
from dskd.infra.hashes import sha256_tree


# The second file of two that were joined begins with a mark of byte order, and an article has no text.
def test_a_title_with_marks_that_are_not_escaped_is_read_whole(tmp_path):
    heads = {
        '<doc id="1" url="https://x" title="The "Big" One">': 'The "Big" One',
        '<doc id="2" title="The "End"" nonfiltered="1" processed="2">': 'The "End"',
        '<doc id="3" url="https://x?title=y" title="">': "",
    }
    text = "".join(f"{head}\n\nOnce.\n</doc>\n" for head in heads)
    (tmp_path / "text.docs").write_text(text)
    assert [name for name, _ in extracted_articles(tmp_path / "text.docs")] == list(heads.values())


ARTICLES = """<doc id="1" url="https://x?curid=1" title="Tide &amp; shore">
Tide & shore

It rises;<br> a &lt; b.
Places.
Sea

</doc>
<doc id="2" url="https://x?curid=2" title="Empty">
Empty

</doc>
\ufeff<doc id="3" url="https://x?curid=3" title="Say &quot;moon&quot;">
Moon, again.
</doc>
"""


def found(path):
    return {document.id: document.text() for document in text_documents(path)}


def test_a_folder_has_a_document_a_file(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/two.txt").write_text("Zwei: ä.\nEnd.", encoding="utf-8")
    (tmp_path / "one.txt").write_text("One.")
    (tmp_path / "notes.md").write_text("No text.")
    assert found(tmp_path) == {"text:b/two": "Zwei: ä.\nEnd.", "text:one": "One."}


def test_files_whatever_their_ending_is_written_like_and_no_hidden_ones(tmp_path, capsys):
    for name in ("a.txt", "b.TXT", ".ipynb_checkpoints/a-checkpoint.txt", "c/.d.txt", "__MACOSX/a.txt", "e.md", "f.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\xef\xbb\xbfOne.\r\nTwo.")
    assert found(tmp_path) == {"text:a": "One.\nTwo.", "text:b": "One.\nTwo."}
    assert "files that are no *.txt are left out (2 '.md')" in capsys.readouterr().err


@pytest.mark.parametrize("name, pack", [("text.jsonl", bytes), ("text.jsonl.gz", gzip.compress)])
def test_rows_are_documents_by_title_or_number(tmp_path, name, pack):
    rows = [{"text": "One.", "title": "first"}, {"text": "Zwei: ä.", "other": 1}]
    (tmp_path / name).write_bytes(pack("\n".join(map(json.dumps, rows)).encode()))
    assert found(tmp_path / name) == {"text:first": "One.", "text:2": "Zwei: ä."}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_articles_that_wikiextractor_wrote_are_those_of_a_dump(tmp_path, pack):
    (tmp_path / "fetched").write_bytes(pack(ARTICLES.encode()))
    place = tmp_path / kept_name("https://x/wiki_00 + https://x/wiki_01", tmp_path / "fetched")
    (tmp_path / "fetched").rename(place)
    assert place == kept_text(tmp_path) == tmp_path / "text.docs"
    assert found(place) == {"wiki:Tide & shore": "It rises;  a < b.\nPlaces.\nSea", 'wiki:Say "moon"': "Moon, again."}


def test_left_over_marks_of_wikiextractor_are_no_text_and_what_looks_like_some_is(tmp_path):
    body = "Section::::History.\nBULLET::::- by the &lt;a href=&quot;Sea&quot;&gt;sea&lt;/a&gt;&lt;br clear=all&gt;\n"
    body += "Type vector&lt;int&gt;, where a&lt;b and c&gt;d.&lt;ref name=&quot;x&quot;/&gt;\n"
    (tmp_path / "text.docs").write_text(f'<doc id="1" title="One">\nOne\n\n{body}</doc>\n')
    ((_, text),) = extracted_articles(tmp_path / "text.docs")
    assert text == "History.\nby the  sea  \nType vector<int>, where a<b and c>d."


@pytest.mark.parametrize("end", ['</doc><doc id="2" title="Two">', "The end. </doc>", ' <doc id="2" title="Two">'])
def test_an_article_that_does_not_end_on_a_line_of_its_own_is_an_error(tmp_path, end):
    text = f'<doc id="1" title="One">\nOne\n\nText.\n{end}\nMore.\n</doc>\n'
    (tmp_path / "text.docs").write_text(text)
    with pytest.raises(UserError, match=r"text\.docs:5: .* stand alone on their lines"):
        list(extracted_articles(tmp_path / "text.docs"))


OTHERS = [
    *('<doc id="1" title="x">\n', '{"text": "One."}', '[{"text": "One."}]', "\n<!DOCTYPE html>", "<mediawiki x>"),
    *(
        "<!-- saved --><html>",
        "<head><title>",
        "<p>One &amp; two</p>",
        "<DOC>\n<DOCNO>1",
        "<TEI xmlns='x'>",
        "<text>One",
    ),
    *(r"{\rtf1\ansi One}", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "WEBVTT\n\n1\n"),
    *("1\n00:00:01,000 --> 00:00:02,000\nOne\n", "# text = One\n1\tOne\tone\tNUM\t_\n"),
]


@pytest.mark.parametrize("text", OTHERS)
def test_a_file_of_another_form_in_a_folder_of_texts_is_an_error(tmp_path, text):
    (tmp_path / "wiki_00.txt").write_text(text)
    with pytest.raises(UserError, match=r"wiki_00\.txt is no plain text"):
        found(tmp_path)
    for plain in ("<docile> {a: b}", "[1] One.", "# One\n1 is a number.", "Version two", "1\tone"):
        (tmp_path / "wiki_00.txt").write_text(plain)
        assert found(tmp_path)


def test_rows_of_wikiextractor_are_escaped_as_its_articles_are(tmp_path):
    text = "AT&amp;T's &lt;b&gt; key.&lt;br&gt;\nBULLET::::- One."
    rows = [{"id": "1", "url": f"https://x?{of}", "title": "R&amp;D", "text": text} for of in ("curid=1", "other=1")]
    (tmp_path / "text.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert found(tmp_path / "text.jsonl") == {"text:R&D": "AT&T's   key. \nOne.", "text:R&amp;D": text}


@pytest.mark.parametrize("title", ["null", '""', '"  "', "NaN"])
def test_a_row_without_a_title_is_named_by_its_number(tmp_path, title):
    (tmp_path / "text.jsonl").write_text("".join(f'{{"text": "{i}", "title": {title}}}\n' for i in range(3)))
    assert found(tmp_path / "text.jsonl") == {"text:1": "0", "text:2": "1", "text:3": "2"}


def test_marks_of_byte_order_and_the_line_ends_of_dos_are_no_text(tmp_path):
    rows = [{"text": "\ufeffOne.\r\nTwo.\rThree."}, {"text": "Four.", "title": 7}]
    (tmp_path / "text.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(map(json.dumps, rows)).encode())
    assert found(tmp_path / "text.jsonl") == {"text:1": "One.\nTwo.\nThree.", "text:7": "Four."}


@pytest.mark.parametrize(
    "row",
    [
        "",
        "[]",
        "{",
        '{"title": "x"}',
        '{"text": 1}',
        '{"text": "\\ud800"}',
        '"text"',
        "[" * 99999,
        '{"text": null}',
        '{"text": "a\\u0000b"}',
    ]
    + [f'{{"text": "x", "title": {title}}}' for title in ('["x"]', "true", '"\\ud800"')],
)
def test_another_row_is_an_error_with_its_number(tmp_path, row):
    (tmp_path / "text.jsonl").write_text('{"text": "One."}\n' + row + "\n")
    with pytest.raises(UserError, match=r'text\.jsonl:2: a row is an object with a string "text"'):
        text_documents(tmp_path / "text.jsonl")


def test_a_folder_without_text_and_a_file_of_another_encoding_say_so(tmp_path):
    with pytest.raises(UserError, match=r"takes a folder of \*\.txt"):
        text_documents(tmp_path)
    for content in ("ä".encode("latin-1"), "a".encode("utf-16"), "abc".encode("utf-16-le")):
        (tmp_path / "one.txt").write_bytes(content)
        with pytest.raises(UserError, match=r"one\.txt cannot be read as UTF-8"):
            found(tmp_path)


def test_a_name_that_is_not_utf_8_is_one_line(tmp_path):
    name = os.fsdecode(b"caf\xe9.txt")
    (tmp_path / name).write_text("One.")
    with pytest.raises(UserError, match=r"a file whose name is not UTF-8: rename 'caf\\udce9\.txt'"):
        text_documents(tmp_path)


def rows(*texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


@pytest.mark.parametrize("name", ["file:own/v.json", "https://x/w.json.gz", "file:own/text", "file:own/x.JSONL"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_rows_are_known_by_what_they_begin_with(tmp_path, name, pack):
    fetched = tmp_path / "fetched"
    fetched.write_bytes(pack(b"\xef\xbb\xbf" + rows("One.", "Two.")))
    check_text(name, fetched)
    assert kept_name(name, fetched) == "text.jsonl"
    assert found(fetched) == {"text:1": "One.", "text:2": "Two."}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"The tide left a line of shells.", "is another file, which begins with 'The tide left"),
        (gzip.compress(b"The tide"), "is another file in gzip, which begins with 'The tide'"),
        (bz2.compress(rows("One.")), "is another file in bzip2, which begins with '{"),
        (b'[{"text": "One."}]', "is another file, which begins with '[{"),
        (b'<doc id="1" title="A">\nOne.\n', "ends inside the article 'A': it is not whole"),
        (b'<doc id="1">\nOne.\n</doc>\n', ":1: an article has no title"),
        (b'<doc title="A">\n<doc title="B">\n</doc>\n', ":2: another article begins inside 'A'"),
        (b'<doc title="A">\n</doc>\nOne.\n', ":3: text outside of an article"),
        (b'<doc title="A">\nO\xffe.\n</doc>\n', ":2: this is no UTF-8 text"),
        (b'<doc title="A">\nO\0e.\n</doc>\n', ":2: this is no UTF-8 text (a NUL byte)"),
        (b'<doc title="A">\nA\n\n</doc>\n', "no article with text"),
        (b"<mediawiki>", "is another file, which begins with '<mediawiki>'"),
        (b"version https://git-lfs.github.com/spec/v1\n", "begins with 'version https://git-lfs"),
        (rows("One.") + b'{"text": null}\n', ":2: a row is an object with a string"),
        (rows("", " "), "has no text in 2 rows"),
        (b"", "is not a whole bz2 MediaWiki dump"),
        (bz2.compress(b"<html></html>"), "has no article with text among 0 pages"),
    ],
)
def test_another_file_is_refused_with_what_is_taken(tmp_path, content, says):
    fetched = tmp_path / "fetched"
    fetched.write_bytes(content)
    with pytest.raises(UserError) as error:
        check_text("file:own/text", fetched)
    assert str(error.value).startswith("file:own/text: ") and says in str(error.value)
    assert str(error.value).count("sources.wikipedia takes a folder of *.txt files, JSON lines with a string") == 1


def test_rows_in_utf_16_are_refused_before_the_first(tmp_path):
    (tmp_path / "text.jsonl").write_bytes(rows("One.", "Two.").decode().encode("utf-16"))
    with pytest.raises(UserError, match=r"text\.jsonl:1: a row is an object .* in UTF-8"):
        check_text("file:own/text.jsonl", tmp_path / "text.jsonl")


def test_every_file_of_a_folder_is_read_before_anything_is_made_of_it(tmp_path):
    (tmp_path / "a.txt").write_text("One.")
    check_text("file:own/text", tmp_path)
    (tmp_path / "b.txt").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"b\.txt cannot be read as UTF-8"):
        check_text("file:own/text", tmp_path)


# --- in the stages ---------------------------------------------------------------------------------------------------


def given(text, **changes):
    """The project in the working folder has this text."""
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["sources"]["wikipedia"] = {"source": f"file:{text}", "sha256": sha256_tree(text), "licence": "none"}
    values["corpus"] |= changes
    Path("params.yaml").write_text(yaml.safe_dump(values))


def test_a_file_of_another_kind_ends_the_stage_that_fetches_it(project):
    (project / "one.txt").write_text("The tide left a line of shells. " * 99)
    given("one.txt")
    code, text = run("sources")
    assert code == 1 and text.startswith("dskd: file:one.txt: ") and text.count("\n") == 0
    assert "sources.wikipedia takes a folder" in text


def test_an_old_dump_is_the_text_of_the_corpus(project):
    words = [f"Keeper {i} counted the waves each morning, and wrote the number down. " * 3 for i in range(30)]
    pages = [page(f"Day {i}", text).replace("<ns>0</ns>", "") for i, text in enumerate(words)]
    write_dump(project / "old.bz2", pages)
    given("old.bz2")
    assert run("sources") == run("corpus") == (0, "")
    _, summary = load_corpus(project / "artifacts/corpus")
    assert summary["by_split_and_source"]["train.wiki"]["blocks"] > 0


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["The tide left a line of shells. " * 20], "the heldout corpus has nothing of sources.wikipedia: the 0 "),
        (
            list("abcdefghi"),
            "the train corpus has nothing of sources.wikipedia: the 7 documents of it in this split do ",
        ),
    ],
)
def test_a_text_that_gives_a_split_nothing_is_an_error(project, texts, says):
    (project / "few.jsonl").write_bytes(rows(*texts))
    given("few.jsonl")
    assert run("sources")[0] == 0
    code, text = run("corpus")
    assert code == 1 and says in text and "leave sources.wikipedia out with corpus.gloss_share: 1.0" in text


@pytest.mark.parametrize(
    "source", ["file:own/text", "file:own/a.jsonl", "https://x/b.jsonl.gz", "file:dump", "pypi:a==1!b.bz2"]
)
def test_what_is_kept_is_found_again(tmp_path, source):
    fetched = tmp_path / "fetched"
    fetched.mkdir() if source == "file:own/text" else fetched.write_text("")
    place = tmp_path / kept_name(source, fetched)
    assert kept_text(tmp_path) == tmp_path / "wikipedia.xml.bz2"
    fetched.rename(place)
    assert kept_text(tmp_path) == place
