"""How the sense dictionary is made of the sample of states, the stage `senses`."""

from pathlib import Path

from dskd.corpus.dictionary import load_dictionary_text
from dskd.infra import artifacts
from dskd.infra.made_of import save_made_of, values_of
from dskd.params import Params
from dskd.pipeline.inputs import sample_of, sampling, senses_of, teacher_tokenizer
from dskd.senses.cluster import build_senses
from dskd.senses.contexts import contexts_table
from dskd.senses.store import Senses, save_contexts, save_senses
from dskd.states.reservoir import open_reservoir


def make_senses(params: Params) -> None:
    """Write `artifacts/senses`: the clusters of the sample, and their contexts as text."""
    sample = open_reservoir(Path(artifacts.RESERVOIR))

    def beside(folder: Path, senses: Senses) -> None:
        text = load_dictionary_text(Path(artifacts.RESERVOIR))
        save_contexts(folder, contexts_table(senses, text, teacher_tokenizer()))
        settings = {"key": params.senses.key, "length": text.blocks.shape[1] - 1}  # to ask the dictionary with
        made_with = values_of(params, "senses", *(key for key in sampling(params) if not key.startswith("senses.")))
        save_made_of(folder, {**senses_of(), **sample_of(params), "settings": settings}, made_with)

    save_senses(Path(artifacts.SENSES), build_senses(sample, params.senses), beside)
