import copy

import numpy as np
import pytest
import torch
from tiny import wordnet as tiny_wordnet
from tiny.models import LOWER_LAST, make_teacher
from tiny.wordnet import train_metaspace_tokenizer, train_tokenizer, write_wordnet
from tokenizers import normalizers
from tokenizers.processors import TemplateProcessing

from dskd.lexicon.readers.wordnet import open_wordnet, prepare
from dskd.lexicon.relations import heldout_pairs, is_heldout
from dskd.model.cut import student_top, teacher_top, trunk
from dskd.model.inference import Models
from dskd.model.logits import head_of
from dskd.scores import in_context
from dskd.scores.in_context import KINDS, HeldoutText, find_places, in_context_rows, single_tokens
from dskd.scores.lexical_choice import alike, read_vocabulary, related_words

# Sixty nouns, no two alike: synset i has words 2i and 2i + 1, and its first word is the antonym of synset i ± 1's.
WORDS = [f"{a}{v}{c}o" for a, c in zip("bcdfghjklmnprstvwxzq", "ktlmnprsgdbfhjvwzxcp") for v in "aei"]
LEXICON = tiny_wordnet.lexicon(seed=1, heldout_share=0.15, heldout_pairs=0.3)


def synsets():
    found = []
    for i in range(30):
        links = [("!", f"s{i + 1 if i % 2 == 0 else i - 1}", 1, 1)]
        found.append((f"s{i}", "n", WORDS[2 * i : 2 * i + 2], links, f"a thing that is number {i}"))
    return found


def relation(a, b):
    """1 for synonyms, -1 for antonyms, else 0."""
    i, j = WORDS.index(a), WORDS.index(b)
    if i // 2 == j // 2:
        return 1
    return -1 if i // 4 == j // 4 and i % 2 == j % 2 == 0 else 0


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    root = tmp_path_factory.mktemp("wordnet")
    counts = {f"{word}%1:00:00::": 50 for word in WORDS}
    prepare(write_wordnet(root / "raw", synsets(), counts), root / "nltk")
    return read_vocabulary(open_wordnet(root / "nltk"))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["".join(f" {word}" for word in WORDS)] * 3, size=2000)


@pytest.fixture(scope="module")
def text(tokenizer):
    draw, tokens = np.random.default_rng(0), [tokenizer.encode(f" {word}") for word in WORDS]
    assert all(len(token) == 1 for token in tokens)
    blocks = torch.tensor([[tokens[i][0] for i in draw.integers(60, size=41)] for _ in range(24)], dtype=torch.int32)
    counts = torch.zeros(len(tokenizer), dtype=torch.int64)
    counts[[token for (token,) in tokens]] = torch.tensor(draw.permutation(60))
    return HeldoutText(blocks, [f"wiki:{i // 2}" for i in range(24)], counts)


def every_relation():
    return {(a, b, relation(a, b)) for a in WORDS for b in WORDS if a != b and relation(a, b)}


@pytest.fixture(scope="module")
def trained():
    def held(a, b):
        words = any(is_heldout(word, 1, 0.15) for word in (a, b))
        return words or heldout_pairs([(a, b)], 1, 0.3) or a == WORDS[4]

    return {(a, b, r) for a, b, r in every_relation() if not held(a, b)}


@pytest.fixture(scope="module")
def places(text, vocabulary, trained, tokenizer):
    return find_places(text, LEXICON, vocabulary, trained, tokenizer, (0, 1000))


def test_a_place_has_the_word_of_the_text_and_a_word_that_is_related_to_it(places, text, tokenizer):
    assert {place.kind for place in places} == set(KINDS) and len(places) > 100
    for place in places:
        block, at = map(int, place.id.split(":")[2:])
        assert place.id.startswith(f"{place.kind}:{place.word}:") and at >= 16
        assert tokenizer.decode(text.blocks[block, at]) == f" {place.word}"
        assert relation(place.word, place.related) == KINDS[place.kind]
        assert place.document == text.documents[block]
    assert len({(place.kind, place.rung, place.word, place.document) for place in places}) == len(places)
    assert len({place.id for place in places}) == len(places)


def test_the_unrelated_word_is_unrelated_to_both_and_about_as_frequent(places, text, vocabulary, tokenizer):
    def count(word):
        return int(text.counts[tokenizer.encode(f" {word}")[0]])

    for place in places:
        for word in (place.word, place.related):
            assert place.unrelated not in related_words(vocabulary, word) and not alike(place.unrelated, word)
        assert abs(count(place.unrelated) - count(place.related)) <= 16  # counts are a permutation: ranks apart
    above = sum(count(place.unrelated) > count(place.related) for place in places) / len(places)
    assert 0.3 < above < 0.7


