import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny.wordnet import lexicon as lexicon_settings
from tiny.wordnet import train_tokenizer, write_wordnet

from dskd import Lexicon, UserError
from dskd.lexicon.build import Files, read_statements, settle_pairs
from dskd.lexicon.readers.wordnet import open_wordnet, prepare
from dskd.lexicon.store import antonyms, load_lexicon, save_lexicon, synonyms
from dskd.lexicon.table import build_table
from dskd.lexicon.tokens import inflected_forms
from dskd.library.lexicon import _COLUMNS

TEXT = [
    "a fast car, a quick bank, Bank, banks and Banks go and stay, slow; travel, rapid, speedy, fast banks, a depository"
] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXT, 400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_wordnet(tmp_path_factory.mktemp("wordnet") / "dict")


@pytest.fixture(scope="module")
def table(folder, tmp_path_factory, tokenizer):
    """The pipeline's table of the same WordNet, with inflections."""
    place = tmp_path_factory.mktemp("pipeline")
    prepare(folder, place)
    reader, settings = open_wordnet(place), lexicon_settings(max_span=3)
    settled = settle_pairs(read_statements(Files(reader), settings), settings)
    inflections = inflected_forms(tokenizer, reader, {pair.head for pair in settled.pairs})
    table, _ = build_table(settings, settled, tokenizer, inflections)
    save_lexicon(place / "lexicon.parquet", table)
    return place / "lexicon.parquet"


def test_pairs_hold_in_both_directions_and_contradictions_in_none():
    found = Lexicon.from_pairs(
        [("Big", "large"), ("hot", "cold"), ("big", "great")], [("cold", "hot"), ("big", "small")]
    )
    assert found.synonyms("big") == found.synonyms("BIG") == ["great", "large"]
    assert found.synonyms("large") == ["big"] and found.antonyms("small") == ["big"]
    assert found.synonyms("hot") == found.antonyms("hot") == found.synonyms("nothing") == []


@pytest.mark.parametrize(
    "pair",
    [
        ("big",),
        ("big", "Big"),
        ("big", ""),
        ("big", 3),
        "ab",
        ("a", "b", "c"),
        3,
        None,
        {"big": 1, "large": 2},
        ("?", "!"),
    ],
)
def test_what_is_no_pair_is_named(pair):
    with pytest.raises(UserError, match="no pair of two different words"):
        Lexicon.from_pairs([pair])
    with pytest.raises(UserError, match="there is no pair"):
        Lexicon.from_pairs()


def test_the_same_pair_again_and_turned_round_is_one_pair():
    found = Lexicon.from_pairs([("big", "large"), ("large", "big"), ("BIG ", "Large"), ("big", "large")])
    assert found.synonyms("big") == ["large"] and len(found.pairs) == 2
    assert Lexicon.from_pairs([("cafe\u0301", "bar")]).synonyms("caf\u00e9") == ["bar"]  # written in two ways


def test_pairs_that_are_all_in_both_lists_are_no_lexicon():
    with pytest.raises(UserError, match="in both lists"):
        Lexicon.from_pairs([("hot", "cold")], [("cold", "Hot")])


def test_wordnet_and_the_pipelines_table_give_the_pipelines_spans(folder, table, tokenizer):
    wanted = load_lexicon(table)
    for found in (Lexicon.from_wordnet(folder, tokenizer), Lexicon.from_parquet(table)):
        spans = found.spans(tokenizer)
        assert spans.synonyms == synonyms(wanted) and spans.antonyms == antonyms(wanted)
        assert len(spans.synonyms) > 2 and len(spans.antonyms) > 2
        assert [*spans.synonyms] == [*synonyms(wanted)]
        assert "depository" in found.synonyms("banks") and found.synonyms("banks") == found.synonyms("bank")
        assert found.antonyms("fast") == ["slow"]
    assert Lexicon.from_wordnet(folder).synonyms("banks") == []  # inflections need a tokenizer


def test_a_table_takes_no_folders_place(tmp_path):
    """Such as that of a dictionary, whose save_pretrained takes a folder."""
    lexicon = Lexicon.from_pairs([("big", "large")])
    (tmp_path / "my-senses").mkdir()
    (tmp_path / "my-senses" / "senses.safetensors").write_text("vectors")
    with pytest.raises(UserError, match="is a folder"):
        lexicon.save(tmp_path / "my-senses")
    assert (tmp_path / "my-senses" / "senses.safetensors").read_text() == "vectors"
    for place in ("below", "far/below"):
        with pytest.raises(UserError, match="lies in a file"):
            lexicon.save(tmp_path / "my-senses" / "senses.safetensors" / place)


