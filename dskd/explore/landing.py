"""Where the contexts of senses land in the teacher and in the students: which senses are kept, merge, or scatter."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dskd.infra.arithmetic import squared_distances
from dskd.infra.randomness import hash_integers, text_key
from dskd.model.inference import Models, states_at
from dskd.model.tokenizer import begun
from dskd.senses.store import Senses

_WORDS = text_key("explore.landing")
SCATTERED = -1


class Landing(NamedTuple):
    """Contexts of some words in several models, and the senses that they go to."""

    words: list[str]
    contexts: pd.DataFrame  # the rows of the dictionary's table that were read, of these words alone
    states: dict[str, Tensor]  # model -> (n, d) float32, after the left side of each context
    nearest: dict[str, np.ndarray]  # model -> (n,) row of the sense that is nearest, of those of the context's word


def chosen_words(rows: Mapping[str, range], number: int, seed: int) -> list[str]:
    """So many words of two senses or more, drawn by a hash of (seed, word); fewer where there are not so many."""
    found = [word for word in sorted(rows) if len(rows[word]) > 1]
    drawn = {word: int(hash_integers(_WORDS, seed, text_key(word))) for word in found}
    return sorted(sorted(found, key=lambda word: (drawn[word], word))[:number])


def land(models: Models, senses: Senses, rows: Mapping[str, range], contexts: pd.DataFrame) -> Landing:
    """Let teacher and students read the left side of each context of these words, as far as the dictionary keeps it.

    Students that are not cut from the teacher have states in a space of their own, so they are left out.

    Args:
        rows: word -> its senses, rows of the dictionary's centroids.
        contexts: of the dictionary, as `senses.store.load_contexts` gives them.
    """
    of = {row: word for word, found in rows.items() for row in found}
    chosen = contexts[contexts["sense"].isin(of) & (contexts["left"] != "")]
    chosen = chosen.assign(word=chosen["sense"].map(of), rank=chosen.groupby("sense").cumcount())
    models = models._replace(apart=None)
    ids = [begun(models.tokenizer, left) for left in chosen["left"]]
    states = states_at(models, ids, [len(row) - 1 for row in ids])
    places = chosen.reset_index(drop=True).groupby("word").indices
    nearest = {name: np.zeros(len(chosen), dtype=np.int64) for name in states}
    for word, here in places.items():
        centroids = senses.centroids[list(rows[word])].float()
        for name, of_model in states.items():
            closest = squared_distances(of_model[torch.from_numpy(here)][None], centroids[None])[0].argmin(dim=1)
            nearest[name][here] = closest.numpy() + rows[word].start
    return Landing(sorted(rows), chosen.reset_index(drop=True), states, nearest)


def fates(sense: Sequence[int], nearest: Sequence[int]) -> dict[int, int]:
    """Sense -> the sense that more than half of its contexts go to: itself where it is kept, another one where it
    merges, and SCATTERED where there is none such."""
    table = pd.DataFrame({"sense": sense, "nearest": nearest})
    found = {}
    for row, went in table.groupby("sense")["nearest"]:
        tally = went.value_counts()
        found[int(row)] = int(tally.index[0]) if 2 * tally.iloc[0] > len(went) else SCATTERED
    return found


def kept_table(landing: Landing) -> pd.DataFrame:
    """One row a model: the shares of senses that are kept, merged and scattered, and of contexts in their sense."""
    sense, rows = landing.contexts["sense"].to_numpy(), []
    for model, nearest in landing.nearest.items():
        found = fates(sense, nearest)
        kept = np.array([to == row for row, to in found.items()])
        scattered = np.array([to == SCATTERED for to in found.values()])
        shares = {"kept": kept, "merged": ~kept & ~scattered, "scattered": scattered, "contexts": nearest == sense}
        rows.append({"model": model} | {name: float(values.mean()) for name, values in shares.items()})
    return pd.DataFrame(rows)
