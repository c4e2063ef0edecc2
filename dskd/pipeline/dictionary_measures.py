"""How the run's sense dictionary is measured: what is read, and which text the teacher reads for it."""

from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from dskd.benchmarks.catalogue import read_benchmark
from dskd.infra import artifacts
from dskd.infra.artifacts import require
from dskd.lexicon.store import load_lexicon
from dskd.lexicon.tokens import word_tokens
from dskd.model.inference import states_at
from dskd.params import Params
from dskd.pipeline.inputs import cached_states, labels, teacher_tokenizer, wordnet_reader
from dskd.pipeline.models import load_models
from dskd.scores.dictionary import facts, variance_table
from dskd.scores.sense_match import nearest_senses, random_senses, synset_table, wic_table
from dskd.scores.sense_places import Place, before, example_places, tagged_places, wic_places
from dskd.scores.weighted import COLUMNS, Draws
from dskd.senses.store import SenseDictionary, load_senses
from dskd.states.reservoir import Reservoir, open_reservoir


class Dictionaries(NamedTuple):
    """The run's dictionary, and the same tokens with states drawn at random in the place of senses."""

    senses: SenseDictionary
    random: SenseDictionary
    sample: Reservoir


def load_dictionaries(params: Params) -> Dictionaries:
    """What the measures compare."""
    senses, sample = load_senses(artifacts.SENSES), open_reservoir(Path(artifacts.RESERVOIR))
    return Dictionaries(senses, random_senses(senses, sample, params.evaluate.seed), sample)


def dictionary_facts(dictionaries: Dictionaries) -> dict[str, float]:
    """What the run's dictionary is, in numbers."""
    return facts(dictionaries.senses, dictionaries.sample, load_lexicon(require(artifacts.LEXICON, "lexicon")))


class Probe(NamedTuple):
    """Places in a text that the dictionary has not read, and the teacher's states before their words."""

    name: str  # of the set
    places: list[Place]
    states: Tensor  # (n, d) float32


def read_probes(params: Params, wic: bool = True) -> list[Probe]:
    """Let the teacher read WordNet's examples, the text under `sources.tagged` and, where it could be had, WiC."""
    reader = wordnet_reader()
    places = {"examples": example_places(reader, params.lexicon)}
    for name in params.sources.tagged:
        places[name] = tagged_places(require(f"{artifacts.SOURCES}/tagged/{name}", "sources"), reader)
    if wic and (rows := _wic_rows()):
        places["wic"] = wic_places(chain(*rows))
    models = load_models(params, []).of("teacher")
    models = models._replace(tops={"teacher": models.tops["teacher"]}, apart=None)
    probes = []
    for name, found in places.items():
        if found:  # there are no examples where no word is held out
            ids = before(found, models.tokenizer)
            probes.append(Probe(name, found, states_at(models, ids, [len(row) - 1 for row in ids])["teacher"]))
    return probes


def _wic_rows() -> list[list[dict]]:
    """WiC's training and test rows; none where it could not be had."""
    folder = require(artifacts.BENCHMARKS, "benchmarks")
    if not artifacts.read_json(folder / "summary.json")["wic"]["available"]:
        return []
    return [read_benchmark(folder, "wic", split) for split in ("train", "test")]


def probes_table(params: Params, dictionaries: Dictionaries, probes: list[Probe]) -> pd.DataFrame:
    """How well senses agree with what people said of the places of each probe."""
    tokenizer, draws, tables = teacher_tokenizer(), _draws(params), [pd.DataFrame(columns=COLUMNS)]
    for name, places, states in probes:
        by_name = {"senses": dictionaries.senses, "random": dictionaries.random}
        nearest = {way: nearest_senses(places, states, senses, tokenizer) for way, senses in by_name.items()}
        if name == "wic":
            tables.append(wic_table(*_wic_rows(), nearest, draws))
        else:
            often = _often([place.word for place in places], dictionaries.sample)
            tables.append(synset_table(name, places, nearest, often, draws))
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)


def heldout_table(params: Params, dictionaries: Dictionaries) -> pd.DataFrame:
    """How much of the variance of held-out states the senses explain."""
    states = cached_states("heldout")
    keys = torch.cat(states.predicted) if params.senses.key == "predicted" else labels("heldout")
    by_name = {"senses": dictionaries.senses, "random": dictionaries.random}
    return variance_table(torch.cat(states.hidden_states), keys, by_name, _draws(params))


def _often(words: list[str], sample: Reservoir) -> dict[str, int]:
    """How often each word's first token was met in the dictionary's text."""
    occurrences = dict(zip(sample.tokens.tolist(), sample.occurrences.tolist()))
    return {word: occurrences.get(ids[0], 0) for word, ids in word_tokens(teacher_tokenizer(), words).items()}


def _draws(params: Params) -> Draws:
    return Draws(min(params.evaluate.bootstrap, 2000), params.evaluate.seed)
