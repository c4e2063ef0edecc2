"""docs/parameters.md: every parameter with its type in plain words, its value and its meaning, from the typed
definitions."""

import json

import pandas as pd

from dskd.params import Params

# The patterns of dskd/params.py in words; one that is not here is shown as it stands.
_PATTERNS = {
    "^[0-9a-f]{64}$": "64 hexadecimal digits",
    "^[a-z]{2,3}$": "two or three letters",
    "^([a-z]+-|-[a-z]+)$": "texts like un- or -less",
}
_GROUPS = {
    "Source": "a source",
    "PairLists": "lists",
    "PromptSet": "a set",
    "Lora": "`{rank: whole number, alpha: number}`",
}
_PLURALS = {"text": "texts", "whole number": "whole numbers"}


def parameters_block(params: Params) -> str:
    """Markdown: a section a group of `params.yaml` with one table, in the file's order."""
    schema = Params.model_json_schema()
    groups = {name: (field, getattr(params, name)) for name, field in schema["properties"].items()}
    return "\n\n".join(_section(name, field, value, schema["$defs"]) for name, (field, value) in groups.items())


def _section(name: str, field: dict, value: object, models: dict) -> str:
    head = f"## {name}\n\n{field['description']}"
    if "additionalProperties" in field:  # objectives: the same fields under names of one's own
        values = [{"objective": key, **_shown(inner.model_dump())} for key, inner in value.items()]
        fields = _fields(models[_reference(field["additionalProperties"])])
        return f"{head}\n\n{_table(fields)}\n\n{_table(values)}"
    parts = [head, _table(_fields(models[_reference(field)], value.model_dump()))]
    if name == "sources":
        for title, model in (("A source", "Source"), ("Lists", "PairLists")):
            parts.append(f"{title}:\n\n{_table(_fields(models[model]))}")
    if name == "prompts":
        parts.append(f"A set:\n\n{_table(_fields(models['PromptSet']))}")
    return "\n\n".join(parts)


def _fields(model: dict, values: dict | None = None) -> list[dict]:
    """One row a field of a model (a JSON schema); a column of values where they are given."""
    shown = _shown(values or {})
    rows = []
    for name, field in model["properties"].items():
        row = {"name": f"`{name}`", "type": in_words(field)}
        if name not in model.get("required", ()):
            row["type"] += ", or left out" + (f" for `{field['default']}`" if field["default"] else "")
        if values is not None:
            row["params.yaml"] = shown[name]
        rows.append(row | {"meaning": field["description"]})
    return rows


def in_words(field: dict) -> str:
    """The type of a field of a JSON schema in plain words, with its bounds: "whole number, at least 1".

    Raises:
        KeyError: a kind of type that has no words yet.
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
    """Values as params.yaml could have them (JSON is YAML); of a source only where it is from."""
    shown = {}
    for name, value in values.items():
        if isinstance(value, dict) and "source" in value:
            value = value["source"]
        shown[name] = f"`{value if isinstance(value, str) else json.dumps(value)}`"
    return shown


def _reference(field: dict) -> str:
    return field["$ref"].rpartition("/")[2]


def _table(rows: list[dict]) -> str:
    # A bar would end the cell, in code too.
    escaped = [{key: text.replace("|", r"\|") for key, text in row.items()} for row in rows]
    return pd.DataFrame(escaped).to_markdown(index=False, disable_numparse=True)
