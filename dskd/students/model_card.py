"""The student's model card."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import EvalResult, ModelCardData

from dskd.benchmarks.catalogue import BENCHMARKS
from dskd.infra.artifacts import reading
from dskd.params import EXACT, Params, PromptsParams, Source, SourcesParams, noncommercial

LICENCE_FILE = "LICENSE.md"  # of a student's folder; the hub looks for this name where `license` is `other`
_FIGURES = {
    "ce": "cross-entropy, nats per token",
    "kl": "KL from the teacher, nats per token",
    "agreement": "most probable token is the teacher's",
}
_TEMPLATE = """---
{front_matter}
---

# {name}

A decoder of {layers} layers, distilled by `dskd` with the objective `{objective}` and seed {seed} from a teacher of
{teacher_layers}: `{teacher}`. It starts as a copy of {origin}'s layers ({cut} cut); its last {trained} layers were
trained, all else is {origin}'s. It is an ordinary causal language model: no dictionary and no `dskd` code are
needed to run it.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
{prompt}
print(tokenizer.decode(model.generate(**ids, max_new_tokens=40, do_sample=False)[0]))
```

## Held-out text

| figure | value |
| --- | --- |
{figures}

Means over {heldout_tokens} tokens of the sources below, from documents that it was not trained on.

## Made from

SHA-256 of each artifact's content:

```json
{hashes}
```

With these parameters:

```json
{params}
```

Made by `dvc repro distill@{name}`. A teacher that comes as GGUF was dequantised, so it is not bit-equal to the model
that it was made from.

## Licences

{licences}
"""

# A row of the tables of sources and of prompts, as they are written below.
_ROW = re.compile(
    r"^\| (?P<part>.+?) \|(?P<share> [0-9.e+-]+ \|)? `(?P<source>.+)` \| (?P<licence>.*) \|$", re.MULTILINE
)

_CHAT = """ids = tokenizer.apply_chat_template(
    [{"role": "user", "content": "What is the capital of France?"}],
    add_generation_prompt=True, return_tensors="pt", return_dict=True,
)"""
_TEXT = 'ids = tokenizer("The capital of France is", return_tensors="pt")'


class Making(NamedTuple):
    """How a student was made, beside the run's parameters."""

    objective: str
    seed: int
    teacher_layers: int
    chat: bool  # whether its tokenizer has a chat template
    scores: dict[str, float]  # held-out means of "ce", "kl" and "agreement"
    heldout_tokens: int  # that these are means over
    hashes: dict[str, str]  # SHA-256 of each artifact that it was made from


def model_card(params: Params, making: Making) -> str:
    """The text of README.md in a student's folder, with the front matter that the hub reads; names `LICENCE_FILE`."""
    name = f"{making.objective}-{making.seed}"
    origin = params.student.source or params.sources.teacher
    return _TEMPLATE.format(
        front_matter=_front_matter(name, origin, making.scores).to_yaml(original_order=["license"]),
        name=name,
        objective=making.objective,
        seed=making.seed,
        teacher=params.sources.teacher.source,
        teacher_layers=making.teacher_layers,
        origin=f"`{origin.source}`" if params.student.source else "the teacher",
        layers=params.student.layers,
        trained=params.student.trained,
        cut=params.student.cut,
        prompt=_CHAT if making.chat else _TEXT,
        heldout_tokens=making.heldout_tokens,
        licences=licences(params.sources, params.student.source),
        hashes=json.dumps(making.hashes, indent=1),
        params=json.dumps(card_parameters(params, making.objective), indent=1),
        figures="\n".join(f"| {title} | {making.scores[key]:.4f} |" for key, title in _FIGURES.items()),
    )


def card_parameters(params: Params, objective: str) -> dict[str, dict]:
    """The parameters that a student's card shows: those that a student of this objective is made with."""
    used = params.model_dump(
        include={"runtime", "sources", "lexicon", "prompts", "corpus", "student", "senses", "targets", "distill"},
        exclude={"distill": {"objectives", "seeds", "checkpoint_steps"}},  # they name the run, not this student
    )
    for key in ("lora", "source"):
        if used["student"][key] is None:
            del used["student"][key]
    if not params.prompts.sets:
        del used["prompts"]
    if params.harvest.codec != EXACT:
        used["harvest"] = {"codec": params.harvest.codec}
    used["objective"] = params.objectives[objective].model_dump()
    return used


def training(parameters: Mapping[str, Mapping]) -> dict[str, object]:
    """Of a card's parameters those of the training itself, as "distill.epochs"; hashes stand for what comes before."""
    groups = ("student", "objective", "distill", "harvest")
    found = {f"{group}.{key}": value for group in groups for key, value in parameters.get(group, {}).items()}
    found.pop("distill.log_steps", None)  # of the curves alone
    return found


class Card(NamedTuple):
    """What a student's card says of its making."""

    hashes: dict[str, str]  # SHA-256 of each artifact that it was made from
    parameters: dict[str, dict]  # as `card_parameters` gives them
    seed: int | None  # None where it does not say


def read_card(path: Path) -> Card:
    """Raises UserError if the card does not say what the student was made from, and with which parameters."""
    with reading(path):
        text = path.read_text(encoding="utf-8")
        found = re.search(r"^## Made from\n.*?```json\n(.*?)```.*?```json\n(.*?)```", text, re.DOTALL | re.MULTILINE)
        if found is None:
            raise ValueError('no hashes and parameters below "Made from"')
        made = re.search(r"^Made by `dvc repro distill@\S+-(\d+)`", text, re.MULTILINE)
        card = Card(*map(json.loads, found.groups()), int(made[1]) if made else None)
        training(card.parameters)
        return card


def _front_matter(name: str, origin: Source, scores: dict) -> ModelCardData:
    """What the hub's search and page of a model show (https://huggingface.co/docs/hub/model-cards). What the student
    was cut from has a name there only if it came from the hub."""
    results = [
        EvalResult("text-generation", "held-out", "held-out documents", key, round(scores[key], 4), metric_name=title)
        for key, title in _FIGURES.items()
    ]
    on_hub = re.match(r"hf:([^@]+)@", origin.source)
    return ModelCardData(
        license="other",  # the sources have different ones
        license_name="licences-of-the-sources",
        license_link=LICENCE_FILE,
        language="en",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["knowledge-distillation", "dskd"],
        base_model=on_hub and on_hub[1],
        base_model_relation="finetune" if on_hub else None,  # the nearest of the relations that the hub knows
        model_name=name,
        eval_results=results,
    )


def licences(sources: SourcesParams, student: Source | None = None) -> str:
    """What the student was made from and under which licence, and what that means for who shares it.

    Args:
        student: the model that it was cut from, where that is not the teacher.
    """
    every = _parts(sources, student)
    table = "".join(f"| {name} | `{source.source}` | {source.licence} |\n" for name, source in every.items())
    sharing = _sharing([name for name, source in every.items() if noncommercial(source.licence)])
    return f"| part | source | licence |\n| --- | --- | --- |\n{table}\n{sharing}"


def _parts(sources: SourcesParams, student: Source | None) -> dict[str, Source]:
    return sources.every() | ({"student": student} if student else {})


def _sharing(closed: list[str]) -> str:
    """What whoever shares a student keeps to; `closed` are the parts whose licence forbids commercial use."""
    sharing = "Whoever shares this student names these sources and keeps to their licences."
    if closed:
        sharing += f" Not for commercial use: the licence of {' and '.join(closed)} forbids it."
    return sharing


def with_licences_of(params: Params, text: str) -> str:
    """A student's card or licences, with the licences that the parameters have now for the sources that it names: a
    licence may be corrected after the student was trained. Other sources keep theirs."""
    now = {
        (name, source.source): source.licence for name, source in _parts(params.sources, params.student.source).items()
    }
    for name, chosen in params.prompts.sets.items():
        if chosen.source:
            now[BENCHMARKS[name].title, chosen.source.source] = chosen.source.licence
    closed = []

    def corrected(row: re.Match) -> str:
        licence = now.get((row["part"], row["source"]), row["licence"])
        if row["share"] is None and noncommercial(licence):  # the sentence is of the sources, not of the prompts
            closed.append(row["part"])
        return f"| {row['part']} |{row['share'] or ''} `{row['source']}` | {licence} |"

    text = _ROW.sub(corrected, text)
    return re.sub(r"^Whoever shares this student .*$", lambda _: _sharing(closed), text, flags=re.MULTILINE)


def prompt_licences(settings: PromptsParams) -> str:
    """What a student's card says of the prompts that it was trained on; nothing where there are none."""
    if not settings.sets:
        return ""
    lines = ["\n## Training prompts\n", "Questions of these sets' training rows, answered by the teacher.\n"]
    lines += ["| set | share | source | licence |", "| --- | --- | --- | --- |"]
    for name, chosen in settings.sets.items():
        source, licence = BENCHMARKS[name].home, BENCHMARKS[name].licence
        if chosen.source:
            source, licence = chosen.source.source, chosen.source.licence
        lines.append(f"| {BENCHMARKS[name].title} | {chosen.share:g} | `{source}` | {licence} |")
    return "\n".join(lines) + "\n"
