"""What a page holds is what was put into it, in fewer bytes."""

import random

import numpy as np
import pytest

from dskd.explore.packing import Window, join_windows, packed, smallest, unpacked

WORDS = "the river has a wet bank and the town has a new bank that lends and a bank of fog lay over it".split()


def windows(text: list[str], name: str, width: int = 5) -> list[Window]:
    cut = [(text[max(0, i - width) : i], word, text[i + 1 : i + 1 + width]) for i, word in enumerate(text)]
    return [Window(name, " ".join(a), f" {word}", "".join(f" {w}" for w in b)) for a, word, b in cut]


def test_windows_are_joined_to_the_text_that_they_were_cut_from():
    lines, places = join_windows(windows(WORDS, "wiki:A") + windows(WORDS[:4], "gloss:b.n.01"))
    assert lines == ["wiki:A\t " + " ".join(WORDS), "gloss:b.n.01\t the river has a"]
    text = "\n".join(lines)
    assert [text[place:].split()[0] for place in places] == WORDS + WORDS[:4]


def test_windows_that_do_not_meet_are_lines_of_their_own():
    far = [windows(WORDS, "wiki:A", 2)[i] for i in (3, 12)]
    lines, places = join_windows(far)
    assert len(lines) == 2 and "\n".join(lines)[places[1] :].startswith("that" if WORDS[12] == "that" else WORDS[12])


def test_every_window_is_in_the_text_whatever_the_order():
    draw = np.random.default_rng(0)
    every = [windows(WORDS * 9, "wiki:A", 3)[i] for i in draw.permutation(9 * len(WORDS))]
    lines, places = join_windows(every)
    text = "\n".join(lines)
    for window, place in zip(every, places):
        assert text[: place - 1].endswith(window.left) and text[place - 1 :].startswith(window.word + window.right)


def test_columns_come_back_as_they_were():
    columns = {
        "words": ["bank", "Ünïcode", "</script>"],
        "none": [],
        "text": "a\nb\u2028c",
        "small": np.array([0, 255], np.uint8),
        "signed": np.array([-128, 127, 0], np.int8),
        "wide": np.array([1, 2**31, 2**32 - 1], np.uint32),
        "empty": np.zeros(0, np.uint16),
    }
    back = unpacked(packed(columns))
    assert list(back) == list(columns)
    for name, column in columns.items():
        if isinstance(column, np.ndarray):
            assert back[name].dtype == column.dtype and back[name].tolist() == column.tolist()
        else:
            assert back[name] == column
    assert packed(columns) == packed(columns) and "<" not in packed(columns)


@pytest.mark.parametrize(("most", "bytes_"), [(0, 1), (255, 1), (256, 2), (65535, 2), (65536, 4)])
def test_numbers_take_as_few_bytes_as_they_need(most, bytes_):
    assert smallest([0, most]).itemsize == bytes_ and smallest([0, most])[1] == most


def test_there_may_be_no_numbers():
    assert smallest([]).tolist() == []


@pytest.mark.parametrize("value", [-1, 2**32])
def test_a_number_that_has_no_place_is_an_error_and_not_another_number(value):
    with pytest.raises(ValueError, match="numbers from 0 to 4294967295"):
        smallest([0, value])


def test_a_line_that_would_be_two_is_an_error():
    with pytest.raises(ValueError, match="'words' has an end within it"):
        packed({"words": ["so", "much\nmore"]})
    assert unpacked(packed({"words": []})) == {"words": []}


def test_a_line_that_would_be_none_is_an_error():
    assert unpacked(packed({"words": ["", ""], "none": []})) == {"words": ["", ""], "none": []}
    with pytest.raises(ValueError, match="the only line of 'words' is empty"):
        packed({"words": [""]})


def test_places_never_go_back_where_a_text_repeats_itself():
    """A step back has no number on the page: it became a leap forward, and all contexts after it stood elsewhere."""
    for seed in range(100):
        draw = random.Random(seed)
        words = [draw.choice(["la", "lala", "so"]) for _ in range(30)]
        chosen = sorted(draw.sample(range(30), 15))
        windows = [
            Window(
                "song", " ".join(words[max(0, i - 2) : i]), f" {words[i]}", "".join(f" {w}" for w in words[i + 1 :][:2])
            )
            for i in chosen
        ]
        joined = join_windows(windows)
        text = "\n".join(joined.lines)
        assert joined.places == sorted(joined.places)
        for place, window in zip(joined.places, windows):
            assert text[: place - 1].endswith(window.left) and text[place:].startswith(
                f"{window.word.strip()}{window.right}"
            )
