"""Where contexts land: which senses are kept, merge or scatter."""

import numpy as np
import pandas as pd
import pytest
import torch

from dskd.explore.landing import SCATTERED, Landing, chosen_words, fates, kept_table, land
from dskd.params import load_params
from dskd.pipeline.inputs import run_senses
from dskd.pipeline.models import load_models
from dskd.senses.store import load_contexts


def test_a_sense_goes_where_more_than_half_of_its_contexts_go():
    sense = [1, 1, 1, 2, 2, 2, 3, 3, 4]
    assert fates(sense, [1, 1, 9, 9, 2, 9, 3, 9, 4]) == {1: 1, 2: 9, 3: SCATTERED, 4: 4}


def test_the_shares_of_a_model_are_of_senses_and_of_contexts():
    contexts = pd.DataFrame({"sense": [1, 1, 1, 2, 2, 2, 3, 3], "word": "bank"})
    nearest = {"teacher": contexts["sense"].to_numpy(), "kd-0": np.array([1, 1, 9, 9, 2, 9, 3, 9])}
    table = kept_table(Landing(["bank"], contexts, {}, nearest)).set_index("model")
    assert table.loc["teacher"].tolist() == [1, 0, 0, 1]
    assert table.loc["kd-0"].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.5])


def test_words_are_drawn_by_their_names_alone():
    rows = {f"word{i}": range(2 * i, 2 * i + 2) for i in range(40)} | {"single": range(80, 81)}
    drawn = chosen_words(rows, 10, 0)
    assert len(drawn) == 10 and "single" not in drawn and drawn == sorted(drawn)
    assert chosen_words(dict(reversed(rows.items())), 10, 0) == drawn != chosen_words(rows, 10, 1)
    fewer = {word: found for word, found in rows.items() if word not in drawn[:1]}
    assert set(drawn[1:]) <= set(chosen_words(fewer, 10, 0)) and len(chosen_words(rows, 99, 0)) == 40


def test_models_read_the_left_side_of_each_context(project):
    senses, contexts = run_senses(), load_contexts("artifacts/senses")
    token = contexts["token"].iloc[-1]
    rows = {token.strip(): range(int(contexts["sense"].max()), int(contexts["sense"].max()) + 1)}
    found = land(load_models(load_params(), ["dskd-0"]), senses, rows, contexts)
    own = contexts[(contexts["sense"] == rows[token.strip()].start) & (contexts["left"] != "")]
    assert found.contexts["left"].tolist() == own["left"].tolist() and list(found.states) == [
        "teacher",
        "cut",
        "dskd-0",
    ]
    assert all(set(nearest) == {rows[token.strip()].start} for nearest in found.nearest.values())
    assert all(state.shape == (len(own), senses.centroids.shape[1]) for state in found.states.values())
    assert not torch.equal(found.states["teacher"], found.states["dskd-0"])
