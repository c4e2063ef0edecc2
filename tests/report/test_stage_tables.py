"""The small tables of the stages' notebooks, from artifacts made by hand."""

import torch

from dskd.report.stage_tables import (
    codes_table,
    corpus_checks,
    lexicon_counts,
    lexicon_pairs,
    next_tokens,
    sample_table,
    spans_table,
    states_table,
    targets_table,
)
from dskd.senses.store import Senses
from dskd.states.reservoir import Reservoir
from dskd.states.store import States
from dskd.targets.store import SenseTargets, no_targets


class Tokenizer:
    """Words are tokens: the number of a word is its place in the list."""

    words = ("a", "b", "c", ",")
    unk_token_id = None

    def decode(self, token):
        return f" {self.words[token]}"

    def __call__(self, texts, **_):
        if isinstance(texts, str):
            return {"input_ids": [self.words.index(word) for word in texts.replace(",", ", ").split()]}
        return {"input_ids": [self(text)["input_ids"] for text in texts]}


def made_states():
    hidden = torch.tensor([[[1.0, -1.0], [3.0, 1.0], [1.0, 1.0]]]).bfloat16()
    return States([hidden], [hidden], [torch.tensor([[0, 2, 1]], dtype=torch.int32)])


def test_counts_and_pairs_of_the_lexicon_are_two_tables():
    pairs = {"wordnet": {"synonym": 3, "antonym": 1}}
    summary = {"words": 9, "pairs": pairs, "heads": 2, "pairs_that_fit": {"wordnet": {"synonym": 2, "antonym": 0}}}
    assert lexicon_counts(summary)["count"].to_dict() == {"words": 9, "heads": 2}
    assert lexicon_pairs(summary).loc["wordnet.synonym"].to_dict() == {"pairs": 3, "pairs_that_fit": 2}


def test_the_table_of_targets_has_shares_of_positions_and_zeros_without_targets():
    pull = torch.tensor([[[0, 1], [2, -1], [-1, -1], [0, -1]]])
    push = torch.tensor([[[1, -1], [-1, -1], [-1, -1], [-1, -1]]])
    found = targets_table(SenseTargets(torch.zeros(1234, 3), pull, push))
    assert found["targets"].tolist() == ["1,234", "75.0%", "25.0%"]
    assert targets_table(no_targets())["targets"].tolist() == ["0", "0.0%", "0.0%"]


def test_a_corpus_that_found_less_text_than_wanted_says_so():
    summary = {"documents_in_both_splits": 0, "glosses_left_out_for_heldout_words": 7, "fewer_than_wanted": {}}
    assert corpus_checks(summary)["found"].tolist() == [0, 7, "nowhere"]
    short = {"train.wiki": {"blocks": 1, "blocks_wanted": 2}}
    assert corpus_checks(summary | {"fewer_than_wanted": short})["found"].tolist()[2] == short


def test_states_say_what_they_take_and_their_scale():
    found = states_table(made_states(), vocabulary=10)["states"]
    assert found[["blocks", "tokens in a block", "shards", "number format"]].tolist() == [1, 3, 1, "bfloat16"]
    assert found[["bytes kept for a token", "bytes of its logits"]].tolist() == [8, 20]
    assert found["mean square of the last hidden states"] == "2.33" and found["their variance"] == "1.33"


def test_codes_say_what_a_token_takes_with_and_without_their_tables():
    sizes = {"codes": 2_500_000, "tables": 1_250_000, "heldout": 300_000}
    found = codes_table({"codec": "senses", "positions": 1_000_000, "bytes": sizes}, made_states())["training text"]
    assert found.tolist() == ["senses", 4, "2.50", "3.75", "2.5", "1.2", "0.3"]
    assert codes_table({"codec": "exact"}, made_states())["training text"].to_dict() == {
        "code": "exact",
        "bytes of a state": 4,
    }


def test_the_tokens_of_the_text_stand_beside_those_that_the_teacher_expects():
    labels = torch.tensor([[0, 1, 1]])
    found = next_tokens(made_states(), labels, Tokenizer())
    assert found.to_dict("split")["data"] == [["' a'", "' a'", "yes"], ["' b'", "' c'", ""], ["' b'", "' b'", "yes"]]
    assert next_tokens(made_states(), labels, Tokenizer(), end=2, rows=1).to_dict("split")["data"] == [
        ["' b'", "' c'", ""]
    ]


def test_a_word_of_several_tokens_has_senses_where_each_token_has_some():
    tokens, offsets = torch.tensor([0, 1], dtype=torch.int32), torch.tensor([0, 2, 3])
    none = torch.zeros(3, dtype=torch.int32)
    senses = Senses(tokens, offsets, torch.ones(2).long(), torch.randn(3, 2), none, torch.zeros(3, 1).long())
    found = spans_table(senses, Tokenizer(), ["a b", "a c"]).to_dict("split")["data"]
    assert found == [["a b", [" a", " b"], 2], ["a c", [" a", " c"], 0]]


def test_a_sample_is_told_by_its_sizes():
    sizes = torch.tensor([1, 4, 4])
    tokens = torch.tensor([2, 3, 9], dtype=torch.int32)
    states = [torch.zeros(9, 250_000, dtype=torch.bfloat16)]
    sample = Reservoir(tokens, torch.tensor([1, 4, 1000]), sizes, torch.arange(9), torch.arange(9), states)
    assert sample_table(sample, 4)["sample"].to_dict() == {
        "tokens read": "1,005",
        "tokens of the vocabulary with states": "3",
        "states in the sample": "9",
        "states of a token, median": 4,
        "tokens with 4 states": "2",
        "megabytes": 4,
    }
