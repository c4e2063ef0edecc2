"""What those of Wikipedia's templates show that stand in a sentence: a mark, a number, a measure, a word of another
language. All others, such as notes, boxes and tables, are no part of it."""

import calendar
import re
from collections.abc import Callable, Mapping

# {{convert|3|to|5|km|mi}}: what stands between two values, and how it is shown.
_RANGES = {word: f" {word} " for word in ("and", "by", "or", "to", "to about", "+", "/", "&")} | {
    **dict.fromkeys(("-", "–", "--", "—"), "–"),
    **dict.fromkeys(("x", "xx", "×", "*"), " × "),
    **dict.fromkeys(("+/-", "±", "+/−"), " ± "),
    **{f"{word}{form}": f" {word} " for word in ("and", "by", "or", "to") for form in ("(-)", "(x)")},
    **{",": ", ", ", and": ", and ", ", or": ", or ", "x(by)": " by ", "through": " through "},
}
# Units that follow one another in one measure: {{convert|6|ft|2|in|m}}.
_DIVIDED = set(
    "mi mile miles furlong ch chain yd yard yards fathom ft foot feet in inch inches hand long LT short ST cwt qtr st "
    "stone lb lbs lbt pound pounds oz ounce ounces ozt dwt drachm gr gal USgal impgal qt USqt impqt pt USpt oz".split()
)
_NUMBER = re.compile(r"[-+−]?[\d.,]*\d[\d.,/+⁄]*")


def measure(values: list[str]) -> str:
    """What {{convert}} shows before its parentheses: "12 km" of 12, km, mi; "3 to 5 km" of 3, to, 5, km; "6 ft 2 in".

    Args:
        values: the template's positional arguments, of which it can have any.
    """
    values, text = list(values), ""
    while values:
        text += values.pop(0)
        if len(values) > 1 and values[0] in _RANGES:
            text += _RANGES[values.pop(0)]
            continue
        unit = values.pop(0) if values else ""
        text += f" {unit}"
        # A number may follow that is no measure: to how many digits the converted one is rounded.
        if not (len(values) > 1 and unit in _DIVIDED and values[1] in _DIVIDED and _NUMBER.fullmatch(values[0])):
            break
        text += " "
    return text.strip()


# A name, in small letters -> what the template shows whatever its arguments are.
_MARKS = {
    **dict.fromkeys(("ndash", "en dash", "–"), "–"),
    **dict.fromkeys(("snd", "snds", "spnd", "spaced ndash", "spaced en dash"), " – "),
    **dict.fromkeys(("mdash", "mdashb", "em dash", "—"), "—"),
    **dict.fromkeys(("spaced mdash", "spaced em dash"), " — "),
    **dict.fromkeys(("nbsp", "space", "spaces", "thinsp"), " "),
    **dict.fromkeys(("·", "•"), " · "),
    "'": "'",
    "'s": "'s",
    "' \"": "' \"",
    "=": "=",
}
_CURRENCIES = {"us$": "US$", "a$": "A$", "c$": "C$", "£": "£", "gbp": "£", "€": "€", "euro": "€", "inr": "₹"}
_SHIPS = "hms", "hmas", "hmcs", "uss", "usns", "rms", "ss", "ms", "mv", "sms"
# Those that show an argument as it is -> which of those without a name.
_PLACES = {
    **dict.fromkeys(
        ("nowrap", "nobr", "noitalic", "nobold", "small", "smaller", "big", "larger", "sc", "smallcaps"), 0
    ),
    **dict.fromkeys(("sub", "sup", "em", "strong", "abbr", "tooltip", "linktext", "vanchor", "keypress", "chem2"), 0),
    **dict.fromkeys(("quote", "blockquote", "cquote", "bquote", "nihongo"), 0),
    **dict.fromkeys(("lang", "langx", "rtl-lang", "script", "resize"), 1),
    **dict.fromkeys(("transl", "transliteration"), -1),
}


def shown(name: str, values: list[str], named: Mapping[str, str]) -> str:
    """What a template shows in a sentence; "" for one that is no part of it.

    Args:
        name: in small letters.
        values: its arguments without a name.
        named: those with one.
    """
    if "alt" in named and name == "as of":
        return named["alt"]
    if name in _MARKS:
        return _MARKS[name]
    if name.startswith("formatnum:"):
        return _grouped(name.partition(":")[2].strip())
    if name.startswith("lang-"):
        return "".join(values[:1])
    if name in _PLACES:
        found = values[_PLACES[name] :][:1]
        return found[0] if found else named.get("text", "")
    return _MADE[name](values, named) if name in _MADE and values else ""


def _grouped(number: str) -> str:
    return f"{int(number):,}" if re.fullmatch("[0-9]+", number) else number


def _fraction(values: list[str], _: Mapping[str, str]) -> str:
    """1/3 of 3; 1/2 of 1, 2; 1 1/2 of 1, 1, 2. A space comes before it, since a number may: "2{{frac|1|2}}"."""
    *whole, above, below = ["1", *values] if len(values) == 1 else values
    return " ".join(["", *whole, f"{above}/{below}"])


def _as_of(values: list[str], named: Mapping[str, str]) -> str:
    """ "As of 31 December 2011" of 2011, 12, 31."""
    year, *rest = values
    months = [calendar.month_name[int(part)] if re.fullmatch("0?[1-9]|1[0-2]", part) else part for part in rest[:1]]
    begin = "since" if "since" in named else "as of"
    return " ".join([begin if "lc" in named else begin.capitalize(), *rest[1:2], *months, year])


def _value(values: list[str], named: Mapping[str, str]) -> str:
    """{{val|5.2|e=6|u=kg}}."""
    power = f"×10^{named['e']}" if "e" in named else ""
    unit = named.get("u") or named.get("ul") or ""
    return f"{values[0]}{power} {unit}".strip()


# Those that make something of their arguments.
_MADE: dict[str, Callable[[list[str], Mapping[str, str]], str]] = {
    **dict.fromkeys(("convert", "cvt"), lambda values, _: measure(values)),
    **dict.fromkeys(("frac", "sfrac", "fraction"), _fraction),
    **dict.fromkeys(("circa", "c.", "ca."), lambda values, _: f"c. {values[0]}"),
    **dict.fromkeys(("ill", "interlanguage link"), lambda values, _: max(values[:2], key=len)),  # "de" is the other
    **{name: lambda values, _, sign=sign: f"{sign}{values[0]}" for name, sign in _CURRENCIES.items()},
    **{name: lambda values, _, name=name: f"{name.upper()} {values[0]}" for name in _SHIPS},
    "ship": lambda values, _: " ".join(values[:2]).strip(),
    "as of": _as_of,
    "val": _value,
    "e": lambda values, _: f"×10^{values[0]}",
    "chem": lambda values, _: "".join(values),
}
