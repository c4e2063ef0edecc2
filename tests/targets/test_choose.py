import numpy as np
import pytest
import torch
from tiny.models import random_states, sampled, sense_settings
from torch import Tensor

from dskd.errors import UserError
from dskd.infra.randomness import text_key, uniform
from dskd.params import TargetsParams
from dskd.senses.cluster import build_senses
from dskd.senses.store import compose_span
from dskd.targets.choose import build_targets, candidates, nearest_rows, sample_positions, trimmed_lexicon
from dskd.targets.controls import SenseLexicon, controlled
from dskd.targets.store import load_targets, no_targets, save_targets

BLOCKS, LENGTH, WIDTH, TOKENS = 8, 40, 8, 25
SYNONYMS = {1: [(2,), (5, 6)], 3: [(999,)], 4: [(1,), (6,), (7,)], 2: [(1,)]}  # 999 was never seen
ANTONYMS = {1: [(8,), (1,), (9, 3)], 2: [(8, 9, 10)], 6: [(7,), (999, 2)]}  # 1 stands as its own opposite
RELATED = {1, 2, 4, 6}


def settings(**changes):
    values = {
        "seed": 0,
        "neighbours": 3,
        "max_synonyms": 25,
        "max_antonyms": 25,
        "related_share": 0.5,
        "related_min": 2,
    }
    return TargetsParams(**(values | changes))


@pytest.fixture(scope="module")
def made():
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS, shard=3)
    labels = torch.cat(states.predicted).roll(1, dims=1).long()
    chosen = sense_settings(reservoir=30, iterations=20, contexts=1)
    return states, labels, build_senses(sampled(states, labels, chosen), chosen)


def members(senses, spans: list[tuple[int, ...]]) -> list[Tensor]:
    """All senses of these words, as vectors."""
    return [row for span in spans for row in compose_span(senses, span)]


def nearest(state: Tensor, vectors: list[Tensor], number: int) -> list[tuple]:
    """A plain loop: the vectors nearest to the state, nearest first, each once."""
    distinct = {tuple(v.tolist()): float(((state.double() - v.double()) ** 2).sum()) for v in vectors}
    return sorted(distinct, key=distinct.get)[:number]


def test_nearest_rows_are_those_of_a_plain_loop():
    states, vectors = torch.randn(11, 5), torch.randn(20, 5)
    rows = torch.tensor([0, 3, 4, 9, 12, 19])
    found = nearest_rows(states, vectors, rows, 4)
    assert found.dtype == torch.int32
    for state, row in zip(states, found.tolist()):
        assert row == sorted(rows.tolist(), key=lambda r: float(((state - vectors[r]) ** 2).sum()))[:4]


def test_nearest_rows_are_padded_where_there_are_fewer_or_none():
    states, vectors = torch.randn(2, 5), torch.randn(20, 5)
    found = nearest_rows(states, vectors, torch.tensor([7, 2]), 4)
    assert (found[:, 2:] == -1).all() and [sorted(row[:2]) for row in found.tolist()] == [[2, 7]] * 2
    assert (nearest_rows(states, vectors, torch.tensor([], dtype=torch.int64), 4) == -1).all()
    assert nearest_rows(states[:0], vectors, torch.tensor([7]), 4).shape == (0, 4)


@pytest.mark.parametrize("variant", ["lexicon", "shuffled", "random", "published"])
def test_every_position_is_pulled_and_pushed_as_a_plain_loop_over_the_method_says(made, variant):
    states, labels, senses = made
    chosen = settings(seed=5)
    targets = build_targets(states, labels, senses, SYNONYMS, ANTONYMS, chosen, variant)
    lexicon = controlled(variant, SenseLexicon(senses, SYNONYMS, ANTONYMS), 5)
    with_relations, own_only = sample_positions(labels, RELATED, set(senses.tokens.tolist()), chosen)
    assert not (with_relations & own_only).any()
    hidden_states, kinds = torch.cat(states.hidden_states), {"both": 0, "own": 0, "none": 0, "push": 0}
    for b in range(BLOCKS):
        for i in range(LENGTH):
            token, state = int(labels[b, i]), hidden_states[b, i]
            own = members(lexicon.senses, [(token,)])
            pull, push = [], []
            if with_relations[b, i]:
                pull = own + members(lexicon.senses, lexicon.synonyms.get(token, []))
                others = [span for span in lexicon.antonyms.get(token, []) if span != (token,)]
                push = members(lexicon.senses, others)
                push += own if push and variant == "published" else []
                kinds["both"] += 1
                kinds["push"] += bool(push)
            elif own_only[b, i]:
                pull = own
                kinds["own"] += 1
            else:
                kinds["none"] += 1
            for found, true in ((targets.pull[b, i], pull), (targets.push[b, i], push)):
                rows = [r for r in found.tolist() if r >= 0]
                assert [tuple(targets.vectors[r].tolist()) for r in rows] == nearest(state, true, chosen.neighbours)
                assert (found[len(rows) :] == -1).all()
    assert min(kinds.values()) > 10, kinds  # every case was there


