"""How the teacher reads the text of the sense dictionary, a part of the stage `harvest`."""

from pathlib import Path

from transformers import PreTrainedModel

from dskd.corpus.dictionary import (
    DictionaryText,
    dictionary_text,
    load_dictionary_text,
    save_dictionary_text,
    training_text,
)
from dskd.corpus.store import load_corpus
from dskd.infra import artifacts, processes
from dskd.infra.artifacts import require
from dskd.infra.hashes import fingerprint
from dskd.infra.made_of import save_made_of, values_of
from dskd.params import Params
from dskd.pipeline.inputs import kept_dtype, sample_of, teacher_tokenizer, text_files, wordnet_reader
from dskd.states.reservoir import sample_states

_OF_CLUSTERS = {"k": 1, "iterations": 1, "min_states": 1, "contexts": 1}  # parameters that the sample does not have
_OF_OWN_TEXT = "tokens", "gloss_share"  # nor these, where its text is the students'


def make_reservoir(params: Params, teacher: PreTrainedModel) -> None:
    """Write `artifacts/reservoir`: the text, and the teacher's states in the sample of each token. A run that was
    stopped goes on, and a finished one stays as it is while what it depends on does."""
    if params.senses.text == "own":
        drawn = params.corpus.block_length, params.corpus.seed, params.corpus.heldout_share
        heldout = params.lexicon.seed, params.lexicon.heldout_share, params.lexicon.heldout_pairs
        given = [drawn, heldout, sorted(params.sources.texts), require(artifacts.SOURCES, "sources")]
    else:
        given = [require(artifacts.CORPUS, "corpus")]
    sampling = params.senses.model_copy(update=_OF_CLUSTERS)
    made_from = fingerprint(
        params.runtime, sampling, params.harvest.of_states(), require(artifacts.TEACHER, "sources"), *given
    )
    with processes.output(Path(artifacts.RESERVOIR), made_from, checksums=True) as partial:
        if processes.state().is_main_process and not (partial / "documents.json").exists():
            save_dictionary_text(partial, _text(params))
        processes.state().wait_for_everyone()
        blocks = load_dictionary_text(partial).blocks
        sample_states(teacher, blocks, params.senses, params.harvest, partial, kept_dtype(params))
        if processes.state().is_main_process:
            save_made_of(partial, sample_of(params), values_of(params, *_sampling(params)))


def _sampling(params: Params) -> list[str]:
    """The parameters that the sample depends on."""
    names = [name for name in type(params.senses).model_fields if name not in _OF_CLUSTERS]
    if params.senses.text == "training":
        return ["runtime.dtype", *(f"senses.{name}" for name in names if name not in _OF_OWN_TEXT)]
    heldout = (f"lexicon.{name}" for name in ("seed", "heldout_share", "heldout_pairs"))
    drawn = (f"corpus.{name}" for name in ("block_length", "seed", "heldout_share"))
    texts = (f"sources.{name}" for name in ("wikipedia", "texts", "wordnet"))
    return ["runtime.dtype", *(f"senses.{name}" for name in names), *drawn, *heldout, *texts]


def _text(params: Params) -> DictionaryText:
    if params.senses.text == "training":
        return training_text(load_corpus(Path(artifacts.CORPUS))[0]["train"])
    texts, reader = text_files(params), wordnet_reader()
    return dictionary_text(params.senses, params.corpus, params.lexicon, texts, reader, teacher_tokenizer())
