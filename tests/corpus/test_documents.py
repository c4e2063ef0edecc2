"""Texts of one's own: folders of files and JSON lines, and what is none."""

import gzip
import json

import pytest

from dskd.corpus.documents import kept_name, kept_text, text_documents
from dskd.errors import UserError


def found(path):
    return {document.id: document.text() for document in text_documents(path)}


def test_a_folder_has_a_document_a_file(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/two.txt").write_text("Zwei: ä.\nEnd.", encoding="utf-8")
    (tmp_path / "one.txt").write_text("One.")
    (tmp_path / "notes.md").write_text("No text.")
    assert found(tmp_path) == {"text:b/two": "Zwei: ä.\nEnd.", "text:one": "One."}


@pytest.mark.parametrize("name, pack", [("text.jsonl", bytes), ("text.jsonl.gz", gzip.compress)])
def test_rows_are_documents_by_title_or_number(tmp_path, name, pack):
    rows = [{"text": "One.", "title": "first"}, {"text": "Zwei: ä.", "other": 1}]
    (tmp_path / name).write_bytes(pack("\n".join(map(json.dumps, rows)).encode()))
    assert found(tmp_path / name) == {"text:first": "One.", "text:2": "Zwei: ä."}


@pytest.mark.parametrize(
    "row", ["", "[]", "{", '{"title": "x"}', '{"text": 1}', '{"text": "\\ud800"}', '"text"', "[" * 99999]
)
def test_another_row_is_an_error_with_its_number(tmp_path, row):
    (tmp_path / "text.jsonl").write_text('{"text": "One."}\n' + row + "\n")
    with pytest.raises(UserError, match=r'text\.jsonl:2: a row is an object with a string "text"'):
        text_documents(tmp_path / "text.jsonl")


def test_a_folder_without_text_and_a_file_of_another_encoding_say_so(tmp_path):
    with pytest.raises(UserError, match=r"takes a folder of \*\.txt"):
        text_documents(tmp_path)
    (tmp_path / "one.txt").write_bytes("ä".encode("latin-1"))
    with pytest.raises(UserError, match=r"one\.txt cannot be read as UTF-8"):
        found(tmp_path)


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
