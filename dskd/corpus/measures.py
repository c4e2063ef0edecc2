"""What Wikipedia's template {{convert}} shows of its arguments: a measure, a range of measures, or a divided one."""

import re

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


def shown(values: list[str]) -> str:
    """What stands before the parentheses: "12 km" of 12, km, mi; "3 to 5 km" of 3, to, 5, km; "6 ft 2 in".

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
