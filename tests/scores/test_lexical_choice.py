import random
from collections import Counter

import pytest
from tiny import wordnet as tiny_wordnet
from tiny.wordnet import write_wordnet

from dskd.lexicon.readers.wordnet import open_wordnet, prepare
from dskd.lexicon.relations import heldout_pairs, heldout_words
from dskd.scores.lexical_choice import (
    CHOICES,
    PROMPTS,
    Item,
    alike,
    baseline_accuracy,
    build_items,
    read_vocabulary,
    related_words,
)

LEXICON = tiny_wordnet.lexicon(seed=0, heldout_share=0.5)
SYLLABLES = [a + b for a in "bcdfghjklmnprstvz" for b in "aeiou"]


def invented(count=900):
    """Synsets of two invented nouns in a chain of hypernyms, every third the antonym of the next, with counts."""
    draw = random.Random(0)
    words = set()
    while len(words) < 2 * count:
        words.add(
            "".join(draw.choice(SYLLABLES) for _ in range(draw.choice([2, 3, 3, 4]))) + draw.choice(["", "n", "s"])
        )
    words = sorted(words)
    draw.shuffle(words)
    synsets, counts = [], {}
    for i in range(count):
        links = [("@", f"s{i - 1}", 0, 0)] if i else []
        links += [("~", f"s{i + 1}", 0, 0)] if i + 1 < count else []
        if i % 3 < 2 and i + 1 < count:
            links.append(("!", f"s{i + 1}" if i % 3 == 0 else f"s{i - 1}", 1, 1))
        synsets.append((f"s{i}", "n", words[2 * i : 2 * i + 2], links, f"that which is number {i}"))
        # The first word of a synset is much the commoner: "the most frequent" would win among words drawn at random.
        counts |= {f"{words[2 * i]}%1:00:00::": 50 + draw.randrange(5000), f"{words[2 * i + 1]}%1:00:00::": 2 + i % 40}
    synsets.append(("proper", "n", ["Venice", "Serenissima"], [], "a town of canals"))
    synsets.append(("spelt", "n", ["colour", "colours"], [], "what a painter mixes"))
    counts |= {f"{word}%1:00:00::": 500 for word in ("venice", "serenissima", "colour", "colours")}
    return synsets, counts


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    root = tmp_path_factory.mktemp("tasks")
    prepare(write_wordnet(root / "raw", *invented()), root / "nltk")
    return open_wordnet(root / "nltk")


@pytest.fixture(scope="module")
def vocabulary(reader):
    return read_vocabulary(reader)


@pytest.fixture(scope="module")
def items(reader):
    return build_items(LEXICON, 0, 10**6, read_vocabulary(reader))


def test_every_task_has_its_prompt_and_one_item_a_heldout_word(items, vocabulary):
    held = heldout_words(vocabulary.pos, 0, 0.5)
    counts = Counter(item.task for item in items)
    assert min(counts[task] for task in PROMPTS) > 100
    assert max(Counter((item.task, item.word) for item in items).values()) == 1
    assert len({item.id for item in items}) == len(items)
    for item in items:
        assert item.word in held and item.pos == "n"
        assert item.context.startswith(PROMPTS[item.task].split("{}")[0])
        asked = item.word if item.task != "definition" else vocabulary_definition(vocabulary, item)
        assert item.context == PROMPTS[item.task].format(asked)


def vocabulary_definition(vocabulary, item):
    return next(synset.definition for synset in vocabulary.synsets.values() if synset.name == item.sense)


def test_a_ladder_has_trained_and_heldout_relations_beside_the_heldout_words(vocabulary, items):
    lexicon = LEXICON.model_copy(update={"heldout_pairs": 0.4})
    held = heldout_words(vocabulary.pos, 0, 0.5)
    # Every word has a trained relation of each kind; the pairs that are free were trained, but for those of one word.
    pairs = {(item.word, item.choices[item.answer][1:]) for item in build_ladder(lexicon, vocabulary, AnyPair())}
    left_out = sorted(word for word, _ in pairs)[0]
    trained = {(a, b, r) for a, b in pairs for r in (1, -1) if a != left_out}
    trained |= {(a, "x", r) for a, _ in pairs for r in (1, -1)}
    found = build_ladder(lexicon, vocabulary, trained)
    assert [item for item in found if item.rung == "word"] == items  # the same as without a ladder
    for item in found:
        answer = item.choices[item.answer][1:]
        free = item.word not in held and answer not in held
        is_held = bool(heldout_pairs([(item.word, answer)], 0, 0.4))
        assert (item.rung == "trained") == (free and not is_held) and (item.rung == "relation") == (free and is_held)
        assert item.rung != "trained" or item.word != left_out
    counts = Counter((item.task, item.rung) for item in found)
    assert min(counts[task, rung] for task in ("synonym", "antonym") for rung in ("trained", "relation")) > 10
    assert counts["definition", "trained"] == counts["definition", "relation"] == 0
    assert len({item.id for item in found}) == len(found)
    few = build_items(lexicon, 0, 5, vocabulary, trained)
    assert set(Counter((item.task, item.rung) for item in few).values()) == {5}


class AnyPair(frozenset):
    """All relations there could be."""

    def __contains__(self, relation):
        return True

    def __bool__(self):
        return True


