"""The card of a sense dictionary, README.md of its folder: what it is of, how large and how good it is, its licence."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from huggingface_hub import ModelCardData

from dskd.senses.store import Senses

CARD_TAG = "sense-dictionary"  # by which the hub finds them, and a card is known
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

dictionary = dskd.SenseDictionary.from_pretrained("{place}")
for sense in dictionary.of("{example}"):
    print(sense.states, *sense.contexts)
```

| figure | value |
| --- | --- |
{figures}
{measures}
Made by [dskd](https://arxiv.org/abs/2602.22351) with these settings:

| setting | value |
| --- | --- |
{settings}

`senses.safetensors` has the vectors (`centroids`) with `offsets`: the senses of token `tokens[t]` are the rows
`offsets[t]` to `offsets[t + 1]`. `counts` are the states in each. The other files are the teacher's tokenizer and
places of the text where each sense was met.
{licences}"""

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


class More(NamedTuple):
    """What the card of a run's dictionary says besides, in Markdown."""

    place: str = "."  # what `from_pretrained` takes
    example: str = "bank"
    measures: str = ""  # how good the senses are
    licences: str = ""  # of the sources, where there are several
    licence_file: str = ""  # of the folder, which has them too


def dictionary_card(
    senses: Senses,
    about: About,
    settings: Mapping[str, object],
    figures: Mapping[str, float] | None = None,
    more: More | None = None,
) -> str:
    """The text of README.md in a dictionary's folder, with the front matter that the hub reads.

    Args:
        settings: what it was made with.
        figures: measures of `SenseDictionary.measured`, beside the plain counts.
        more: left out, there are no other measures, and one licence.
    """
    more = more or More()
    counts = size_figures(senses)
    shown = counts | dict(figures or {})
    return _TEMPLATE.format(
        front_matter=_front_matter(about, more.licence_file),
        teacher=about.teacher,
        text=about.text,
        licence="those of the sources, below" if more.licences else about.licence,
        width=senses.centroids.shape[1],
        read=counts["read"],
        tokens=counts["tokens"],
        senses=counts["senses"],
        place=more.place,
        example=more.example,
        figures=_rows({title: shown[key] for key, title in _FIGURES.items() if key in shown}),
        measures=f"\n## How good it is\n\n{more.measures}\n" if more.measures else "",
        settings=_rows({f"`{name}`": value for name, value in settings.items()}),
        licences=f"\n## Licences\n\n{more.licences}\n" if more.licences else "",
    )


def size_figures(senses: Senses) -> dict[str, float]:
    """How large a dictionary is: the plain counts of its card."""
    return {
        "read": int(senses.occurrences.sum()),
        "tokens": len(senses.tokens),
        "several": int((senses.offsets.diff() > 1).sum()),
        "senses": len(senses.centroids),
        "states": int(senses.counts.sum()),
        "single": round(float((senses.counts == 1).double().mean()), 4),
    }


def _front_matter(about: About, licence_file: str) -> str:
    on_hub = re.fullmatch(r"(?:hf:)?([\w.-]+/[\w.-]+)(?:@\S*)?", about.teacher)
    data = ModelCardData(
        license="other" if licence_file else about.licence,
        license_name="licences-of-the-sources" if licence_file else None,
        license_link=licence_file or None,
        library_name="dskd",
        tags=["dskd", CARD_TAG],
        base_model=on_hub[1] if on_hub else None,
    )
    return data.to_yaml(original_order=["license"])


def _rows(values: Mapping[str, object]) -> str:
    shown = ((name, f"{value:,.3f}" if isinstance(value, float) else f"{value}") for name, value in values.items())
    return "\n".join(f"| {name} | {value} |" for name, value in shown)
