"""The page of senses, `reports/senses.html`: one file, with its data, that needs no server and no network."""

import base64
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from dskd.explore.atlas import (
    Code,
    context_columns,
    fit_code,
    landing_columns,
    relation_columns,
    sense_columns,
    word_columns,
)
from dskd.explore.cards import by_frequency
from dskd.explore.landing import chosen_words, kept_table, land
from dskd.explore.packing import packed
from dskd.explore.synsets import checked_fits, fit_synset, gather_evidence, read_words
from dskd.explore.words import Vocabulary, read_vocabulary
from dskd.infra import artifacts
from dskd.infra.artifacts import require
from dskd.infra.output import output
from dskd.lexicon.store import load_lexicon
from dskd.params import Params, student_names
from dskd.pipeline.inputs import run_senses, teacher_tokenizer, wordnet_reader
from dskd.pipeline.models import load_models
from dskd.senses.store import load_contexts

PAGE = "reports/senses.html"
LARGEST = 4_990_000  # bytes of the page, which is to stay below 5 MB

_PARTS = Path(__file__).parent / "page"
_SCRIPTS = ("data.js", "map.js", "view.js", "picture.js", "start.js")
_EXAMPLES = ("bank", "good", "light", "first", "hot")  # where a reader may begin
_COMPARED = 60  # words whose contexts teacher and students read: a minute, and 70 kB


def write_page(params: Params) -> None:
    """Write the page of the run's senses; UserError where an artifact is missing."""
    page = senses_page(params)
    with output(PAGE) as partial:
        partial.write_text(page, encoding="utf-8")


def senses_page(params: Params, words: Sequence[str] = ()) -> str:
    """The page of the run's dictionary, its lexicon and its students; with `words`, of these and their relatives alone,
    and with the students compared on them."""
    tokenizer, senses = teacher_tokenizer(), run_senses()
    contexts, lexicon = load_contexts(artifacts.SENSES), load_lexicon(require(artifacts.LEXICON, "lexicon"))
    wordnet, students = read_words(wordnet_reader()), student_names(params)

    # Which words.
    vocabulary = read_vocabulary(tokenizer, senses)
    known = rows = vocabulary.rows
    heads = {word: rows[word] for word in set(lexicon["form"]) & rows.keys()}
    compared = {*chosen_words(heads, _COMPARED, params.evaluate.seed), params.report.word} & heads.keys()
    if words:
        compared = {word for word in words if word in rows}
        shown = {*words, *lexicon.loc[lexicon["form"].isin([*words, *map(str.lower, words)]), "tail"]}
        rows = {word: of_word for word, of_word in known.items() if word in shown}
        vocabulary = vocabulary._replace(rows=rows, left=vocabulary.left | (known.keys() - rows.keys()))

    # Words, senses and relations.
    order = [row for word in rows for row in by_frequency(senses, rows[word])]
    code = fit_code(senses.centroids[order])
    evidence = gather_evidence(senses.centroids, known, known, contexts, wordnet)
    fits = {row: fit_synset(evidence, word, row) for word in rows for row in rows[word]}
    columns = word_columns(vocabulary, wordnet, params.lexicon) | sense_columns(senses, order, fits)
    columns |= relation_columns(lexicon, vocabulary.words, tokenizer)
    columns["vectors"] = code.of(senses.centroids[order]).T.ravel()

    # What students make of some of them.
    landing = land(load_models(params, students), senses, {word: rows[word] for word in sorted(compared)}, contexts)
    columns |= landing_columns(landing, code, order, rows)

    # As many contexts as there is room for.
    about = {
        "dimensions": code.axes.shape[1],
        "word": words[0] if words else params.report.word,
        "examples": [word for word in _EXAMPLES if word in rows],
        "minStates": params.senses.min_states,
        "heldoutShare": params.lexicon.heldout_share,
        "most": len(rows),
        "models": list(landing.states),
        "kept": kept_table(landing).round(4).to_dict("records"),
        "compared": sorted(compared),
        "facts": _facts(params, vocabulary, code, checked_fits(evidence, known)),
    }
    for most in range(params.senses.contexts, -1, -1):
        found = columns | context_columns(contexts, senses, rows, most)
        page = render(found | {"about": json.dumps(about | {"contexts": most}, ensure_ascii=False)})
        if len(page) <= LARGEST:
            break
    return page


def framed(page: str, height: int = 900) -> str:
    """The page inside another one, as a notebook shows it."""
    return (
        f'<iframe srcdoc="{escape(page)}" title="Senses of words" '
        f'style="width: 100%; height: {height}px; border: 1px solid #d5dae1"></iframe>'
    )


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


def _facts(params: Params, vocabulary: Vocabulary, code: Code, checked: pd.DataFrame) -> list[str]:
    """What a reader has to know about the page's data, a few sentences each."""
    follows = "follows in the text" if params.senses.key == "observed" else "the teacher predicts"
    found = [
        f"Words are tokens of the teacher's vocabulary that are letters alone, after a space. {len(vocabulary.rows):,} "
        f"have senses here, the most frequent ones; {len(vocabulary.left):,} rarer ones have senses in the dictionary, "
        "but no room here. `python -m dskd senses WORD` prints every word, those of several tokens too.",
        "A sense is a cluster of the teacher's last hidden states before a word: those after which the word "
        f"{follows}. It knows what the text leads one to expect, and nothing of what comes after.",
        "The synset: a context that stands in the gloss or the examples of one of the word's synsets is a vote for it. "
        "A probe adds one vote more, shared among the synsets: discriminant analysis of the centroid tells the 45 "
        "fields of WordNet (noun.animal, verb.motion, …), learnt from words whose synsets are all in one field; of "
        "synsets in one field the commoner one gets more. The percentage is the synset's share of all votes.",
    ]
    if len(checked):
        sure = checked[checked["share"] >= 0.5]
        found.append(
            f"How good is that? Of {len(checked):,} contexts in glosses the rest of the evidence names the synset in "
            f"{checked['right'].mean():.0%} (chance {checked['chance'].mean():.0%}), and in {sure['right'].mean():.0%} "
            f"of the {len(sure):,} where it is at least 50 % sure. Glosses have rare synsets as often as common ones; "
            "for contexts in running text nobody has said what is right, so the rule is not measured there."
        )
    dimensions = code.axes.shape[1]
    found.append(
        f"Nearness on this page is of {dimensions} principal components in whole steps; they have {code.variance:.0%} "
        "of the variance. The map is t-SNE of the marks that it shows, computed in your browser, the same each time; "
        "the line above it says how trustworthy it is with regard to these components."
    )
    found.append(
        "Which words the students were compared on is drawn by a hash, from the heads of the lexicon that have two "
        "senses or more. Models read the left side of each context that the dictionary keeps, 12 words at most."
    )
    return found
