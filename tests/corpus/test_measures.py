import pytest

from dskd.corpus.measures import shown


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("12 km mi", "12 km"),
        ("12 km 0", "12 km"),  # rounded to a whole number
        ("12", "12"),
        ("", ""),
        ("3 to 5 km mi", "3 to 5 km"),
        ("3 and 5 km", "3 and 5 km"),
        ("3 or 5 km", "3 or 5 km"),
        ("3 and(-) 5 km", "3 and 5 km"),
        ("3 to(-) 5 km", "3 to 5 km"),
        ("3 - 5 km mi 0", "3–5 km"),
        ("3 – 5 km", "3–5 km"),
        ("10 by 20 m", "10 by 20 m"),
        ("10 x 20 x 30 m ft", "10 × 20 × 30 m"),
        ("10 × 20 m", "10 × 20 m"),
        ("10 +/- 2 kg lb", "10 ± 2 kg"),
        ("10 ± 2 kg", "10 ± 2 kg"),
        ("10 + 2 kg", "10 + 2 kg"),
        ("-19 to 22 C", "-19 to 22 C"),
        ("6 ft 2 in m", "6 ft 2 in"),
        ("6 ft 2+1/2 in m", "6 ft 2+1/2 in"),
        ("11 st 4 lb kg 0", "11 st 4 lb"),
        ("1 mi 5 yd 2 ft m", "1 mi 5 yd 2 ft"),
        ("6 ft 2", "6 ft"),
        ("6 m 2 in", "6 m"),
        ("3 to", "3 to"),
    ],
)
def test_a_measure_is_shown_as_wikipedia_shows_it(arguments, text):
    assert shown(arguments.split()) == text


def test_words_between_two_values_may_be_several():
    assert shown(["3", "to about", "5", "km"]) == "3 to about 5 km"
    assert shown(["3", ", and", "5", "km"]) == "3, and 5 km"
