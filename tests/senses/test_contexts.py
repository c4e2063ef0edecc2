"""Contexts as text, in a small text of which every token is known."""

import pytest
import torch
from tiny.models import make_tokenizer

from dskd.corpus.dictionary import DictionaryText, training_text
from dskd.errors import UserError
from dskd.senses.contexts import WORDS, contexts_table
from dskd.senses.store import Senses, load_contexts, save_contexts

FOX = " the quick brown fox jumps over the lazy dog"  # a token each word: positions 0 to 8, and 9 is the separator
JUGS = " five dozen jugs"  # 10 to 12, and 13
LINES = " a\n big\u2028\tfox\x07 a"
COLUMNS = ["token", "sense", "left", "right", "document"]


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["\n", "\t", "\u2028", "\x07"])
    return tokenizer


def made(tokenizer, documents: dict[str, str], length: int = 4) -> DictionaryText:
    """A text of these documents, with the last drawn out to fill the last block."""
    stream, starts = [], []
    for document in documents.values():
        starts.append(len(stream))
        stream += [*tokenizer(document).input_ids, tokenizer.eos_token_id]
    stream += [tokenizer.eos_token_id] * (-(len(stream) - 1) % length)
    blocks = torch.tensor(stream, dtype=torch.int32).unfold(0, length + 1, length)
    return DictionaryText(blocks, torch.tensor(starts), list(documents))


def senses_at(tokenizer, found: list[tuple[str, list[list[int]]]]) -> Senses:
    """A dictionary of these words, in the order of their tokens; each has senses with these contexts."""
    tokens = [tokenizer(word).input_ids for word, _ in found]
    assert all(len(token) == 1 for token in tokens) and tokens == sorted(tokens)
    contexts = torch.tensor([sense for _, senses in found for sense in senses])
    numbers = torch.tensor([len(senses) for _, senses in found])
    return Senses(
        torch.tensor(tokens, dtype=torch.int32).flatten(),
        torch.cat([torch.zeros(1, dtype=torch.int64), numbers.cumsum(0)]),
        numbers,
        torch.zeros(len(contexts), 2),
        torch.ones(len(contexts), dtype=torch.int32),
        contexts,
    )


def rows(tokenizer, text: DictionaryText, found: list[tuple[str, list[list[int]]]]) -> list[tuple]:
    table = contexts_table(senses_at(tokenizer, found), text, tokenizer)
    assert list(table.columns) == COLUMNS
    return list(table.itertuples(index=False, name=None))


@pytest.mark.parametrize("length", [1, 4, 20])
def test_the_text_on_both_sides_is_that_of_the_stream(tokenizer, length):
    text = made(tokenizer, {"wiki:A": FOX, "gloss:b.n.01": JUGS}, length)
    # Tokens: " the" 65, " fox" 73, " dog" 77, " dozen" 78.
    found = [(" fox", [[2, -1]]), (" dog", [[7, 2], [5, -1]]), (" dozen", [[10, -1]])]
    assert rows(tokenizer, text, found) == [
        (" fox", 0, "the quick brown", " jumps over the lazy dog", "wiki:A"),  # it follows there
        (" dog", 1, "the quick brown fox jumps over the lazy", "", "wiki:A"),
        (" dog", 1, "the quick brown", " fox jumps over the lazy dog", "wiki:A"),  # it was only predicted
        (" dog", 2, "the quick brown fox jumps over", " the lazy dog", "wiki:A"),
        (" dozen", 3, "five", " jugs", "gloss:b.n.01"),
    ]


def test_contexts_end_with_their_document(tokenizer):
    text = made(tokenizer, {"wiki:A": FOX, "wiki:B": JUGS, "wiki:C": FOX})
    assert rows(tokenizer, text, [(" the", [[8, 10, 12, 13, 14]])]) == [
        (" the", 0, FOX.strip(), "", "wiki:A"),
        (" the", 0, "five", " dozen jugs", "wiki:B"),
        (" the", 0, "five dozen jugs", "", "wiki:B"),
        (" the", 0, "", " quick brown fox jumps over the lazy dog", "wiki:C"),  # at the separator: what begins is meant
        (" the", 0, "the", " quick brown fox jumps over the lazy dog", "wiki:C"),
    ]


