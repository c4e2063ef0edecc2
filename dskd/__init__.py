"""Decoder-based Sense Knowledge Distillation (arXiv 2602.22351), runnable and reproducible.

For your own training (docs/library.md):

    SenseDictionary    senses of a model's tokens: from_model, from_pretrained, save_pretrained, of, nearest
    Lexicon            synonyms and antonyms: from_wordnet, from_pairs, from_parquet, save, synonyms, antonyms
    SenseLoss          pulls and pushes a student's states by senses
    StateLoss          regression on the teacher's states, plain or whitened
    output_loss        cross-entropy and KL over the whole vocabulary, in bounded memory; model_head makes its heads
    DistillationLoss   all of these for one batch, with their weights: Term, OutputWeights
    DistillationTrainer   transformers' Trainer with that loss
    states_of          a model's last hidden states of a text
    IGNORE             label of a position that does not count

    DictionarySettings, TargetSettings, About   what a dictionary and its targets are made with, and for the card
    UserError          what is wrong with an input, in one line

`python -m dskd --help` lists the commands of the pipeline.
"""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dskd.errors import UserError
    from dskd.library.card import About
    from dskd.library.dictionary import SenseDictionary
    from dskd.library.distillation import DistillationLoss, Term
    from dskd.library.lexicon import Lexicon
    from dskd.library.losses import StateLoss, model_head, output_loss
    from dskd.library.senses import SenseLoss
    from dskd.library.settings import DictionarySettings, TargetSettings
    from dskd.library.texts import states_of
    from dskd.library.trainer import DistillationTrainer
    from dskd.students.output_loss import IGNORE, OutputWeights

__version__ = "0.2.0"

LAUNCHED = "DSKD_LAUNCHED"  # in the environment of processes that `infra.processes.launch` has started
STAGES = (  # of the pipeline, in dvc.yaml's order
    "sources lexicon prompts corpus harvest senses codes targets distill benchmarks quality evaluate report".split()
)

# Imported when it is first used (PEP 562), since torch takes seconds.
_PLACES = {
    "About": "library.card",
    "DictionarySettings": "library.settings",
    "DistillationLoss": "library.distillation",
    "DistillationTrainer": "library.trainer",
    "IGNORE": "students.output_loss",
    "Lexicon": "library.lexicon",
    "OutputWeights": "students.output_loss",
    "SenseDictionary": "library.dictionary",
    "SenseLoss": "library.senses",
    "StateLoss": "library.losses",
    "TargetSettings": "library.settings",
    "Term": "library.distillation",
    "UserError": "errors",
    "model_head": "library.losses",
    "output_loss": "library.losses",
    "states_of": "library.texts",
}
__all__ = [
    "IGNORE",
    "About",
    "DictionarySettings",
    "DistillationLoss",
    "DistillationTrainer",
    "Lexicon",
    "OutputWeights",
    "SenseDictionary",
    "SenseLoss",
    "StateLoss",
    "TargetSettings",
    "Term",
    "UserError",
    "model_head",
    "output_loss",
    "states_of",
]

# In a notebook, libraries ask tqdm for a widget; plain text, which shows in terminals as well, is what we want.
warnings.filterwarnings("ignore", message="IProgress not found")


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'dskd' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dskd.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
