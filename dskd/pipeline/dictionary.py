"""The two steps of the stage `senses`: the teacher reads the dictionary's text, and its states are clustered."""

from pathlib import Path

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
from dskd.params import Params
from dskd.pipeline.inputs import kept_dtype, load_teacher, teacher_tokenizer, text_files, wordnet_reader
from dskd.senses.cluster import build_senses
from dskd.senses.contexts import contexts_table
from dskd.senses.store import SenseDictionary, save_contexts, save_senses
from dskd.states.reservoir import open_reservoir, sample_states


def make_dictionary(params: Params) -> None:
    """Write `artifacts/reservoir`, unless it is there as it would be, and `artifacts/senses`."""
    make_reservoir(params)
    sample = open_reservoir(Path(artifacts.RESERVOIR))

    def contexts(folder: Path, senses: SenseDictionary) -> None:
        text = load_dictionary_text(Path(artifacts.RESERVOIR))
        save_contexts(folder, contexts_table(senses, text, teacher_tokenizer()))

    save_senses(Path(artifacts.SENSES), build_senses(sample, params.senses), contexts)


def make_reservoir(params: Params) -> None:
    """Write `artifacts/reservoir`: the text, and the teacher's states in the sample of each token. A run that was
    stopped goes on, and a finished one stays as it is while what it depends on does."""
    if params.senses.text == "own":
        drawn = params.corpus.block_length, params.corpus.seed, params.corpus.heldout_share
        heldout = params.lexicon.seed, params.lexicon.heldout_share
        given = [drawn, heldout, require(artifacts.SOURCES, "sources")]
    else:
        given = [require(artifacts.CORPUS, "corpus")]
    made_from = fingerprint(
        params.runtime,
        params.senses.model_copy(update={"k": 1, "iterations": 1, "min_states": 1, "contexts": 1}),  # clustering's
        params.harvest,
        require(artifacts.TEACHER, "sources"),
        *given,
    )
    with processes.output(Path(artifacts.RESERVOIR), made_from, checksums=True) as partial:
        if processes.state().is_main_process and not (partial / "documents.json").exists():
            save_dictionary_text(partial, _text(params))
        processes.state().wait_for_everyone()
        text, (teacher, _) = load_dictionary_text(partial), load_teacher(params)
        sample_states(teacher, text.blocks, params.senses, params.harvest, partial, kept_dtype(params))


def _text(params: Params) -> DictionaryText:
    if params.senses.text == "training":
        return training_text(load_corpus(Path(artifacts.CORPUS))[0]["train"])
    texts, reader = text_files(params), wordnet_reader()
    return dictionary_text(params.senses, params.corpus, params.lexicon, texts, reader, teacher_tokenizer())