def test_the_rung_says_what_was_trained(places, trained):
    kept = {(head, r) for head, _, r in trained}
    for place in places:
        of, pair = KINDS[place.kind], (place.word, place.related)
        if place.rung == "trained":
            assert (*pair, of) in trained
        elif place.rung == "word":
            assert any(is_heldout(word, 1, 0.15) for word in pair)
        else:
            assert (*pair, of) not in trained and (place.word, of) in kept
            assert not any(is_heldout(word, 1, 0.15) for word in pair)
    assert {place.rung for place in places} >= {"trained", "word"}
    assert WORDS[4] not in {place.word for place in places if place.rung != "word"}  # nothing of it was trained


def test_a_word_that_goes_on_in_the_next_token_is_another_word(text, vocabulary, trained, tokenizer, places):
    """As " crust" before "acean"."""
    (letter,), blocks = tokenizer.encode("s"), text.blocks.clone()
    blocks[:, 1::2] = letter
    after = find_places(text._replace(blocks=blocks), LEXICON, vocabulary, trained, tokenizer, (0, 1000))
    assert not after
    (mark,) = tokenizer.encode(",")
    blocks[:, 1::2] = mark
    assert find_places(text._replace(blocks=blocks), LEXICON, vocabulary, trained, tokenizer, (0, 1000))
    assert max(int(place.id.split(":")[3]) for place in places) < text.blocks.shape[1] - 1  # nobody knows what follows


def test_there_are_as_many_as_asked_for_and_the_seed_draws_them(text, vocabulary, trained, tokenizer, places):
    given = text, LEXICON, vocabulary, trained, tokenizer
    few = find_places(*given, (0, 5))
    assert all(sum((p.kind, p.rung) == group for p in few) <= 5 for group in {(p.kind, p.rung) for p in few})
    assert set(few) < set(places) and few == find_places(*given, (0, 5)) != find_places(*given, (1, 5))


def test_words_of_one_token_are_those_whatever_the_tokenizer_puts_around_a_text(vocabulary, tokenizer):
    plain, around = single_tokens(vocabulary, tokenizer), copy.deepcopy(tokenizer)
    special = tokenizer.convert_ids_to_tokens(0)
    around.backend_tokenizer.post_processor = TemplateProcessing(f"{special} $A", special_tokens=[(special, 0)])
    assert around(" x")["input_ids"][0] == 0
    assert single_tokens(vocabulary, around) == plain and set(plain) == set(WORDS)


def test_words_of_one_token_are_found_where_the_tokenizer_puts_a_space_before_every_text(vocabulary):
    tokenizer = train_metaspace_tokenizer(["".join(f" {word}" for word in WORDS)] * 3, size=2000)
    prepended = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]  # as Llama 2 has it: " bank" has two spaces
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(prepended)
    tokenizer.backend_tokenizer.pre_tokenizer = None
    assert len(tokenizer.encode(" " + WORDS[0], add_special_tokens=False)) > 1
    assert set(single_tokens(vocabulary, tokenizer)) == set(WORDS)


def test_a_text_without_a_place_is_named(text, vocabulary, trained, tokenizer, capsys):
    short = HeldoutText(text.blocks[:, :10], text.documents, text.counts)
    assert find_places(short, LEXICON, vocabulary, trained, tokenizer, (0, 5)) == []
    said = capsys.readouterr().err
    assert "60 words of WordNet are one token" in said and len(said.splitlines()) == 1


@pytest.mark.parametrize(("word", "expected"), [("a", "bcd"), ("c", "bda"), ("d", "cba")])
def test_the_words_around_one_are_all_others_the_nearest_first(word, expected):
    assert "".join(in_context._outwards("abcd", word)) == expected


@torch.no_grad()
def test_the_value_is_the_difference_of_log_probabilities_after_the_context(text, places, tokenizer, monkeypatch):
    monkeypatch.setattr(in_context, "_CONTEXT", 20)
    teacher = make_teacher(vocabulary=len(tokenizer))
    cut = student_top(teacher, LOWER_LAST)
    tops = {"teacher": teacher_top(teacher, LOWER_LAST), "cut": cut}
    models = Models(trunk(teacher, LOWER_LAST), tops, head_of(teacher), tokenizer, 64)
    chosen = places[::20]
    rows = in_context_rows(models, text, chosen)
    assert [row["model"] for row in rows] == ["teacher"] * len(chosen) + ["cut"] * len(chosen)
    for row, place in zip(rows, chosen):
        block, at = map(int, place.id.split(":")[2:])
        ids = text.blocks[block, max(0, at - 20) : at].long()[None]
        logits = teacher(ids).logits[0, -1].double().log_softmax(dim=0)
        related, unrelated = (logits[tokenizer.encode(f" {word}")[0]] for word in (place.related, place.unrelated))
        assert row["value"] == pytest.approx(float(related - unrelated), abs=1e-3)
        assert {key: row[key] for key in place._fields} == place._asdict()
    values = np.array([row["value"] for row in rows]).reshape(2, -1)
    assert np.abs(values[0]).max() > 0.05 and np.abs(values[0] - values[1]).max() > 0.01
