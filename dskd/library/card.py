"""The card of a sense dictionary that is shared: what it is of, how large, and under which licence."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from huggingface_hub import ModelCardData

_TEMPLATE = """---
{front_matter}
---

# Senses of {teacher}

For each of {tokens:,} tokens the clusters of a language model's last hidden states, the token's *senses*:
{senses:,} vectors of {width} dimensions.

- **Teacher**: {teacher}. A state means something beside states of this model alone.
- **Text** that it read: {text}, {read:,} tokens.
- **Licence**: {licence}.

```python
import dskd

dictionary = dskd.SenseDictionary.from_pretrained(".")
for sense in dictionary.of("bank"):
    print(sense.states, *sense.contexts)
```

| figure | value |
| --- | --- |
{figures}

Made by [dskd](https://arxiv.org/abs/2602.22351) with these settings:

| setting | value |
| --- | --- |
{settings}

`senses.safetensors` has the vectors (`centroids`) with `offsets`: the senses of token `tokens[t]` are the rows
`offsets[t]` to `offsets[t + 1]`. `counts` are the states in each, `contexts.json` has places of the text where it was
met.
"""

_FIGURES = {
    "read": "tokens that the teacher read",
    "tokens": "tokens with a sense",
    "several": "of these, with two senses or more",
    "senses": "senses",
    "states": "states in them",
    "single": "share of senses that are a single state",
    "heldout_states": "states of other text, to measure with",
    "variance": "share of their variance that the nearest sense explains",
    "variance_one_sense": "the same with one sense for each token",
}


class About(NamedTuple):
    """What who is given a dictionary has to know of it."""

    teacher: str = ""  # the model's name; left out: what its configuration says
    text: str = "a text that is not named"  # that the teacher read
    licence: str = "unknown"  # of the dictionary, as the hub writes it: "apache-2.0", "cc-by-sa-4.0"


def dictionary_card(about: About, settings: Mapping[str, object], figures: Mapping[str, float], width: int) -> str:
    """The text of README.md in a dictionary's folder, with the front matter that the hub reads."""
    on_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", about.teacher)
    front_matter = ModelCardData(
        license=about.licence,
        library_name="dskd",
        tags=["dskd", "sense-dictionary"],
        base_model=about.teacher if on_hub else None,
    )
    return _TEMPLATE.format(
        front_matter=front_matter.to_yaml(),
        teacher=about.teacher,
        text=about.text,
        licence=about.licence,
        width=width,
        read=figures["read"],
        tokens=figures["tokens"],
        senses=figures["senses"],
        figures=_rows({title: figures[key] for key, title in _FIGURES.items() if key in figures}),
        settings=_rows({f"`{name}`": value for name, value in settings.items()}),
    )


def _rows(values: Mapping[str, object]) -> str:
    shown = ((name, f"{value:,.3f}" if isinstance(value, float) else f"{value}") for name, value in values.items())
    return "\n".join(f"| {name} | {value} |" for name, value in shown)