def test_saved_and_read_it_is_the_same_in_the_same_bytes(folder, tokenizer, tmp_path):
    first = Lexicon.from_wordnet(folder, tokenizer)
    first.save(tmp_path / "one.parquet")
    second = Lexicon.from_parquet(tmp_path / "one.parquet")
    second.save(tmp_path / "two.parquet")
    assert set(second.pairs) == set(first.pairs)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_wordnet_is_found_where_nltk_keeps_it_also_packed(folder, tmp_path, monkeypatch):
    import shutil

    import nltk

    (tmp_path / "corpora").mkdir()
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    with pytest.raises(UserError, match=r"nltk\.download"):
        Lexicon.from_wordnet()
    shutil.make_archive(str(tmp_path / "corpora" / "wordnet"), "zip", folder.parent, folder.name)
    assert Lexicon.from_wordnet().antonyms("slow") == ["fast"]
    assert nltk.data.path == [str(tmp_path)]
    with pytest.raises(UserError, match="lacks WordNet's"):
        Lexicon.from_wordnet(tmp_path)


def test_of_several_wordnets_none_is_taken_by_chance(folder, tmp_path):
    """As nltk_data/corpora has them, by year."""
    import shutil

    for name in ("wordnet", "wordnet2021"):
        shutil.copytree(folder, tmp_path / name)
    with pytest.raises(UserError, match="2 WordNets, such as wordnet and wordnet2021: name one"):
        Lexicon.from_wordnet(tmp_path)
    assert Lexicon.from_wordnet(tmp_path / "wordnet2021").antonyms("slow") == ["fast"]


def test_another_table_is_named(tmp_path):
    (tmp_path / "x.parquet").write_text("no table")
    (tmp_path / "folder").mkdir()
    Lexicon.from_pairs([("big", "large")]).save(tmp_path / "folder" / "part.parquet")
    for name in ("x.parquet", "missing.parquet", "folder"):
        with pytest.raises(UserError, match=f"{name} is no table of a lexicon"):
            Lexicon.from_parquet(tmp_path / name)


ROW = {"head": "big", "tail": "large", "relation": 1, "source": "mine", "sense": "a", "flipped": False, "form": "big"}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"relation": 0}], "has the relation 0"),
        ([{"relation": 5}], "has the relation 5"),
        ([{"head": "Big"}], "no pair of two different words in lower case"),
        ([{"head": ""}], "no pair of two different words"),
        ([{"tail": "big"}], "no pair of two different words"),
        ([{"tail": "la\x1brge"}], r"'la\\x1brge' is no pair"),
        ([{"tail": "hot_dog"}], "'hot_dog' has an underscore, an apostrophe of print or"),  # as WordNet's own files
        ([{"tail": "don\u2019t"}], "t' has an underscore, an apostrophe of print or"),
        ([{"tail": "cafe\u0301"}], "an accent apart from its letter, and would never be found"),
        ([{"form": ""}], "form that is no word"),
        ([{}, {"relation": -1}], "is both synonym and antonym"),
        ([{}, {"head": "large", "tail": "big", "form": "large", "relation": -1}], "is both synonym and antonym"),
    ],
)
def test_a_table_whose_rows_are_no_pairs_is_named(tmp_path, rows, says):
    table = pa.Table.from_pylist([ROW | row for row in rows], schema=pa.schema(_COLUMNS.items()))
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(UserError, match=says):
        Lexicon.from_parquet(tmp_path / "x.parquet")


def test_words_of_digits_and_marks_are_words_where_a_source_has_them(tmp_path):
    rows = [ROW | {"head": "ace", "tail": "1", "form": "Ace"}, ROW | {"head": "c++", "tail": "'s gravenhage"}]
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(_COLUMNS.items())), tmp_path / "x.parquet")
    assert Lexicon.from_parquet(tmp_path / "x.parquet").synonyms("ace") == ["1"]


def test_more_columns_are_no_fault_and_other_kinds_are(tmp_path):
    table = pa.Table.from_pylist([ROW], schema=pa.schema(_COLUMNS.items()))
    pq.write_table(table.append_column("more", pa.array([1])), tmp_path / "x.parquet")
    assert Lexicon.from_parquet(tmp_path / "x.parquet").synonyms("big") == ["large"]
    for wrong in (table.drop_columns(["form"]), table.set_column(2, "relation", pa.array([1.0]))):
        pq.write_table(wrong, tmp_path / "x.parquet")
        with pytest.raises(UserError, match="no table of a lexicon"):
            Lexicon.from_parquet(tmp_path / "x.parquet")


def test_an_archive_that_is_none_or_too_large_or_missing_is_one_clear_line(tmp_path):
    (tmp_path / "wordnet.zip").write_bytes(b"PK\x03\x04 no archive")
    with (
        zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("dict/data.noun", "w") as file,
    ):
        for _ in range(1100):
            file.write(bytes(1 << 20))
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as archive:
        archive.writestr("../../up.txt", "x")
    for name, says in (("wordnet", "damaged"), ("missing", "is missing"), ("bomb", "unpacks to over"), ("up", "lacks")):
        with pytest.raises(UserError, match=says):
            Lexicon.from_wordnet(tmp_path / f"{name}.zip")
    assert not list(tmp_path.parent.rglob("up.txt"))
