import json

import pytest
import torch
from corpus.test_build import NOTHING_HELD, article, corpus, page, write_dump
from tiny import wordnet as tiny_wordnet
from tiny.wordnet import train_tokenizer, write_wordnet

from dskd.corpus.dictionary import (
    DictionaryText,
    dictionary_text,
    load_dictionary_text,
    save_dictionary_text,
    training_text,
)
from dskd.corpus.documents import text_documents
from dskd.corpus.packing import draw
from dskd.corpus.word_documents import gloss_documents, render_gloss
from dskd.errors import UserError
from dskd.lexicon.readers.wordnet import glosses, open_wordnet, prepare
from dskd.params import SensesParams

LENGTH = 16
FORMS = (("wiki", range(40)), ("text", range(10, 60)))  # numbers of the articles of the first text and of the other
END = "<|endoftext|>"


def senses(**changes):
    values = dict(seed=0, text="own", tokens=1600, gloss_share=0.25, key="predicted", k=4, min_states=2)
    values |= dict(reservoir=20, iterations=5, contexts=3)
    return SensesParams(**(values | changes))


def other(number):
    return f"Another text has {number} of its own words about hills and rivers."


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Two texts, some of whose titles are the same, sixty synsets and a tokenizer."""
    root = tmp_path_factory.mktemp("dictionary")
    dump = write_dump(root / "dump.xml.bz2", [page(f"Article {i}", article(i)) for i in range(40)])
    rows = [{"title": f"Article {i}", "text": other(i)} for i in range(10, 60)]
    (root / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = [f"{a}o{b}e" for a in "abcdefghij" for b in "abcdef"]
    synsets = [(n, "n", [n, f"{n}_{n}"], [], f'a kind of thing called so; "the {n} ran"') for n in names]
    prepare(write_wordnet(root / "raw", synsets), root / "nltk")
    tokenizer = train_tokenizer([article(i) for i in range(5)])
    return [dump, root / "text.jsonl"], open_wordnet(root / "nltk"), tokenizer


def read(material, texts=None, lexicon=NOTHING_HELD, settings=None, **changes):
    found, reader, tokenizer = material
    return dictionary_text(senses(**changes), settings or corpus(), lexicon, texts or found, reader, tokenizer)


def most(material, texts, share, lexicon=NOTHING_HELD):
    """As many blocks as the texts fill, of one kind: `share` is 0 or 1."""
    with pytest.raises(UserError) as raised:
        read(material, texts, lexicon, tokens=10**6 // LENGTH * LENGTH, gloss_share=share)
    lacking = int(str(raised.value).partition(" are lacking")[0].split()[-1])
    return 10**6 // LENGTH - lacking // LENGTH


def whole(material, texts=None, share=0.0, lexicon=NOTHING_HELD):
    """All of the texts, or of the glosses, but for the last tokens, which fill no block."""
    texts = texts or material[0]
    tokens = most(material, texts, share, lexicon) * LENGTH
    return read(material, texts, lexicon, tokens=tokens, gloss_share=share)


def heldout_titles(dump):
    chosen = draw(text_documents(dump), "heldout", corpus().seed, corpus().heldout_share)
    return {document.id.removeprefix("wiki:") for document in chosen}


# --- what is in it ---------------------------------------------------------------------------------------------------


def test_heldout_documents_and_their_titles_in_other_texts_are_left_out(material):
    heldout = heldout_titles(material[0][0])
    assert 5 <= len(heldout) <= 20 and heldout & {f"Article {i}" for i in range(10, 40)}
    found = whole(material)
    first, second = ({f"{form}:Article {i}" for i in numbers} for form, numbers in FORMS)
    titles = {name.partition(":")[2] for name in first}
    kept = {name for name in first if name.partition(":")[2] not in heldout}
    kept |= {name for name in second if name.partition(":")[2] not in titles}  # a title is read once
    assert len(found.documents) == len(set(found.documents))
    assert len(kept - set(found.documents)) <= 1 and set(found.documents) <= kept  # the last may not fit
    text = material[2].decode(found.stream())
    for title in heldout:
        number = title.split()[1]
        assert f"Sentence {number} of 0 " not in text and f"Another text has {number} of" not in text


def test_all_of_a_text_is_read_before_the_next_begins_each_in_an_order_of_its_own(material):
    names = [name.split(":") for name in whole(material).documents]
    forms = [form for form, _ in names]
    assert forms == sorted(forms, reverse=True) and len(set(forms)) == 2
    for form in ("wiki", "text"):
        titles = [title for kind, title in names if kind == form]
        assert titles != sorted(titles)
    assert {form for form, _ in (name.split(":") for name in read(material, gloss_share=0.0).documents)} == {"wiki"}


def test_only_the_first_text_loses_documents_to_the_split(material):
    """A document of another text whose title is in no corpus is read, whatever the split would say of it."""
    dump, rows = material[0]
    found = set(whole(material).documents)
    own = {f"text:Article {i}" for i in range(40, 60)}
    assert {d.id for d in draw(text_documents(rows), "heldout", corpus().seed, corpus().heldout_share)} & own
    assert len(own - found) <= 1
    assert heldout_titles(dump).isdisjoint(name.partition(":")[2] for name in found)


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_held_out_document_under_another_spelling_of_its_title_or_another_title_is_left_out(material, tmp_path):
    rows = [{"title": f"Café {i}", "text": article(i)} for i in range(40)]
    first = written(tmp_path / "first.jsonl", rows)
    spelt = [{"title": f"CAFE\u0301_{i}", "text": other(i)} for i in range(20)]
    moved = [{"title": f"Elsewhere {i}", "text": article(i).upper()} for i in range(20, 40)]
    new = [{"title": f"New {i}", "text": other(i)} for i in range(40, 50)]
    found = whole(material, [first, written(tmp_path / "second.jsonl", spelt + moved + new)]).documents
    assert not [name for name in found if name.startswith(("text:CAFE", "text:Elsewhere"))]
    assert len([name for name in found if name.startswith("text:New")]) >= 9


def test_documents_left_out_for_an_earlier_text_are_counted(material, tmp_path, capsys):
    first = written(tmp_path / "first.jsonl", [{"title": f"{i}", "text": article(i)} for i in range(40)])
    second = written(tmp_path / "second.jsonl", [{"title": f"{i}", "text": other(i)} for i in range(30, 60)])
    whole(material, [first, second])
    assert f"{second}: 10 of 30 documents are left out" in capsys.readouterr().err
    whole(material, [first])
    assert "left out" not in capsys.readouterr().err


def test_a_held_out_article_of_a_dump_is_left_out_of_rows_without_titles(material, tmp_path):
    """Of an article the mark-up is compared with other dumps, and its text with texts."""
    dump = material[0][0]
    heldout = draw(text_documents(dump), "heldout", corpus().seed, corpus().heldout_share)
    rows = [{"text": document.text()} for document in heldout] + [{"text": other(i)} for i in range(20)]
    found = whole(material, [dump, written(tmp_path / "rows.jsonl", rows)]).documents
    assert sorted(int(name[5:]) for name in found if name.startswith("text:"))[0] == len(heldout) + 1


def test_rows_without_a_title_are_not_taken_for_those_of_the_same_number(material, tmp_path):
    first = written(tmp_path / "first.jsonl", [{"text": article(i)} for i in range(40)])
    second = written(tmp_path / "second.jsonl", [{"text": other(i)} for i in range(40)])
    found = whole(material, [first, second]).documents
    assert len(found) >= len(draw(text_documents(first), "train", corpus().seed, corpus().heldout_share)) + 39


def test_glosses_of_heldout_words_and_heldout_glosses_are_left_out(material):
    _, reader, tokenizer = material
    lexicon = tiny_wordnet.lexicon(seed=5, heldout_share=0.3)
    documents, without_words = gloss_documents(reader, lexicon)
    heldout = {document.id for document in draw(documents, "heldout", corpus().seed, corpus().heldout_share)}
    assert without_words > 5 and len(heldout) > 3
    found = whole(material, share=1.0, lexicon=lexicon)
    allowed = {document.id for document in documents} - heldout
    assert set(found.documents) <= allowed and len(allowed - set(found.documents)) <= 1
    text = tokenizer.decode(found.stream())
    for gloss in glosses(reader):
        if f"gloss:{gloss.name}" not in allowed:
            assert render_gloss(gloss) not in text


@pytest.mark.parametrize("share, expected", [(0.25, 25), (0.0, 0), (1.0, 40), (0.333, 33)])
def test_glosses_have_their_share_of_the_blocks_and_come_last(material, share, expected):
    blocks = 40 if share == 1.0 else 100
    found = read(material, gloss_share=share, tokens=blocks * LENGTH + 15)  # 15 more fill no block
    assert found.blocks.shape == (blocks, LENGTH + 1) and found.blocks.dtype == torch.int32
    kinds = [name.partition(":")[0] for name in found.documents]
    begin = [start for start, kind in zip(found.starts.tolist(), kinds) if kind == "gloss"]
    assert kinds == sorted(kinds, key="gloss".__eq__)
    assert begin[:1] == ([(blocks - expected) * LENGTH] if expected else [])


# --- blocks, starts and names ----------------------------------------------------------------------------------------


def test_blocks_cover_the_stream(material):
    found = read(material, gloss_share=0.0)
    stream = found.stream()
    assert len(stream) == len(found.blocks) * LENGTH + 1
    for b, block in enumerate(found.blocks):
        assert torch.equal(block, stream[b * LENGTH : b * LENGTH + LENGTH + 1])
    both = read(material)
    text = 75  # blocks of it; the last label of the text is the token that the first gloss takes the place of
    for b, block in enumerate(both.blocks):
        last = LENGTH if b == text - 1 else LENGTH + 1
        assert torch.equal(block[:last], both.stream()[b * LENGTH : b * LENGTH + last])


def test_what_goes_before_a_text_takes_no_token_of_the_stream(material):
    """A block begins with it; the text that a person sees, and the contexts, have what stands there."""
    found = read(material)
    begun = found.blocks.clone()
    begun[:, 0] = 99
    stream, wanted = found._replace(blocks=begun).stream(), found.stream()
    assert (stream != wanted).nonzero().flatten().tolist() == [0, 75 * LENGTH]  # where the text and the glosses begin
    assert stream.dtype == wanted.dtype


def test_starts_point_at_the_first_token_of_the_document_that_is_named(material):
    (dump, rows), reader, tokenizer = material
    texts = {document.id: document.text() for path in (dump, rows) for document in text_documents(path)}
    texts |= {f"gloss:{gloss.name}": render_gloss(gloss) for gloss in glosses(reader)}
    tokens = most(material, material[0], 0.0) * LENGTH
    found = read(material, tokens=tokens, gloss_share=0.1)
    starts, stream = found.starts.tolist(), found.stream()
    assert starts[0] == 0 and starts == sorted(starts) and found.starts.dtype == torch.int64
    assert len(starts) == len(found.documents)
    assert {name.partition(":")[0] for name in found.documents} == {"wiki", "text", "gloss"}
    for name, start, end in zip(found.documents, starts, [*starts[1:], len(stream)]):
        said, closed, rest = tokenizer.decode(stream[start:end]).partition(END)
        assert not rest and (said == texts[name] if closed else texts[name].startswith(said))
    cut = [end for end in starts[1:] if tokenizer.decode(stream[end - 1]) != END]
    assert len(cut) <= 1  # only the last document of the text may be cut


def test_the_seed_draws_the_documents(material):
    first, again, another = (read(material, settings=corpus(seed=seed)) for seed in (0, 0, 5))
    assert torch.equal(first.blocks, again.blocks) and first.documents == again.documents
    assert first.documents != another.documents


def test_a_budget_larger_than_the_texts_says_how_many_tokens_are_lacking(material):
    blocks = most(material, material[0], 0.0)
    assert len(read(material, tokens=blocks * LENGTH, gloss_share=0.0).blocks) == blocks
    with pytest.raises(UserError, match=r"\b16 are lacking: lower senses\.tokens") as raised:
        read(material, tokens=(blocks + 1) * LENGTH, gloss_share=0.0)
    assert "\n" not in str(raised.value)
    assert f"for {(blocks + 1) * LENGTH} tokens of plain text and 0 of glosses" in str(raised.value)
    glosses_there = most(material, material[0], 1.0)
    with pytest.raises(UserError, match=rf"there are 0 and {glosses_there * LENGTH}, so 48 are lacking"):
        read(material, tokens=(glosses_there + 3) * LENGTH, gloss_share=1.0)


def test_a_second_text_adds_to_the_first(material):
    only = material[0][:1]
    assert most(material, only, 0.0) < most(material, material[0], 0.0)


def test_fewer_tokens_than_a_block_are_an_error(material):
    with pytest.raises(UserError, match="tokens = 15 fills no block of 16 tokens: raise it"):
        read(material, tokens=15)


# --- the students' text, and files -----------------------------------------------------------------------------------


def test_blocks_of_the_training_text_are_documents_without_names():
    blocks = torch.arange(15, dtype=torch.int32).reshape(3, 5)
    found = training_text(blocks)
    assert found.blocks is blocks and found.starts.tolist() == [0, 4, 8] and found.documents == ["", "", ""]
    assert found.stream().tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 14]


@pytest.fixture
def saved(tmp_path, material):
    text = read(material)
    save_dictionary_text(tmp_path, text)
    return text, tmp_path


def test_a_text_comes_back_as_it_was_saved(saved):
    text, folder = saved
    found = load_dictionary_text(folder)
    assert isinstance(found, DictionaryText) and found.documents == text.documents
    for name in ("blocks", "starts"):
        assert torch.equal(getattr(found, name), getattr(text, name))
        assert getattr(found, name).dtype == getattr(text, name).dtype
    part = text._replace(blocks=text.blocks[:, 1:])  # its rows do not lie one after the other
    save_dictionary_text(folder, part)
    assert torch.equal(load_dictionary_text(folder).blocks, part.blocks)


@pytest.mark.parametrize("name", ["text.safetensors", "documents.json"])
@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"{}"],
    ids=["half", "empty", "other"],
)
def test_a_damaged_text_is_an_error_that_names_the_file(saved, name, damage):
    path = saved[1] / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=name):
        load_dictionary_text(saved[1])


@pytest.mark.parametrize("name", ["text.safetensors", "documents.json"])
def test_a_missing_text_is_an_error_that_names_the_file(saved, name):
    (saved[1] / name).unlink()
    with pytest.raises(UserError, match=name):
        load_dictionary_text(saved[1])
