"""How the run's sense dictionary is measured: what is read, and which text the teacher reads for it."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from torch import Tensor

from dskd.benchmarks.catalogue import read_benchmark
from dskd.corpus.dictionary import load_dictionary_text
from dskd.corpus.store import load_corpus
from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.artifacts import require
from dskd.infra.randomness import FEWEST_DOCUMENTS
from dskd.lexicon.tokens import word_tokens
from dskd.model.inference import states_at
from dskd.params import Params
from dskd.pipeline.inputs import (
    as_fetched,
    cached_states,
    labels,
    run_lexicon,
    run_senses,
    teacher_tokenizer,
    wordnet_reader,
)
from dskd.pipeline.models import load_models
from dskd.scores import RANDOM_DRAWS
from dskd.scores.dictionary import facts, plain, variance_table
from dskd.scores.sense_match import nearest_senses, random_senses, synset_table, wic_table
from dskd.scores.sense_places import Place, before, example_places, tagged_places, unread, wic_places
from dskd.scores.weighted import COLUMNS, Draws
from dskd.senses.store import Senses
from dskd.states.reservoir import Reservoir, open_reservoir

_DRAWS = 2000  # resamples of an interval


class Dictionaries(NamedTuple):
    """A dictionary, and the sample that it was made of."""

    by_way: dict[str, list[Senses]]  # "senses", and draws of "random": states in the place of senses
    sample: Reservoir

    @property
    def senses(self) -> Senses:
        return self.by_way["senses"][0]


def load_dictionaries(params: Params) -> Dictionaries:
    """What the measures compare; UserError where dictionary and sample are not of one run."""
    senses, sample = run_senses(), open_reservoir(Path(artifacts.RESERVOIR))
    place = torch.searchsorted(sample.tokens, senses.tokens).clamp_max(len(sample.tokens) - 1)
    if not (
        torch.equal(sample.tokens[place], senses.tokens) and torch.equal(sample.occurrences[place], senses.occurrences)
    ):
        raise UserError(f"{artifacts.SENSES} was not made of {artifacts.RESERVOIR}: run `dvc repro senses`")
    return with_random(senses, sample, params.evaluate.seed)


def with_random(senses: Senses, sample: Reservoir, seed: int) -> Dictionaries:
    """A dictionary beside the random baseline."""
    drawn = [random_senses(senses, sample, seed * RANDOM_DRAWS + i) for i in range(RANDOM_DRAWS)]
    return Dictionaries({"senses": [senses], "random": drawn}, sample)


def dictionary_facts(dictionaries: Dictionaries) -> dict[str, float]:
    """What the run's dictionary is, in numbers."""
    return facts(dictionaries.senses, dictionaries.sample, run_lexicon())


def describe_dictionary(params: Params) -> dict[str, float | None]:
    """What the dictionary is, and how well its senses agree with WordNet's; keys as in reports/senses.json. The teacher
    reads WordNet's examples for it."""
    dictionaries = load_dictionaries(params)
    table = probes_table(params, dictionaries, read_probes(params, run_documents(), wic=False))
    return plain(dictionary_facts(dictionaries), table)


def run_documents() -> list[str]:
    """The documents of the run's dictionary."""
    return load_dictionary_text(Path(artifacts.RESERVOIR)).documents


class Probe(NamedTuple):
    """Places in a text that the dictionary has not read, and the teacher's states before their words."""

    name: str  # of the set
    places: list[Place]
    states: Tensor  # (n, d) float32
    rows: tuple[list[dict], list[dict]] = ([], [])  # of WiC, for training and for the test


def read_probes(params: Params, documents: Sequence[str], wic: bool = True) -> list[Probe]:
    """Let the teacher read WordNet's examples, the text under `sources.tagged` and, where it could be had, WiC.

    Args:
        documents: of the dictionary's text, as `DictionaryText` has them.
    """
    reader = wordnet_reader()
    places = {"examples": example_places(reader, params.lexicon)}
    for name in params.sources.tagged:
        path = as_fetched(f"{artifacts.SOURCES}/tagged/{name}", f"tagged.{name}", params.sources.tagged[name])
        places[name] = tagged_places(path, reader)
    rows = _wic_rows(reader, documents) if wic else ([], [])
    places["wic"] = wic_places(chain(*rows))
    models = load_models(params, []).of("teacher")
    models = models._replace(tops={"teacher": models.tops["teacher"]}, apart=None)
    probes = []
    for name, found in places.items():
        if found:  # there are no examples where no word is held out
            ids = before(found, models.tokenizer)
            states = states_at(models, ids, [len(row) - 1 for row in ids])["teacher"]
            probes.append(Probe(name, found, states, rows if name == "wic" else ([], [])))
    return probes


def _wic_rows(reader: WordNetCorpusReader, documents: Sequence[str]) -> tuple[list[dict], list[dict]]:
    """WiC's training and test rows that the dictionary has not read; none where WiC could not be had."""
    folder = require(artifacts.BENCHMARKS, "benchmarks")
    if not artifacts.read_json(folder / "summary.json")["wic"]["available"]:
        return [], []
    train, test = (unread(read_benchmark(folder, "wic", split), reader, documents) for split in ("train", "test"))
    return train, test


def probes_table(params: Params, dictionaries: Dictionaries, probes: list[Probe]) -> pd.DataFrame:
    """How well senses agree with what people said of the places of each probe."""
    tokenizer, draws, tables = teacher_tokenizer(), Draws(_DRAWS, params.evaluate.seed), []
    for name, places, states, rows in probes:
        nearest = {
            way: [nearest_senses(places, states, senses, tokenizer) for senses in drawn]
            for way, drawn in dictionaries.by_way.items()
        }
        if name == "wic":
            tables.append(wic_table(*rows, nearest, draws))
        else:
            often = _often(word_tokens(tokenizer, [place.word for place in places]), dictionaries.sample)
            tables.append(synset_table(name, places, nearest, often, draws))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def heldout_table(params: Params, dictionaries: Dictionaries) -> pd.DataFrame:
    """How much of the variance of held-out states the senses explain."""
    states, draws = cached_states("heldout"), Draws(_DRAWS, params.evaluate.seed)
    keys = torch.cat(states.predicted) if params.senses.key == "predicted" else labels("heldout")
    documents = load_corpus(Path(artifacts.CORPUS))[0]["heldout_document"].numpy()
    if len(set(documents.tolist())) < FEWEST_DOCUMENTS:
        documents = np.arange(len(documents))
    return variance_table(torch.cat(states.hidden_states), keys, documents, dictionaries.by_way, draws)


def _often(words: dict[str, tuple[int, ...]], sample: Reservoir) -> dict[str, int]:
    """How often each word's first token was met in the dictionary's text."""
    occurrences = dict(zip(sample.tokens.tolist(), sample.occurrences.tolist()))
    return {word: occurrences.get(ids[0], 0) if ids else 0 for word, ids in words.items()}
