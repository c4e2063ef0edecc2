"""The page of senses, `reports/senses.html`: one file, with its data, that needs no server and no network."""

import base64
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np

from dskd.explore.atlas import (
    WORDS,
    Vocabulary,
    by_frequency,
    context_columns,
    fit_code,
    fit_words,
    landing_columns,
    read_vocabulary,
    relation_columns,
    sense_columns,
    word_columns,
)
from dskd.explore.landing import Landing, chosen_words, kept_table, land
from dskd.explore.packing import packed
from dskd.explore.synsets import WordNetWords
from dskd.infra import artifacts
from dskd.infra.artifacts import require
from dskd.infra.output import output
from dskd.lexicon.store import load_lexicon
from dskd.params import Params, student_names
from dskd.pipeline.inputs import run_senses, teacher_tokenizer, wordnet_reader
from dskd.pipeline.models import load_models
from dskd.senses.store import load_contexts

PAGE = "reports/senses.html"
LARGEST = 4_900_000  # bytes of the page

_PARTS = Path(__file__).parent / "page"
_SCRIPTS = ("data.js", "map.js", "view.js", "picture.js", "start.js")
_COMPARED = 120  # words whose contexts teacher and students read


def write_page(params: Params) -> Path:
    """Write the page of the run's senses; UserError where an artifact is missing."""
    page = senses_page(params)
    with output(PAGE) as partial:
        partial.write_text(page, encoding="utf-8")
    return Path(PAGE)


def senses_page(params: Params) -> str:
    """The page of the run's dictionary, its lexicon and its students."""
    tokenizer, senses = teacher_tokenizer(), run_senses()
    contexts, lexicon = load_contexts(artifacts.SENSES), load_lexicon(require(artifacts.LEXICON, "lexicon"))
    wordnet = WordNetWords(wordnet_reader())

    # Words, senses and relations.
    vocabulary = read_vocabulary(tokenizer, senses)
    rows = vocabulary.rows
    order = [row for word in rows for row in by_frequency(senses, rows[word])]
    fits, code = fit_words(senses, rows, contexts, wordnet), fit_code(senses.centroids[order])
    columns = word_columns(vocabulary, wordnet, params.lexicon) | sense_columns(senses, order, fits)
    columns |= relation_columns(lexicon, vocabulary.words, tokenizer)
    columns["vectors"] = code.of(senses.centroids[order]).T.ravel()

    # What students make of some of them.
    heads = {word: rows[word] for word in set(lexicon["form"]) & rows.keys()}
    compared = chosen_words(heads, _COMPARED, params.evaluate.seed)
    compared = sorted({*compared, *([params.report.word] if params.report.word in heads else [])})
    landing = land(load_models(params, student_names(params)), senses, {word: rows[word] for word in compared}, contexts)
    columns |= landing_columns(landing, code, order, rows)

    # As many contexts as there is room for.
    about = {
        "dimensions": code.axes.shape[1],
        "word": params.report.word,
        "examples": [word for word in ("bank", "good", "light", "first", "hot") if word in rows],
        "minStates": params.senses.min_states,
        "heldoutShare": params.lexicon.heldout_share,
        "most": WORDS,
        "models": list(landing.states),
        "kept": kept_table(landing).round(4).to_dict("records"),
        "compared": compared,
        "facts": _facts(params, vocabulary, code.variance),
    }
    for most in range(params.senses.contexts, -1, -1):
        found = columns | context_columns(contexts, senses, rows, most)
        page = render(found | {"about": json.dumps(about | {"contexts": most}, ensure_ascii=False)})
        if len(page) <= LARGEST:
            break
    return page


def render(columns: Mapping[str, np.ndarray | str | list[str]]) -> str:
    """The page with this data. It allows its own script and style alone, each by its hash."""
    style = (_PARTS / "page.css").read_text(encoding="utf-8")
    script = "\n".join((_PARTS / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    )
    page = (_PARTS / "page.html").read_text(encoding="utf-8")
    parts = {"policy": policy, "style": style, "script": script, "data": packed(columns)}
    for name, text in parts.items():
        page = page.replace("{{" + name + "}}", text, 1)
    return page


def _hash(text: str) -> str:
    """What a content security policy calls an inline part by."""
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def _facts(params: Params, vocabulary: Vocabulary, variance: float) -> list[str]:
    """What a reader has to know about the page's data, a sentence or two each."""
    return [f"{variance:.0%}"]