def test_a_sense_of_the_token_itself_never_pushes(made):
    _, _, senses = made
    _, found = candidates(trimmed_lexicon(senses, {}, {1: [(1,), (8,)], 2: [(2,)]}, settings()))
    assert found[1].antonyms.tolist() == list(senses.rows(8))
    assert not len(found[2].antonyms)
    assert found[1].own.tolist() == list(senses.rows(1))


def test_only_the_first_synonyms_and_antonyms_count(made):
    _, _, senses = made
    spans = [(t,) for t in range(2, 12)]
    limits = settings(max_synonyms=2, max_antonyms=3)
    _, found = candidates(trimmed_lexicon(senses, {1: spans}, {1: spans[::-1]}, limits))
    assert found[1].synonyms.tolist() == [r for t in (2, 3) for r in senses.rows(t)]
    assert found[1].antonyms.tolist() == [r for t in (9, 10, 11) for r in senses.rows(t)]


def test_the_vectors_are_the_dictionary_and_then_the_spans(made):
    _, _, senses = made
    vectors, found = candidates(trimmed_lexicon(senses, {1: [(5, 6), (2,)]}, {2: [(5, 6)]}, settings()))
    composed = compose_span(senses, (5, 6))
    assert torch.equal(vectors, torch.cat([senses.centroids, composed]))
    new = list(range(len(senses.centroids), len(vectors)))
    assert found[1].synonyms.tolist() == list(senses.rows(2)) + new
    assert found[2].antonyms.tolist() == new


def masks(share, least, length=200, related=(1,), known=(1, 2), seed=0):
    labels = torch.arange(length).remainder(4).expand(3, -1).contiguous()  # tokens 0 1 2 3, a quarter each
    return labels, *sample_positions(
        labels, set(related), set(known), settings(related_share=share, related_min=least, seed=seed)
    )


@pytest.mark.parametrize(
    "share, least, expected",
    [(0.4, 5, 20), (0.41, 5, 21), (0.1, 25, 25), (0.0, 1, 1), (1.0, 0, 50), (0.1, 300, 50)],
)
def test_the_share_of_related_positions_and_its_minimum_hold_in_every_block(share, least, expected):
    labels, with_relations, own_only = masks(share, least)
    assert with_relations.sum(dim=1).tolist() == [expected] * 3  # of 50 in a block
    assert (labels[with_relations] == 1).all()
    assert own_only.sum(dim=1).tolist() == [expected] * 3
    assert torch.isin(labels[own_only], torch.tensor([1, 2])).all()
    assert not (with_relations & own_only).any()


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("known", [(1, 2), (1,)])
def test_positions_are_those_with_the_lowest_draws_of_all_that_are_left(seed, known):
    """Own senses alone supervise positions of any token that has some, also of a related one that was not chosen."""
    labels, with_relations, own_only = masks(0.4, 5, known=known, seed=seed)
    length = labels.shape[1]
    for block, tokens in enumerate(labels.tolist()):
        draws = uniform(text_key("targets.positions"), seed, np.arange(block * length, (block + 1) * length))
        order = sorted(range(length), key=draws.__getitem__)
        chosen = set([i for i in order if tokens[i] == 1][:20])  # two in five of the 50 that are related
        rest = set([i for i in order if tokens[i] in known and i not in chosen][:20])
        assert set(with_relations[block].nonzero().flatten().tolist()) == chosen
        assert set(own_only[block].nonzero().flatten().tolist()) == rest


@pytest.mark.parametrize("share, length, expected", [(0.3, 50, 15), (0.15, 100, 15), (0.07, 100, 7), (0.4, 255, 102)])
def test_a_share_that_gives_a_whole_number_is_not_rounded_up_past_it(share, length, expected):
    labels = torch.ones(1, length, dtype=torch.int64)
    with_relations, _ = sample_positions(labels, {1}, {1}, settings(related_share=share, related_min=0))
    assert int(with_relations.sum()) == expected


