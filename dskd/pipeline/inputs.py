"""What the stages read of each other, opened as what it is; what is missing names the stage that makes it."""

from pathlib import Path

import pandas as pd
import torch
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dskd.corpus.documents import kept_text
from dskd.corpus.store import load_corpus
from dskd.errors import UserError
from dskd.infra import artifacts, processes
from dskd.infra.artifacts import check_made_of, require
from dskd.infra.hashes import sha256_tree
from dskd.lexicon.build import Files
from dskd.lexicon.readers import wordnet
from dskd.lexicon.store import load_lexicon
from dskd.lexicon.tokens import check_tokens
from dskd.model.load import load_decoder
from dskd.model.tokenizer import load_tokenizer, tokenizer_hash
from dskd.params import Params, Source
from dskd.senses.store import Senses, load_senses
from dskd.states.store import States, Text, open_states

_NOT_OF_THE_LEXICON = ("teacher", "student", "wordnet", "wikipedia", "texts", "tagged")  # they have other places


def states_of(depth: int | None = None, teacher: str | None = None) -> dict[str, str | int]:
    """What states on disk are made of.

    Args:
        depth: how many of the teacher's layers lie below the split; None where only the last states matter.
        teacher: its hash; left out, that of the teacher that is there.
    """
    made_of = {"teacher": teacher or teacher_hash(), "corpus": sha256_tree(require(artifacts.CORPUS, "corpus"))}
    return made_of if depth is None else {**made_of, "split": depth}


def cached_states(split: str, depth: int | None = None, teacher: str | None = None) -> States:
    """The teacher's states of a split, one for each label; UserError where shards are missing, or the states are of
    another teacher or text, or where `depth` is given (see `states_of`) of another depth."""
    check_made_of(artifacts.STATES, "harvest", states_of(depth, teacher))
    states, blocks = open_states(artifacts.STATES, split), len(labels(split))
    if states.blocks != blocks:
        raise UserError(f"{artifacts.STATES} has {states.blocks} of {blocks} {split} blocks: run `dvc repro harvest`")
    return states


def labels(split: str) -> Tensor:
    """(n, L) int64: the token that follows each position of the blocks."""
    blocks, _ = load_corpus(Path(artifacts.CORPUS))
    return blocks[split][:, 1:].long()


def tokens(split: str) -> Tensor:
    """(n, L) int32: the token at each position of the blocks."""
    blocks, _ = load_corpus(Path(artifacts.CORPUS))
    return blocks[split][:, :-1]


def cached_text(split: str, depth: int | None = None) -> Text:
    """The blocks of a split with the teacher's states; UserError as `cached_states`."""
    return Text(cached_states(split, depth), labels(split), tokens(split))


def load_teacher(params: Params) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The teacher as the run uses it, frozen, on this process's device, and its tokenizer."""
    teacher, tokenizer = load_decoder(require(artifacts.TEACHER, "sources"), params.runtime.dtype)
    return teacher.to(processes.state().device), tokenizer


def kept_dtype(params: Params) -> torch.dtype:
    """The number format of states and students on disk."""
    return getattr(torch, params.runtime.dtype)


def teacher_tokenizer() -> PreTrainedTokenizerBase:
    """The teacher's tokenizer alone, in a second."""
    return load_tokenizer(require(artifacts.TEACHER, "sources"))


def teacher_hash() -> str:
    """What the teacher and its tokenizer are known by."""
    return sha256_tree(require(artifacts.TEACHER, "sources"))


def targets_of(params: Params, objective: str) -> dict[str, object]:
    """What targets are made of beside states: parameters, and the dictionary and the lexicon as far as they are there,
    which need not be where a student is trained."""
    made_of = {"senses": Path(artifacts.SENSES), "lexicon": Path(artifacts.LEXICON)}
    hashes = {name: sha256_tree(path) for name, path in made_of.items() if path.exists()}
    return {"variant": params.objectives[objective].targets, "settings": params.targets.model_dump(), **hashes}


def senses_of() -> dict[str, str]:
    """What a sense dictionary of the run's teacher is made of."""
    return {"teacher": teacher_hash(), "tokenizer": tokenizer_hash(artifacts.TEACHER)}


def run_senses() -> Senses:
    """The run's sense dictionary; UserError where it is of another teacher."""
    senses = load_senses(artifacts.SENSES)
    check_made_of(artifacts.SENSES, "senses", {"teacher": teacher_hash()})
    return senses


def run_lexicon() -> pd.DataFrame:
    """The run's lexicon; UserError where its tokens are not those of the teacher's tokenizer."""
    table = load_lexicon(Path(artifacts.LEXICON))
    check_tokens(table, teacher_tokenizer())
    return table


def lexicon_files(params: Params) -> Files:
    """Where the lexicon's sources are."""
    every = params.sources.every()
    found = {
        name: require(f"{artifacts.SOURCES}/{lexicon_file(every[name], name)}", "sources")
        for name in every
        if is_of_the_lexicon(name)
    }
    lists = {
        name: (found.pop(name), params.sources.lists[name.partition(".")[0]].language)
        for name in list(found)
        if "." in name
    }
    return Files(wordnet_reader(), **found, lists=lists)


def is_of_the_lexicon(name: str) -> bool:
    """Whether a source of `SourcesParams.every` goes into the lexicon."""
    return name.partition(".")[0] not in _NOT_OF_THE_LEXICON


def lexicon_file(source: Source, name: str) -> str:
    """Where a source of the lexicon is kept below `artifacts.SOURCES`; the ending tells what form it has."""
    return f"lexicon/{name}{Path(source.source).suffix}"


def text_files(params: Params) -> list[Path]:
    """The plain texts: sources.wikipedia, then those of sources.texts in the order of their names."""
    folders = [artifacts.SOURCES, *(f"{artifacts.SOURCES}/texts/{name}" for name in sorted(params.sources.texts))]
    return [require(kept_text(folder), "sources") for folder in folders]


def wordnet_reader() -> WordNetCorpusReader:
    """NLTK's reader of the run's WordNet."""
    return wordnet.open_wordnet(require(f"{artifacts.SOURCES}/nltk_data", "sources"))
