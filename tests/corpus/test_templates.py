import pytest

from dskd.corpus.templates import measure, shown


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
    assert measure(arguments.split()) == text


def test_words_between_two_values_may_be_several():
    assert measure(["3", "to about", "5", "km"]) == "3 to about 5 km"
    assert measure(["3", ", and", "5", "km"]) == "3, and 5 km"


@pytest.mark.parametrize(
    ("name", "values", "named", "text"),
    [
        ("ndash", [], {}, "–"),
        ("snd", [], {}, " – "),
        ("nbsp", [], {}, " "),
        ("'s", [], {}, "'s"),
        ("formatnum:12345", [], {}, "12,345"),
        ("formatnum:1.5", [], {}, "1.5"),
        ("lang-fr", ["eau"], {}, "eau"),
        ("lang", ["fr", "eau"], {}, "eau"),
        ("transl", ["ru", "ALA", "Moskva"], {}, "Moskva"),
        ("transl", ["ru", "Moskva"], {}, "Moskva"),
        ("resize", ["88%", "small letters"], {}, "small letters"),
        ("abbr", ["EU", "European Union"], {}, "EU"),
        ("quote", [], {"text": "So it goes.", "author": "V."}, "So it goes."),
        ("quote", ["So it goes.", "V."], {}, "So it goes."),
        ("nihongo", ["Aikido", "合気道"], {"lead": "yes"}, "Aikido"),
        ("frac", ["3"], {}, " 1/3"),
        ("frac", ["1", "2"], {}, " 1/2"),
        ("sfrac", ["2", "1", "2"], {}, " 2 1/2"),
        ("as of", ["2011"], {}, "As of 2011"),
        ("as of", ["2011", "12", "31"], {"lc": "y"}, "as of 31 December 2011"),
        ("as of", ["2011", "May"], {"since": "y"}, "Since May 2011"),
        ("as of", ["2011"], {"alt": "In 2011"}, "In 2011"),
        ("val", ["5.2"], {"u": "kg"}, "5.2 kg"),
        ("val", ["5.2"], {"e": "6"}, "5.2×10^6"),
        ("e", ["24"], {}, "×10^24"),
        ("us$", ["5"], {}, "US$5"),
        ("hms", ["Hood", "51"], {}, "HMS Hood"),
        ("ship", ["", "Olympic"], {}, "Olympic"),
        ("circa", ["1900"], {}, "c. 1900"),
        ("chem", ["H", "2", "O"], {}, "H2O"),
        ("ill", ["de", "Gymnasium"], {}, "Gymnasium"),
        ("convert", ["12", "km", "mi"], {}, "12 km"),
        ("infobox person", ["a"], {"text": "b"}, ""),
        ("val", [], {}, ""),
        ("lang", ["fr"], {}, ""),
    ],
)
def test_a_template_in_a_sentence_is_shown_as_wikipedia_shows_it(name, values, named, text):
    assert shown(name, values, named) == text