def build_ladder(lexicon, vocabulary, trained):
    return build_items(lexicon, 0, 10**6, vocabulary, trained)


def test_answers_are_right_by_wordnet(items, reader):
    for item in items:
        answer = item.choices[item.answer].strip()
        lemmas = {lemma.name(): lemma for lemma in reader.synset(item.sense).lemmas()}
        if item.task == "synonym":
            assert {item.word, answer} <= set(lemmas) and item.word != answer
        elif item.task == "antonym":
            assert answer in {other.name() for other in lemmas[item.word].antonyms()}
        else:
            assert answer == item.word in lemmas


def test_choices_are_four_usable_words_of_one_part_of_speech(items, vocabulary):
    for item in items:
        words = [choice[1:] for choice in item.choices]
        assert len(set(words)) == CHOICES and all(choice[0] == " " for choice in item.choices)
        assert all(word.isalpha() and word.islower() and len(word) >= 3 for word in words)
        assert {vocabulary.pos[word] for word in words} == {item.pos}
        assert all(abs(len(word) - len(words[item.answer])) <= 3 for word in words)


def test_no_distractor_is_related_to_word_or_answer(items, vocabulary):
    for item in items:
        words = [choice[1:] for choice in item.choices]
        answer = words.pop(item.answer)
        banned = related_words(vocabulary, item.word) | related_words(vocabulary, answer)
        assert not banned & set(words)
        assert not any(alike(word, answer) or alike(word, item.word) for word in words)


def test_related_words_are_what_nltk_links(reader, vocabulary):
    for word in vocabulary.ranked["n"][::60]:
        linked = {word}
        for synset in reader.synsets(word, "n"):
            near = [synset, *synset.hypernyms(), *synset.hyponyms()]
            near += [other.synset() for lemma in synset.lemmas() for other in lemma.antonyms()]
            linked |= {name.lower() for other in near for name in other.lemma_names()}
        assert related_words(vocabulary, word) == linked


def test_related_adjectives_reach_through_their_cluster(tmp_path):
    prepare(write_wordnet(tmp_path / "raw"), tmp_path / "nltk")
    small = read_vocabulary(open_wordnet(tmp_path / "nltk"))
    assert related_words(small, "speedy") == {"rapid", "speedy", "fast", "slow", "unhurried"}


def test_a_word_that_is_seen_twice_is_usable_and_one_seen_once_is_not(tmp_path):
    synsets = [(word, "n", [word], [], "a thing") for word in ("once", "twice", "never")]
    prepare(write_wordnet(tmp_path / "raw", synsets, {"once%1:00:00::": 1, "twice%1:00:00::": 2}), tmp_path / "nltk")
    assert read_vocabulary(open_wordnet(tmp_path / "nltk")).pos == {"twice": "n"}


def test_proper_nouns_and_words_alike_are_not_asked(items, vocabulary):
    seen = {item.word for item in items} | {choice.strip() for item in items for choice in item.choices}
    assert not {"Venice", "venice", "Serenissima", "serenissima"} & seen
    assert not any(item.task == "synonym" and item.word in {"colour", "colours"} for item in items)
    assert alike("happy", "unhappy") and alike("theater", "theatre") and not alike("hot", "cold")


def test_answers_are_spread_evenly_over_the_places(items):
    for task in PROMPTS:
        counts = Counter(item.answer for item in items if item.task == task)
        assert set(counts) == set(range(CHOICES)) and max(counts.values()) - min(counts.values()) <= 1


def test_neither_frequency_nor_length_gives_the_answer_away(items, vocabulary):
    for task in PROMPTS:
        some = [item for item in items if item.task == task]
        error = (0.25 * 0.75 / len(some)) ** 0.5
        for rule, accuracy in baseline_accuracy(some, vocabulary.frequency).items():
            assert abs(accuracy - 0.25) < 3.5 * error, (task, rule, accuracy, len(some))


def test_baselines_by_hand():
    def item(choices, answer):
        return Item("synonym", "i", "w", "c", tuple(f" {choice}" for choice in choices), answer, "n", "s")

    two = [item(["aaa", "bbbb", "cccc", "ddddd"], 1), item(["aaa", "bbb", "eee", "fffff"], 3)]
    frequency = {"bbbb": 9, "cccc": 9, "aaa": 1}
    found = baseline_accuracy(two, frequency)
    assert found["most_frequent"] == 0.25  # half of the first: two are as frequent; none of the second
    assert found["longest"] == 0.5 and found["shortest"] == 0.0
    assert found["least_frequent"] == pytest.approx(1 / 6)  # bbb, eee, fffff are absent alike
    assert baseline_accuracy([], frequency) == {}


def test_fewer_items_are_the_first_of_more_and_seeds_differ(items, reader):
    few = build_items(LEXICON, 0, 20, read_vocabulary(reader))
    assert Counter(item.task for item in few) == {task: 20 for task in PROMPTS}
    for task in PROMPTS:
        assert [i for i in few if i.task == task] == [i for i in items if i.task == task][:20]
    assert few != build_items(LEXICON, 1, 20, read_vocabulary(reader))


def test_nothing_held_out_gives_no_items(reader):
    assert build_items(LEXICON.model_copy(update={"heldout_share": 0.0}), 0, 10, read_vocabulary(reader)) == []
