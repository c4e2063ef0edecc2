"""The tables of docs/parameters.md: every parameter with its type in plain words, its value and its meaning.

All of it comes from the typed definitions in `dskd/params`.
"""

import json

import pandas as pd

from dskd.params import CODEC, Params

# The patterns of dskd/params in words; a pattern that is not here is shown as it is.
_PATTERNS = {
    "^[0-9a-f]{64}$": "64 hexadecimal digits",
    r"^[0-9a-f]{64}( \+ [0-9a-f]{64})*$": "64 hexadecimal digits, for several archives with ` + ` between",
    "^[a-z]{2,3}$": "two or three letters",
    "^([a-z]+-|-[a-z]+)$": "texts like un- or -less",
    r"^[a-z_]+\.[a-z0-9_]+$": "two names with a full stop between",
    CODEC: "`exact`, `senses`, `token_mean`, `random_sense`, `context`, `context+senses`, `context+token_mean`, "
    "`senses+M`, `context+M`, `context+senses+M` or `residual+M` with M from 1 to 99",
}
# The models of dskd/params that a parameter may be, in words.
_GROUPS = {
    "Source": "a source",
    "PairLists": "two lists",
    "PromptSet": "a set",
    "Primary": "a test",
    "Lora": "two numbers",
}
_PLURALS = {"a test": "tests", "text": "texts", "whole number": "whole numbers"}

# Group of params.yaml -> the models whose fields have a table of their own there, each with a line before it.
_OWN_TABLES = {
    "sources": {"Source": "A source has these keys:", "PairLists": "Each name under `lists` has these keys:"},
    "prompts": {"PromptSet": "Each name under `sets` has these keys:"},
    "study": {"Primary": "Each test of `primary` has these keys:"},
    "student": {"Lora": "The two numbers of `lora` have these keys:"},
}


def parameters_block(params: Params) -> str:
    """Markdown: for each group of `params.yaml`, in the file's order, a section with its tables."""
    schema = Params.model_json_schema()
    groups = {name: (field, getattr(params, name)) for name, field in schema["properties"].items()}
    return "\n\n".join(_section(name, field, value, schema["$defs"]) for name, (field, value) in groups.items())


def _section(name: str, field: dict, value: object, models: dict) -> str:
    head = f"## {name}\n\n{field['description']}"
    if "additionalProperties" in field:  # objectives: each name of the user's has the same fields
        values = [{"objective": key, **_shown(inner.model_dump())} for key, inner in value.items()]
        fields = _fields(models[_reference(field["additionalProperties"])])
        return f"{head}\n\n{_table(fields)}\n\nThe {name} in params.yaml:\n\n{_table(values)}"
    parts = [head, _table(_fields(models[_reference(field)], value.model_dump()))]
    for model, title in _OWN_TABLES.get(name, {}).items():
        parts.append(f"{title}\n\n{_table(_fields(models[model]))}")
    return "\n\n".join(parts)


def _fields(model: dict, values: dict | None = None) -> list[dict]:
    """One row for each field of a model (a JSON schema), with a column of values if they are given."""
    shown = _shown(values or {})
    rows = []
    for name, field in model["properties"].items():
        row = {"name": f"`{name}`", "type": in_words(field)}
        if name not in model.get("required", ()):
            default = field["default"]
            row["type"] += "; may be left out" + (f", then {_in_yaml(default)}" if default is not None else "")
        if values is not None:
            row["params.yaml"] = shown[name]
        rows.append(row | {"meaning": field["description"]})
    return rows


def in_words(field: dict) -> str:
    """The type of a field of a JSON schema in plain words, with its bounds: "whole number, at least 1".

    Raises:
        KeyError: the words for a type are missing here.
    """
    if "anyOf" in field:
        return " or ".join(in_words(kind) for kind in field["anyOf"])
    if "enum" in field:
        *others, last = (f"`{value}`" for value in field["enum"])
        return f"{', '.join(others)} or {last}"
    if "$ref" in field:
        return _GROUPS[_reference(field)]
    kind = field["type"]
    if kind == "array":
        return f"list of {'one or more ' if field.get('minItems') else ''}{_plural(in_words(field['items']))}"
    if kind == "object":
        named = field.get("patternProperties", {"": field.get("additionalProperties")})
        return "; ".join(f"for each name: {in_words(inner)}" for inner in named.values())
    if kind == "string":
        pattern = field.get("pattern")
        words = _PATTERNS.get(pattern, f"text of the form `{pattern}`") if pattern else "text"
        return words + (", not empty" if field.get("minLength") else "")
    words = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", "null": "`null`"}[kind]
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    found = [f"{word} {field[bound]:g}" for bound, word in bounds.items() if bound in field]
    if "minimum" in field and "maximum" in field:
        found = [f"from {field['minimum']:g} to {field['maximum']:g}"]
    return f"{words}, {' and '.join(found)}" if found else words


def _plural(words: str) -> str:
    first, comma, bounds = words.partition(",")
    return _PLURALS.get(first, first) + comma + bounds


def _shown(values: dict) -> dict[str, str]:
    """Values as params.yaml could have them; of a source only where it is from."""
    shown = {}
    for name, value in values.items():
        if isinstance(value, dict) and "source" in value:
            value = value["source"]
        shown[name] = _in_yaml(value)
    return shown


def _in_yaml(value: object) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"  # JSON is YAML


def _reference(field: dict) -> str:
    return field["$ref"].rpartition("/")[2]


def _table(rows: list[dict]) -> str:
    # A bar would end the cell, within code, too.
    escaped = [{key: text.replace("|", r"\|") for key, text in row.items()} for row in rows]
    return pd.DataFrame(escaped).to_markdown(index=False, disable_numparse=True)