def test_the_right_side_may_go_on_with_the_word(tokenizer):
    text = made(tokenizer, {"": " the julox dog"})  # the tokens " ju", "l" and "ox"
    assert rows(tokenizer, text, [(" ju", [[0]])]) == [(" ju", 0, "the", "lox dog", "")]


def test_at_most_so_many_words_are_shown_of_each_side(tokenizer):
    words = FOX.split() * 8
    text = made(tokenizer, {"wiki:A": "".join(f" {word}" for word in words)})
    ((_, _, left, right, _),) = rows(tokenizer, text, [(" the", [[30]])])
    assert WORDS == 12
    assert left.split(" ") == words[19:31] and right.split(" ") == ["", *words[31:43]]


def test_whatever_the_text_holds_each_side_is_one_line(tokenizer):
    text = made(tokenizer, {"wiki:A": LINES + LINES})
    for at in range(text.stream().shape[0]):
        ((_, _, left, right, _),) = rows(tokenizer, text, [(" the", [[at]])])
        assert (left + right).isprintable() and "  " not in left + right and left == left.strip()
    ((_, _, left, right, _),) = rows(tokenizer, text, [(" the", [[0]])])
    assert (left, right) == ("a", " big fox a a big fox a")


def test_many_contexts_are_those_of_a_few_at_a_time(tokenizer, monkeypatch):
    text = made(tokenizer, {"wiki:A": FOX, "wiki:B": JUGS})
    found = [(" the", [[0, 5, 11]]), (" dog", [[7, 2, -1], [12, -1, -1]])]
    whole = rows(tokenizer, text, found)
    monkeypatch.setattr("dskd.senses.contexts._BATCH", 2)
    assert rows(tokenizer, text, found) == whole and len(whole) == 6


def test_blocks_of_the_training_text_are_documents_without_a_name(tokenizer):
    words = FOX.split() * 3
    ids = tokenizer("".join(f" {word}" for word in words)).input_ids
    text = training_text(torch.tensor([ids, ids[::-1]], dtype=torch.int32))  # of 26 positions each
    assert rows(tokenizer, text, [(" dog", [[1, 27]])]) == [
        (" dog", 0, "the quick", " " + " ".join(words[2:14]), ""),
        (" dog", 0, "dog lazy", " " + " ".join(words[::-1][2:14]), ""),
    ]


@pytest.fixture
def table(tokenizer):
    text = made(tokenizer, {"wiki:A": FOX, "": JUGS})
    return contexts_table(senses_at(tokenizer, [(" fox", [[2, 11]]), (" dog", [[7, -1]])]), text, tokenizer)


def test_saved_contexts_are_read_back_as_they_were_and_equal_tables_are_equal_bytes(table, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_contexts(tmp_path / name, table.copy())
    found = load_contexts(tmp_path / "one")
    assert list(found.columns) == COLUMNS and found.to_dict("list") == table.to_dict("list")
    (one,), (two,) = ((tmp_path / name).iterdir() for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_missing_contexts_name_the_stage_that_makes_them(tmp_path):
    with pytest.raises(UserError, match=r"contexts\.parquet is missing.*dvc repro senses"):
        load_contexts(tmp_path)


@pytest.mark.parametrize("left", [0, 5, 200, -1])
def test_truncated_contexts_are_an_error_that_names_the_stage(table, tmp_path, left):
    save_contexts(tmp_path, table)
    path = tmp_path / "contexts.parquet"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=r"contexts\.parquet is damaged.*dvc repro senses"):
        load_contexts(tmp_path)


def test_a_table_of_other_columns_is_an_error(table, tmp_path):
    table.assign(sense="x").to_parquet(tmp_path / "contexts.parquet")
    with pytest.raises(UserError, match=r"contexts\.parquet is damaged.*dvc repro senses"):
        load_contexts(tmp_path)
