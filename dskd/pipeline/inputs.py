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
from dskd.infra.artifacts import reading, require
from dskd.infra.hashes import sha256_tree
from dskd.infra.made_of import check_made_of, check_parameters
from dskd.lexicon.build import Files
from dskd.lexicon.readers import wordnet
from dskd.lexicon.relations import heldout_pairs, heldout_words
from dskd.lexicon.store import load_lexicon
from dskd.lexicon.tokens import check_tokens
from dskd.model.load import load_decoder
from dskd.model.tokenizer import load_tokenizer, tokenizer_hash
from dskd.params import LexiconParams, Params, Source
from dskd.senses.store import Senses, load_senses
from dskd.states.store import States, Text, open_states

WORDNET = f"{artifacts.SOURCES}/nltk_data"
# What notes the parameters that it was made with, and the stage that makes it; the lexicon's note is in its report.
_NOTES = {
    artifacts.TEACHER: "sources",
    WORDNET: "sources",
    artifacts.LEXICON_REPORT: "lexicon",
    artifacts.PROMPTS: "prompts",
    artifacts.CORPUS: "corpus",
    artifacts.STATES: "harvest",
    artifacts.RESERVOIR: "harvest",
    artifacts.SENSES: "senses",
    artifacts.CODES: "codes",
    artifacts.BENCHMARKS: "benchmarks",
    artifacts.SCORES: "evaluate",
}
_OF_SAMPLE = "seed", "text", "key", "reservoir"  # of `senses`; the rest is of the clusters, or of a text of its own
HELDOUT_WORDS = "lexicon.seed", "lexicon.heldout_share", "lexicon.heldout_pairs"
_NOT_OF_THE_LEXICON = ("teacher", "student", "wordnet", "wikipedia", "texts", "tagged")  # they have other places


def check_inputs(params: Params, *paths: str) -> None:
    """Raise UserError where one of these artifacts was made with other parameters than there are now, as where a stage
    is run by hand after a change. What is not there is for its reader to miss."""
    for path in paths:
        if Path(path).exists():
            check_parameters(path, _NOTES[path], params)


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
    hashes = _of_those_there(senses=artifacts.SENSES, lexicon=artifacts.LEXICON)
    return {"variant": params.objectives[objective].targets, "settings": params.targets.model_dump(), **hashes}


def tokenizer_of() -> dict[str, str]:
    """What is made of the tokenizer of the run's teacher alone."""
    return {"tokenizer": tokenizer_hash(require(artifacts.TEACHER, "sources"))}


def wordnet_of() -> dict[str, str]:
    """What is made of WordNet."""
    return {"wordnet": sha256_tree(require(WORDNET, "sources"))}


def words_of() -> dict[str, str]:
    """What is made of the tokenizer and of WordNet."""
    return {**tokenizer_of(), **wordnet_of()}


def text_of(params: Params) -> dict[str, str]:
    """What the text is made of; of the lexicon only where it is written out and is there."""
    written = params.corpus.lexicon_share and Path(artifacts.LEXICON).exists()
    return words_of() | ({"lexicon": sha256_tree(artifacts.LEXICON)} if written else {})


def senses_of() -> dict[str, str]:
    """What a sense dictionary of the run's teacher is made of."""
    return {"teacher": teacher_hash(), **tokenizer_of()}


def sample_of(params: Params) -> dict[str, str]:
    """What the sample for the dictionary is made of: the teacher, and the students' text or WordNet."""
    if params.senses.text == "training":
        return states_of()
    return {"teacher": teacher_hash(), **wordnet_of()}


def sampling(params: Params) -> list[str]:
    """The parameters that the sample depends on."""
    if params.senses.text == "training":
        return ["runtime.dtype", *(f"senses.{name}" for name in _OF_SAMPLE)]
    drawn = (f"corpus.{name}" for name in ("block_length", "seed", "heldout_share"))
    own = "senses.tokens", "senses.gloss_share", "sources.wikipedia", "sources.texts"
    return ["runtime.dtype", *(f"senses.{name}" for name in _OF_SAMPLE), *own, *drawn, *HELDOUT_WORDS]


