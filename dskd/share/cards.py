"""The cards of dictionary and lexicon: what they are, what they were made from, how good they are, and licences.

A student has its card from its training (`dskd.students.model_card`).
"""

import hashlib
import json
from pathlib import Path

import pandas as pd
from huggingface_hub import DatasetCardData
from pydantic import ValidationError

from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.lexicon.relations import ANTONYM, SYNONYM
from dskd.lexicon.store import SCHEMA, load_lexicon
from dskd.library.card import About, More, dictionary_card
from dskd.params import Params, Source, SourcesParams, noncommercial
from dskd.pipeline.inputs import is_of_the_lexicon, run_senses
from dskd.report.dictionary_tables import measures_table
from dskd.report.study_tables import markdown
from dskd.students.model_card import LICENCE_FILE, prompt_licences

_LEXICON = """---
{front_matter}
---

# Synonyms and antonyms

{rows:,} rows: {synonyms:,} of synonyms and {antonyms:,} of antonyms, for {heads:,} English words. Negations are
undone, and where sources disagree they vote. Of all words {heldout:g}% have no relations here
(`lexicon.heldout_share`), to ask students about.

```python
from datasets import load_dataset

pairs = load_dataset("{repository}", split="train").to_pandas()
print(pairs[pairs["form"] == "{example}"])
```

{columns}

Tokens are those of the tokenizer of `{teacher}`; `head`, `tail` and `relation` hold for any.

## Made with

```json
{params}
```

## Licences

{licences}
"""

_COLUMNS = {
    "head": "a word, in lower case",
    "tail": "a word related to it; a pair stands in both directions if both can be heads",
    "relation": "+1 synonyms, -1 antonyms",
    "source": "the source that says so; a pair that two sources have is two rows",
    "sense": "the source's names of the senses that hold the relation, joined by `;`",
    "flipped": "whether the relation comes from undoing a negation",
    "form": "how the head is written",
    "head_token": "the token of this form after a space",
    "tail_tokens": "the tokens of the tail after a space",
}


def run_dictionary_card(params: Params, repository: str) -> tuple[str, str]:
    """The texts of README.md and of the licences for the run's dictionary.

    Raises:
        UserError: the dictionary is damaged, of another teacher than artifacts/teacher, or made with other parameters
            or of other sources.
    """
    _check_made("senses", params)
    senses, report, measures = run_senses(), Path(artifacts.SENSES_REPORT), ""
    if report.exists() and (found := artifacts.read_json(report)).get("senses") == len(senses.centroids):
        measures = markdown(measures_table(found)) if _is_measured() else ""
    own = params.senses.text == "own"
    for stage in () if own else ("prompts", "corpus"):
        _check_made(stage, params)
    used = {name: source for name, source in params.sources.every().items() if _is_read(name, params)}
    _check_sources(used)
    licences = _licences(used, "this dictionary") + ("" if own else prompt_licences(params.prompts))
    card = dictionary_card(
        senses,
        About(params.sources.teacher.source, "text of the sources below"),
        params.senses.model_dump(),
        more=More(f"hf:{repository}", params.report.word, measures, licences, LICENCE_FILE),
    )
    return card, f"# Licences\n\n{licences}\n"


def _check_made(stage: str, params: Params) -> None:
    """Raise UserError where a stage ran with other values (dvc.lock) than params.yaml has now: the card would name
    those of another run."""
    known = _ran_with(stage)
    now = json.loads(params.model_dump_json(include={stage}))[stage]
    changed = sorted(key for key in known if known[key] != now.get(key)) if isinstance(known, dict) else []
    if not changed:
        return
    key = changed[0]
    raise UserError(
        f"{stage}.{key} is {now.get(key)!r} in params.yaml, and was {known[key]!r} when {stage} last ran "
        f"({artifacts.LOCK}): run `dvc repro {stage}`, or set it back"
    )


def _check_sources(used: dict[str, Source]) -> None:
    """Raise UserError where the stage `sources` fetched something else under one of these names, or under another
    licence: the card would name what the artifact is not made of."""
    known = _ran_with("sources")
    if not isinstance(known, dict):
        return
    try:
        fetched = SourcesParams(**known).every()
    except ValidationError:  # of another version
        raise UserError(f"{artifacts.LOCK} does not say what was fetched: run `dvc repro sources`") from None
    for name, source in used.items():
        if (before := fetched.get(name)) != source:
            what = {} if before is None else before.model_dump()
            key, now = next((key, value) for key, value in source.model_dump().items() if what.get(key) != value)
            raise UserError(
                f"sources.{name}.{key} is {now!r} in params.yaml, and was {what.get(key)!r} when sources last ran "
                f"({artifacts.LOCK}): run `dvc repro`, or set it back"
            )


