import pytest

from dskd.benchmarks.squad import NO_ANSWER, answer_text, exact_match, f1, normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Normans", "normans"),
        ("  a\tdog,\n an  ape ", "dog ape"),
        ("Theatre, another thesis", "theatre another thesis"),  # articles are whole words
        ("well-known", "wellknown"),  # punctuation goes, and joins what it parted
        ("the well - known", "well known"),
        ("U.S.A.", "usa"),
        ("$1,000.50", "100050"),
        ("a.", ""),  # punctuation first: what is left is an article
        ("A-the", "athe"),  # and what is joined is none
        ("The, a; an!", ""),
        ("?!...", ""),
        ("", ""),
        ("ÉCOLE Straße", "école straße"),
        ("“the end”", "“ end”"),  # only ASCII punctuation goes; but a quotation mark bounds a word
        ("a–b the—c", "–b —c"),  # so does a dash
        ("a\u00a0dog\u2003ran", "dog ran"),  # white space is Unicode's
    ],
)
def test_normal_form(text, expected):
    assert normalise(text) == expected
    assert normalise(expected) == expected


@pytest.mark.parametrize(
    ("prediction", "golds", "em", "score"),
    [
        ("the Eiffel Tower!", ["Eiffel tower"], 1, 1.0),
        ("Paris", ["London"], 0, 0.0),
        # 1 shared token, precision 1/3, recall 1/1: 2 · 1/3 · 1 / (1/3 + 1) = 1/2
        ("in northern France", ["France"], 0, 1 / 2),
        # 2 shared, precision 2/4, recall 2/3: 2 · 1/2 · 2/3 / (1/2 + 2/3) = (2/3) / (7/6) = 4/7
        ("King John of England", ["John England II"], 0, 4 / 7),
        # order does not matter to F1, and does to exact match
        ("tower eiffel", ["Eiffel Tower"], 0, 1.0),
        # repeated tokens count as often as on both sides: min(3, 2) + min(0, 1) = 2, precision 2/3, recall 2/3
        ("very very very", ["very very good"], 0, 2 / 3),
        # min(2, 1) = 1: precision 1/2, recall 1/1: 2 · 1/2 / (3/2) = 2/3
        ("York York", ["York"], 0, 2 / 3),
        # hyphens: {wellknown, man} and {well, known, man} share 1: precision 1/2, recall 1/3: (1/3) / (5/6) = 2/5
        ("a well-known man", ["the well known man"], 0, 2 / 5),
        ("10 000", ["10,000"], 0, 0.0),
        ("1,000", ["1000"], 1, 1.0),
        # an accent tells words apart
        ("cafe noir", ["café noir"], 0, 1 / 2),
        ("CAFÉ noir", ["café noir"], 1, 1.0),
        # the best of several golds: 1/1 and 1/3 with the first (1/2), 1/1 and 1/2 with the second (2/3)
        ("Bohemond", ["Prince Bohemond I", "Bohemond I", "Roger"], 0, 2 / 3),
        ("Bohemond I", ["Prince Bohemond", "bohemond i."], 1, 1.0),
        # no golds: unanswerable
        ("", [], 1, 1.0),
        ("Paris", [], 0, 0.0),
        ("The...", [], 1, 1.0),  # no tokens are no answer
        # answerable, and nothing said
        ("", ["Paris"], 0, 0.0),
        ("the", ["Paris"], 0, 0.0),
        # golds without tokens are passed over, unless there is no other
        ("", ["The", "Paris"], 0, 0.0),
        ("Paris", ["The", "Paris"], 1, 1.0),
        ("", ["The", "..."], 1, 1.0),
        ("Paris", ["The"], 0, 0.0),
    ],
)
def test_scores_by_hand(prediction, golds, em, score):
    assert exact_match(prediction, golds) == em and type(exact_match(prediction, golds)) is int
    assert f1(prediction, golds) == pytest.approx(score, abs=1e-12) and type(f1(prediction, golds)) is float


def test_f1_is_symmetric_for_one_gold():
    for a, b in [("one two two", "two three"), ("x y z", "z"), ("well-known", "known well")]:
        assert f1(a, [b]) == f1(b, [a])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Paris", "Paris"),
        ("  Paris.  \nQuestion: and", "Paris."),
        ("\n\n Paris\r\nmore", "Paris"),
        (NO_ANSWER, ""),
        ("no answer.", ""),
        (" NO ANSWER \nbecause", ""),
        ("No answer..", "No answer.."),
        ("No answers", "No answers"),
        ("There is no answer", "There is no answer"),
        ("No.", "No."),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_answer_in_what_a_model_wrote(text, expected):
    assert answer_text(text) == expected


def test_saying_no_answer_is_scored_as_none():
    assert f1(answer_text("No answer."), []) == exact_match(answer_text("no answer"), []) == 1
    assert f1(answer_text("No answer"), ["answer"]) == 0  # not the words
    assert f1("No answer", ["answer"]) == pytest.approx(2 / 3)
