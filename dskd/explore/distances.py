"""Looking at what was made: the tables that notebooks show to a reader."""

from itertools import zip_longest
from math import nan
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dskd.corpus.store import load_corpus
from dskd.errors import UserError
from dskd.explore.cards import by_frequency
from dskd.explore.words import made, made_senses, sense_contexts, teacher_tokenizer, word_token
from dskd.infra import artifacts
from dskd.infra.arithmetic import squared_distances
from dskd.lexicon.store import antonyms, synonyms
from dskd.model.inference import states_at
from dskd.model.tokenizer import begun
from dskd.params import Params
from dskd.pipeline.inputs import run_lexicon
from dskd.pipeline.models import load_models
from dskd.senses.store import load_contexts
from dskd.states.store import States, take_positions
from dskd.targets.choose import span_table, trimmed_lexicon
from dskd.targets.controls import controlled
from dskd.targets.store import SenseTargets


def compare_states(params: Params, word: str, students: list[str], contexts: int = 6) -> pd.DataFrame:
    """Where the teacher's state is of `word`: how far each model's state is from the teacher's, which of the word's
    senses is nearest to it, and what the model predicts.

    The contexts are the nearest ones of the senses, most frequent sense first: the words on the left of each, as the
    dictionary keeps them, so that neither its text nor its states are needed.

    Returns:
        One row a context; columns (model, measure): "distance" (mean square of a dimension's difference), "sense"
        (numbered as the senses are listed, from 1), "predicts". A model that is not cut from the teacher has states in
        a space of its own, so only the last of these.
    """
    for name in students:
        made(f"{artifacts.STUDENTS}/{name}", f"distill@{name}")
    tokenizer = teacher_tokenizer()
    senses, table = made_senses(), load_contexts(artifacts.SENSES)
    found = by_frequency(senses, senses.rows(word_token(tokenizer, word)))
    if not found:
        raise UserError(f"{word!r} has no senses: the dictionary's text has too few states of this word")
    each = zip_longest(*(sense_contexts(table, row, contexts) for row in found))  # the nearest of every sense
    lefts = [context.left for nearest in each for context in nearest if context and context.left][:contexts]
    models, sequences = load_models(params, students), [begun(tokenizer, left) for left in lefts]
    states = states_at(models, sequences, [len(ids) - 1 for ids in sequences])
    centroids = senses.centroids[found].float()
    columns = {("", "context"): [f"{left} …" for left in lefts]}
    for name, of_model in states.items():
        if name in models.tops:
            if name != "teacher":
                columns[name, "distance"] = (of_model - states["teacher"]).square().mean(dim=1).tolist()
            columns[name, "sense"] = (squared_distances(of_model[None], centroids[None])[0].argmin(dim=1) + 1).tolist()
        predicted = (of_model @ models.of(name).head.weight.float().T).argmax(dim=1)
        columns[name, "predicts"] = [tokenizer.decode(token).strip() for token in predicted]
    return pd.DataFrame(columns)


def target_distances(targets: SenseTargets, states: States, sample: int = 2000) -> pd.DataFrame:
    """Mean squared distance a dimension from the teacher's state to the senses that pull and push it, and to
    the mean of those that pull, over the first `sample` positions that have the most of both (where nothing pushes:
    the most that pull); NaN where there are no such positions."""
    pull, push = targets.pull.flatten(0, 1), targets.push.flatten(0, 1)
    complete, pushes = (pull >= 0).all(dim=1), (push >= 0).all(dim=1)
    positions = (complete & pushes if pushes.any() else complete).nonzero().squeeze(1)[:sample]
    hidden = take_positions(states.hidden_states, positions).float()[:, None]
    pulling = targets.vectors[pull[positions].long()].float()
    distance = {"a pulling sense": pulling, "the mean of the pulling senses": pulling.mean(dim=1, keepdim=True)}
    if pushes.any():
        distance["a pushing sense"] = targets.vectors[push[positions].long()].float()
    values = {name: (hidden - senses).square().mean(dim=2).flatten() for name, senses in distance.items()}
    return pd.DataFrame(
        [
            {"distance to": name, **{f"{q:.0%}": float(v.quantile(q)) if len(v) else nan for q in (0.1, 0.5, 0.9)}}
            for name, v in values.items()
        ]
    ).set_index("distance to")


def show_targets(
    params: Params, objective: str, targets: SenseTargets, rows: int = 8, before: int = 10
) -> pd.DataFrame:
    """Some positions with both kinds of targets: the context, what follows, whose senses pull and push."""
    tokenizer = teacher_tokenizer()
    blocks = load_corpus(Path(artifacts.CORPUS))[0]["train"]
    owner = _owners(params, params.objectives[objective].targets, tokenizer)
    pulled, pushed = ((rows >= 0).any(dim=2) for rows in (targets.pull, targets.push))
    both = (pulled & pushed if pushed.any() else pulled).nonzero()
    table = []
    for block, offset in both[:: max(1, len(both) // rows)][:rows].tolist():

        def words(column: Tensor, block: int = block, offset: int = offset) -> str:
            names = [owner(row) for row in column[block, offset].tolist() if row >= 0]
            return ", ".join(dict.fromkeys(names))

        context = tokenizer.decode(blocks[block, max(0, offset + 1 - before) : offset + 1])
        table.append(
            {
                "context": "… " + " ".join(context.split()),
                "follows": tokenizer.decode(blocks[block, offset + 1]).strip(),
                "pull": words(targets.pull),
                "push": words(targets.push),
            }
        )
    return pd.DataFrame(table)


def _owners(params: Params, variant: str, tokenizer: PreTrainedTokenizerBase):
    """A function from a row of the targets' vectors to the word or span that it is a sense of."""
    table, senses = run_lexicon(), made_senses()
    words = trimmed_lexicon(senses, synonyms(table), antonyms(table), params.targets)
    words = controlled(variant, words, params.targets.seed)
    _, rows = span_table(words.senses, words.synonyms, words.antonyms)
    of_span = {row: span for span, numbers in rows.items() if len(span) > 1 for row in numbers}

    def name(row: int) -> str:
        if row in of_span:
            return tokenizer.decode(list(of_span[row])).strip()
        return tokenizer.decode(int(senses.tokens[torch.searchsorted(senses.offsets, row, right=True) - 1])).strip()

    return name