def _ran_with(stage: str) -> object:
    """The values of its own group of params.yaml that a stage last ran with, as dvc.lock says; None where it does
    not."""
    return _stages().get(stage, {}).get("params", {}).get("params.yaml", {}).get(stage)


def _stages() -> dict:
    """Of dvc.lock; none where there is no such file."""
    lock = Path(artifacts.LOCK)
    return artifacts.read_lock(lock)["stages"] if lock.exists() else {}


def _check_is_the_runs(lexicon: Path) -> None:
    """Raise UserError where dvc.lock tells of another lexicon, whose parameters would stand in the card of this one. It
    may have been pulled, without its card."""
    for entry in _stages().get("lexicon", {}).get("outs", ()):
        if entry["path"] == artifacts.LEXICON and entry.get("md5") != _md5(lexicon):
            raise UserError(
                f"{lexicon} is not the one that {artifacts.LOCK} tells of, so that its parameters are not known: run "
                "`dvc repro lexicon`"
            )


def _md5(path: Path) -> str:
    """As DVC knows a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _is_measured() -> bool:
    """Whether the measures are of the dictionary that there is, as far as dvc.lock says. Dictionaries of two teachers
    may have as many senses."""
    hashes = {
        entry.get("md5")
        for stage, kind in (("senses", "outs"), ("quality", "deps"))
        for entry in _stages().get(stage, {}).get(kind, ())
        if entry["path"] == artifacts.SENSES
    }
    return len(hashes) < 2


def _is_read(name: str, params: Params) -> bool:
    """Whether the run's dictionary is made of this source: of its own text, or of the students', in which the lexicon
    may be written out."""
    if name in ("teacher", "wordnet", "wikipedia"):
        return True
    if params.senses.text == "own":
        return name.startswith("texts.")
    return params.corpus.lexicon_share > 0 and is_of_the_lexicon(name)


def lexicon_card(params: Params, path: Path, repository: str) -> tuple[str, str]:
    """The texts of README.md and of the licences for the lexicon at `path`. The front matter names the file that
    `datasets.load_dataset` reads.

    Raises:
        UserError: it is no lexicon, or was made of a source that params.yaml does not name, or has otherwise than when
            it was fetched, or with other parameters, or by another run.
    """
    _check_made("lexicon", params)
    table = load_lexicon(path)
    _check_is_the_runs(path)
    sources = _sources_of(table, params, path)
    _check_sources(sources)
    licences = _licences(sources, "this lexicon")
    front = DatasetCardData(
        license="other",
        license_name="licences-of-the-sources",
        license_link=LICENCE_FILE,
        language="en",
        pretty_name="Synonyms and antonyms",
        tags=["synonyms", "antonyms", "lexicon", "dskd"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": path.name}]}],
    )
    kinds = table["relation"].value_counts()
    columns = pd.DataFrame([(f"`{name}`", _COLUMNS[name]) for name in SCHEMA.names], columns=["column", "meaning"])
    card = _LEXICON.format(
        front_matter=front.to_yaml(original_order=["license"]),
        rows=len(table),
        synonyms=int(kinds.get(SYNONYM, 0)),
        antonyms=int(kinds.get(ANTONYM, 0)),
        heads=table["head"].nunique(),
        heldout=100 * params.lexicon.heldout_share,
        repository=repository,
        example=params.report.word,
        columns=markdown(columns),
        teacher=params.sources.teacher.source,
        params=json.dumps(params.model_dump(include={"lexicon"})["lexicon"], indent=1),
        licences=licences,
    )
    return card, f"# Licences\n\n{licences}\n"


def _sources_of(table: pd.DataFrame, params: Params, path: Path) -> dict[str, Source]:
    """The sources that a lexicon was made of, by name; UserError where params.yaml does not name one."""
    known, used = params.sources.every(), {}
    said_by = {"wordnet" if name == "wordnet_indirect" else name for name in table["source"].unique()}
    for name in sorted(said_by | ({"morphology"} if table["flipped"].any() else set())):
        found = {key: source for key, source in known.items() if key == name or key.startswith(f"{name}.")}
        if not found:
            raise UserError(
                f"{path} was made with the source {name!r}, which params.yaml does not name, so that its licence is "
                "not known: name it, or run `dvc repro lexicon`"
            )
        used |= found
    return used


def _licences(sources: dict[str, Source], what: str) -> str:
    """A table of sources and licences, and what they mean for who shares it."""
    rows = [(name, f"`{source.source}`", source.licence) for name, source in sources.items()]
    closed = [name for name, source in sources.items() if noncommercial(source.licence)]
    sharing = f"Whoever shares {what} names these sources and keeps to their licences."
    if closed:
        sharing += f" Not for commercial use: the licence of {' and '.join(closed)} forbids it."
    return f"{markdown(pd.DataFrame(rows, columns=['part', 'source', 'licence']))}\n\n{sharing}"
