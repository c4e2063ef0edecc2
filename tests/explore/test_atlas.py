"""What the page of senses is made of."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny.atlas import KNOWN, invented_columns

from dskd.explore.atlas import context_columns, fit_code, relation_columns
from dskd.explore.packing import unpacked
from dskd.explore.senses_page import PAGE, senses_page, write_page
from dskd.explore.words import read_vocabulary
from dskd.lexicon.store import load_lexicon
from dskd.params import load_params
from dskd.pipeline.inputs import run_senses, teacher_tokenizer
from dskd.senses.store import Senses, load_contexts


def test_a_code_keeps_what_varies_most_in_equal_steps():
    draw = np.random.default_rng(0)
    vectors = torch.from_numpy(draw.normal(size=(500, 12)) * np.linspace(5, 0.01, 12) + 7)
    code = fit_code(vectors, 6)
    back = torch.from_numpy(code.of(vectors)).double() * code.step @ code.axes.T + code.mean
    lost = (back - vectors).square().sum(dim=1).mean()
    spread = (vectors - vectors.mean(dim=0)).square().sum(dim=1).mean()
    assert 1 - code.variance == pytest.approx(float(lost / spread), abs=0.01) and code.variance > 0.8
    signs = code.axes.gather(0, code.axes.abs().argmax(dim=0)[None])
    assert (signs > 0).all() and fit_code(vectors, 6).axes.equal(code.axes)


def test_vectors_that_are_too_long_are_cut_and_not_wrapped():
    code = fit_code(torch.eye(4).double() * torch.tensor([4.0, 3, 2, 1]), 2)
    assert np.abs(code.of(torch.full((1, 4), 1e6).double())).max() == 127


def test_contexts_are_found_at_their_places():
    """The places of two senses in two documents; "bank" goes on in "bank|ing"."""
    senses = Senses(
        torch.tensor([3]), torch.tensor([0, 2]), torch.tensor([9]), torch.zeros(2, 4),
        torch.tensor([2, 5]), torch.tensor([[40, 12], [10, -1]]),
    )  # fmt: skip
    rows = [(" bank", 0, "on the far", " of a river", "wiki:B"), (" bank", 0, "a new", "ing law", "wiki:A")]
    rows += [(" bank", 1, "he saw a", " and a new banking law", "wiki:A")]
    table = pd.DataFrame(rows, columns=["token", "sense", "left", "right", "document"])
    columns = context_columns(table, senses, {"bank": range(0, 2)}, 5)
    assert columns["text"] == "wiki:A\the saw a bank and a new banking law\nwiki:B\ton the far bank of a river"
    places = np.cumsum(columns["gaps"].astype(int))
    assert [columns["text"][place : place + 7] for place in places] == ["bank an", "banking", "bank of"]
    assert columns["within"].tolist() == [0, 1, 1]  # the sense of five states comes first
    assert columns["ranks"].tolist() == [0, 1, 0] and columns["tails"].tolist() == [0, 3, 0]
    fewer = context_columns(table, senses, {"bank": range(0, 2)}, 1)
    assert fewer["ranks"].tolist() == [0, 0] and "banking law\n" in fewer["text"]


def test_places_count_wide_characters_as_a_browser_does():
    senses = Senses(
        torch.tensor([3]), torch.tensor([0, 1]), torch.tensor([9]), torch.zeros(1, 4), torch.tensor([2]),
        torch.tensor([[4, 90]]),
    )  # fmt: skip
    rows = [(" bank", 0, "a \U0001f600 new", " of", "wiki:\U0001f600"), (" bank", 0, "old", "\U0001d400x", "wiki:B")]
    table = pd.DataFrame(rows, columns=["token", "sense", "left", "right", "document"])
    columns = context_columns(table, senses, {"bank": range(0, 1)}, 5)
    units = columns["text"].encode("utf-16-le")
    for place in np.cumsum(columns["gaps"].astype(int)):
        assert units[2 * place : 2 * place + 8].decode("utf-16-le") == "bank"
    assert columns["tails"].tolist() == [0, 0]


def test_a_title_or_a_text_that_breaks_lines_stays_one_line_and_all_places_hold():
    senses = Senses(
        torch.tensor([3]), torch.tensor([0, 1]), torch.tensor([9]), torch.zeros(1, 4), torch.tensor([2]),
        torch.tensor([[4, 90]]),
    )  # fmt: skip
    rows = [(" bank", 0, "a\tnew", " of\nthe", "mine:one\ttwo\nthree"), (" bank", 0, "old", " \x1b[2J", "wiki:B\r")]
    table = pd.DataFrame(rows, columns=["token", "sense", "left", "right", "document"])
    columns = context_columns(table, senses, {"bank": range(0, 1)}, 5)
    assert columns["text"] == "mine:one two three\ta new bank of the\nwiki:B \told bank  [2J"
    for place in np.cumsum(columns["gaps"].astype(int)):
        assert columns["text"][place : place + 4] == "bank"


def test_relations_are_numbers_of_names_with_the_best_supported_first(tokenizer):
    rows = [("hot", "warm", 1, "a.s.01"), ("hot", "torrid", 1, "b.s.01;c.s.01"), ("hot", "cold", -1, "x")]
    table = pd.DataFrame(rows, columns=["head", "tail", "relation", "sense"])
    table = table.assign(source="wordnet", tail_tokens=[(1,), (1, 2), (1,)])
    table = pd.concat([table.assign(form=form) for form in ("hot", "Hot", "hots")])
    columns = relation_columns(table, ["hot", "cold", "warm"], tokenizer)
    of_form = relation_columns(table, ["hots", "cold", "warm"], tokenizer)
    assert of_form["synonyms"].tolist() == [3, 2] and of_form["antonyms"].tolist() == [1]
    assert [other.split("\t")[0] for other in columns["others"]] == ["torrid"] and " + " in columns["others"][0]
    assert columns["synonymCounts"].tolist() == [2, 0, 0] and columns["synonyms"].tolist() == [3, 2]
    assert columns["antonymCounts"].tolist() == [1, 0, 0] and columns["antonyms"].tolist() == [1]


def test_an_invented_dictionary_is_the_same_each_time():
    one, two = invented_columns(), invented_columns()
    assert all(np.array_equal(one[name], two[name]) for name in one) and one["words"][:3] == KNOWN[:3]


# ---- a project in miniature


def test_words_are_tokens_of_letters_and_those_without_room_are_told(project):
    tokenizer, senses = teacher_tokenizer(), run_senses()
    whole = read_vocabulary(tokenizer, senses)
    assert whole.words and all(word.isalpha() for word in whole.words) and not whole.left
    having = [word for word in whole.words if word in whole.rows]
    assert having == whole.words[: len(having)]
    assert sorted(whole.occurrences[: len(having)])[::-1] == whole.occurrences[: len(having)].tolist()
    fewer = read_vocabulary(tokenizer, senses, 3)
    assert list(fewer.rows) == having[:3] and fewer.left == set(having[3:])


def test_the_page_of_a_run_has_its_words_and_its_students(project):
    params = load_params()
    write_page(params)
    text = (project / PAGE).read_text()
    columns = unpacked(text.partition('id="p-data">')[2].partition("<")[0])
    fast = columns["words"].index("fast")
    assert columns["numbers"][fast] == 2 and "fast." in " ".join(columns["synsets"])
    assert '"models": ["teacher", "cut", "dskd-0"]' in columns["about"] and '"contexts": 2' in columns["about"]
    contexts = load_contexts("artifacts/senses")
    own = contexts[contexts["token"].isin([f" {word}" for word in columns["words"]])]
    assert len(columns["gaps"]) == len(own)
    assert senses_page(params) == text


def test_a_page_of_some_words_has_these_and_their_relatives(project):
    text = senses_page(load_params(), ["fast"])
    columns = unpacked(text.partition('id="p-data">')[2].partition("<")[0])
    having = {word for word, number in zip(columns["words"], columns["numbers"]) if number}
    related = load_lexicon(project / "artifacts/lexicon.parquet").query("form == 'fast'")["tail"]
    assert having == {"fast", *related} & read_vocabulary(teacher_tokenizer(), run_senses()).rows.keys()
    assert '"compared": ["fast"]' in columns["about"]
