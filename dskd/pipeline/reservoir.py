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
from dskd.pipeline.inputs import kept_dtype, sample_of, sampling, teacher_tokenizer, text_files, wordnet_reader
from dskd.states.reservoir import sample_states


def make_reservoir(params: Params, teacher: PreTrainedModel) -> None:
    """Write `artifacts/reservoir`: the text, and the teacher's states in the sample of each token. A run that was
    stopped goes on, and a finished one stays as it is while what it depends on does."""
    own = params.senses.text == "own"
    read = require(artifacts.SOURCES, "sources") if own else require(artifacts.CORPUS, "corpus")
    made_of, made_with = sample_of(params), values_of(params, *sampling(params))
    settings = params.runtime, made_with, sorted(params.sources.texts), params.harvest.of_states()
    made_from = fingerprint(*settings, require(artifacts.TEACHER, "sources"), read)
    with processes.output(Path(artifacts.RESERVOIR), made_from, checksums=True) as partial:
        if processes.state().is_main_process and not (partial / "documents.json").exists():
            save_dictionary_text(partial, _text(params))
        processes.state().wait_for_everyone()
        blocks = load_dictionary_text(partial).blocks
        sample_states(teacher, blocks, params.senses, params.harvest, partial, kept_dtype(params))
        if processes.state().is_main_process:
            save_made_of(partial, made_of, made_with)


def _text(params: Params) -> DictionaryText:
    if params.senses.text == "training":
        return training_text(load_corpus(Path(artifacts.CORPUS))[0]["train"])
    texts, reader = text_files(params), wordnet_reader()
    return dictionary_text(params.senses, params.corpus, params.lexicon, texts, reader, teacher_tokenizer())