def test_a_related_token_without_senses_is_not_supervised():
    labels, with_relations, own_only = masks(0.4, 5, related=(1, 3))
    assert not (labels[with_relations | own_only] == 3).any()


def test_the_sample_differs_between_blocks_and_seeds_and_repeats_for_one_seed():
    _, first, own = masks(0.4, 5)
    assert not torch.equal(first[0], first[1])
    _, again, own_again = masks(0.4, 5)
    assert torch.equal(first, again) and torch.equal(own, own_again)
    assert not torch.equal(first, masks(0.4, 5, seed=1)[1])


def test_text_without_a_related_token_is_an_error_that_says_so(made):
    states, labels, senses = made
    for synonyms, antonyms in (({}, {}), ({1: [(999,)]}, {}), ({999: [(1,)]}, {}), ({}, {1: [(1,)]})):
        with pytest.raises(UserError, match="synonym or antonym"):
            build_targets(states, labels, senses, synonyms, antonyms, settings())


def test_saved_targets_are_read_back_as_they_were_and_damage_is_named(made, tmp_path):
    states, labels, senses = made
    targets, path = build_targets(states, labels, senses, SYNONYMS, ANTONYMS, settings()), tmp_path / "dskd"
    save_targets(path, targets)
    assert all(torch.equal(a, b) for a, b in zip(load_targets(path), targets))
    file = path / "targets.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"has changed.*dvc repro targets"):
        load_targets(path)


def supervised(targets):
    return (targets.pull >= 0).any(dim=2)


def built(made, variant, seed=0):
    states, labels, senses = made
    return build_targets(states, labels, senses, SYNONYMS, ANTONYMS, settings(seed=seed), variant)


@pytest.mark.parametrize("variant", ["no_antonyms", "no_synonyms", "shuffled", "random", "mean", "published"])
def test_every_control_supervises_the_same_positions_with_other_senses(made, variant):
    true, control = built(made, "lexicon"), built(made, variant)
    assert torch.equal(supervised(true), supervised(control))
    assert not all(torch.equal(a, b) for a, b in zip(true, control))
    assert all(torch.equal(a, b) for a, b in zip(control, built(made, variant)))


def test_what_is_taken_away_is_away_and_the_rest_as_it_was(made):
    _, labels, senses = made
    true, no_antonyms, no_synonyms = (built(made, v) for v in ("lexicon", "no_antonyms", "no_synonyms"))
    assert (no_antonyms.push == -1).all() and (true.push >= 0).any()
    at = supervised(true)
    for first, second, rows in ((true, no_antonyms, "pull"), (true, no_synonyms, "push")):
        a, b = (t.vectors[getattr(t, rows)[at].clamp_min(0).long()] for t in (first, second))
        there = getattr(first, rows)[at] >= 0
        assert torch.equal(there, getattr(second, rows)[at] >= 0) and torch.equal(a[there], b[there])
    for token, rows in zip(labels[at].tolist(), no_synonyms.pull[at].tolist()):
        assert {row for row in rows if row >= 0} <= set(senses.rows(token))


def test_related_leaves_out_the_positions_without_a_relation_and_nothing_else(made):
    _, labels, senses = made
    true, related = built(made, "lexicon"), built(made, "related")
    with_relations, own_only = sample_positions(labels, RELATED, set(senses.tokens.tolist()), settings())
    assert own_only.any() and torch.equal(supervised(related), with_relations)
    assert torch.equal(related.pull[with_relations], true.pull[with_relations])
    assert torch.equal(related.push, true.push)


def test_published_rule_pushes_a_token_off_its_own_senses(made):
    _, labels, senses = made
    published = built(made, "published")
    with_relations, _ = sample_positions(labels, RELATED, set(senses.tokens.tolist()), settings())
    pushing = published.push[with_relations]
    own = [set(senses.rows(token)) for token in labels[with_relations].tolist()]
    plain = built(made, "lexicon").push[with_relations]
    assert torch.equal(pushing[:, 0] >= 0, plain[:, 0] >= 0)  # a token without antonyms is pushed by nothing
    off = [bool(mine & set(rows)) for mine, rows in zip(own, pushing.tolist()) if rows[0] >= 0]
    assert sum(off) > len(off) / 2 > 0
    assert torch.equal(published.pull, built(made, "lexicon").pull)


def test_an_objective_without_sense_term_gets_the_same_empty_file(tmp_path):
    save_targets(tmp_path / "kd", no_targets())
    assert all(part.numel() == 0 for part in load_targets(tmp_path / "kd"))