def scores_of() -> dict[str, str]:
    """What scores are made of beside the models, as far as it is there."""
    return _of_those_there(corpus=artifacts.CORPUS, lexicon=artifacts.LEXICON)


def _of_those_there(**paths: str) -> dict[str, str]:
    """The hashes of these artifacts, without those that are not there."""
    return {name: sha256_tree(path) for name, path in paths.items() if Path(path).exists()}


def check_scores(students: list[str]) -> None:
    """Raise UserError where the scores are of other students than those that are there under these names."""
    path = require(f"{artifacts.SCORES}/heldout.jsonl", "evaluate")
    rows = artifacts.read_jsonl(path)
    for folder in (Path(artifacts.STUDENTS) / name for name in students):
        if (own := folder / "heldout.json").exists():
            with reading(path, "evaluate"):
                scored = [row["ce"] for row in rows if row["model"] == folder.name]
            if scored and scored != artifacts.read_json(own).get("ce"):
                raise UserError(f"{artifacts.SCORES} is of another student than {folder}: run `dvc repro evaluate`")


def check_measures(measures: dict) -> None:
    """Raise UserError where the dictionary's measures are of another one than the one that is there."""
    if Path(artifacts.SENSES).exists() and measures.get("senses") != len(run_senses().centroids):
        raise UserError(
            f"{artifacts.SENSES_REPORT} is of another dictionary than {artifacts.SENSES}: run `dvc repro quality`"
        )


def run_senses() -> Senses:
    """The run's sense dictionary; UserError where it is of another teacher."""
    senses = load_senses(artifacts.SENSES)
    check_made_of(artifacts.SENSES, "senses", {"teacher": teacher_hash()})
    return senses


def run_lexicon(settings: LexiconParams | None = None) -> pd.DataFrame:
    """The run's lexicon; UserError where its tokens are not those of the teacher's tokenizer, or where it has relations
    of words or pairs that are held out by these settings: they would be trained, and then asked as if they were not."""
    table = load_lexicon(Path(artifacts.LEXICON))
    if Path(artifacts.LEXICON_REPORT).exists():  # which says with which parameters it was made
        check_made_of(artifacts.LEXICON_REPORT, "lexicon", {"lexicon": sha256_tree(artifacts.LEXICON)})
    check_tokens(table, teacher_tokenizer())
    if settings is not None:
        words = heldout_words({*table["head"], *table["tail"]}, settings.seed, settings.heldout_share)
        pairs = heldout_pairs(zip(table["head"], table["tail"]), settings.seed, settings.heldout_pairs)
        for found in sorted(words) or sorted(map(" and ".join, pairs)):
            raise UserError(
                f"{artifacts.LEXICON} has relations of {found}, held out by lexicon.seed, lexicon.heldout_share and "
                "lexicon.heldout_pairs: run `dvc repro lexicon`, or set them back"
            )
    return table


def lexicon_files(params: Params) -> Files:
    """Where the lexicon's sources are; UserError as `as_fetched`."""
    found = {
        name: as_fetched(f"{artifacts.SOURCES}/{lexicon_file(source, name)}", name, source)
        for name, source in params.sources.every().items()
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
    others = [f"texts.{name}" for name in sorted(params.sources.texts)]
    return [text_file(params, name) for name in ("wikipedia", *others)]


def text_file(params: Params, name: str) -> Path:
    """The plain text of this source, as `SourcesParams.every` calls it; UserError as `as_fetched`."""
    folder = artifacts.SOURCES if name == "wikipedia" else f"{artifacts.SOURCES}/{name.replace('.', '/')}"
    return as_fetched(kept_text(folder), name, params.sources.every()[name])


def as_fetched(path: str | Path, name: str, source: Source) -> Path:
    """A source that is kept as it was fetched; UserError where params.yaml names other content since."""
    if sha256_tree(require(path, "sources")) != source.sha256:
        raise UserError(
            f"{path} is not what sources.{name} names (its sha256 is another): run `dvc repro sources`, or set it back"
        )
    return Path(path)


def wordnet_reader() -> WordNetCorpusReader:
    """NLTK's reader of the run's WordNet."""
    return wordnet.open_wordnet(require(WORDNET, "sources"))
