import pytest
import torch
from tiny.models import generator, random_states, sense_settings

from dskd.codes import material as material_module
from dskd.codes.material import Material, context_line, material_of, of_dictionary, rounded, token_senses
from dskd.codes.reading import guess
from dskd.model.logits import Head, widened

BLOCKS, LENGTH, D, TOKENS = 20, 7, 6, 5
SETTINGS = sense_settings(min_states=1, k=40, reservoir=40)  # every state is a sense
METRIC = torch.randn(D, D, generator=generator(8))


def made(**settings):
    """A text in shards of 6, 6, 6 and 2 blocks, and its states as one."""
    states = random_states(BLOCKS, LENGTH, D, TOKENS, shard=6)
    below = torch.randn(BLOCKS, LENGTH, D, generator=generator(1))
    states = states._replace(split_states=list(below.split(6)))
    keys = torch.cat(states.predicted).flatten()
    of = Material(states, keys, METRIC, SETTINGS.model_copy(update=settings))
    return of, torch.cat(states.hidden_states).flatten(0, 1), below.flatten(0, 1)


def test_the_material_of_a_text_has_the_metric_of_the_head_and_the_key_of_each_position():
    of, whole, _ = made()
    head = widened(Head(torch.randn(30, D, generator=generator(2))))
    found = material_of(of.states, head, SETTINGS)
    assert torch.equal(found.keys, of.keys) and len(found.keys) == BLOCKS * LENGTH
    squares = found.x(torch.arange(len(whole))).square().sum(dim=1)
    torch.testing.assert_close(squares, (whole @ head.wide.T).var(dim=1, correction=0), rtol=1e-4, atol=1e-4)


def test_states_are_taken_by_position_and_seen_by_the_metric():
    of, whole, below = made()
    positions = torch.tensor([100, 0, 41, 42, 139])
    torch.testing.assert_close(of.x(positions), torch.stack([whole[i] @ METRIC for i in positions]))
    assert torch.equal(of.below(positions), below[positions])


def test_the_sample_is_drawn_without_replacement_by_the_seed_and_bounded(monkeypatch):
    of, _, _ = made()
    assert of.sample.sort().values.tolist() == list(range(BLOCKS * LENGTH))
    assert not torch.equal(of.sample, made(seed=1)[0].sample)
    monkeypatch.setattr(material_module, "SAMPLE", 9)
    assert len(set(of.sample.tolist())) == 9


@pytest.mark.parametrize("capacity", [1, 12, 1000])
def test_a_dictionary_is_made_of_at_most_so_many_states_of_each_token(capacity):
    of, _, _ = made(reservoir=capacity)
    chosen = of_dictionary(of)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    found, there = (keys.bincount(minlength=TOKENS) for keys in (of.keys[chosen], of.keys))
    assert torch.equal(found, there.clamp_max(capacity))


def test_senses_of_few_states_are_these_states_in_the_metric():
    of, whole, _ = made()
    senses = token_senses(of)
    assert senses.tokens.tolist() == of.keys.unique().tolist()
    for token, number in zip(*(column.tolist() for column in of.keys.unique(return_counts=True))):
        rows = senses.rows(token)
        if number <= 40:
            own = (whole @ METRIC)[of.keys == token]
            torch.testing.assert_close(senses.centroids[rows.start : rows.stop], own)
    assert torch.equal(senses.occurrences, of.keys.bincount())


def test_senses_after_a_guess_are_of_what_it_leaves():
    of, whole, below = made()
    line = torch.randn(D + 1, D, generator=generator(4))
    senses, token = token_senses(of, line), int(of.keys.bincount(minlength=TOKENS).argmin())
    rows = senses.rows(token)
    left = whole @ METRIC - (below @ line[:D] + line[D])
    torch.testing.assert_close(senses.centroids[rows.start : rows.stop], left[of.keys == token])


def test_the_line_is_found_again_where_the_last_states_are_an_affine_map_of_those_below():
    of, _, below = made()
    below = torch.randn(400, 10, D, generator=generator(5)) * torch.linspace(3, 1, D) + 2
    slope, shift = (torch.randn(*shape, generator=generator(6)) for shape in ((D, D), (D,)))
    x = below @ slope + shift
    hidden = x @ torch.linalg.inv(METRIC)
    states = of.states._replace(hidden_states=list(hidden.split(100)), split_states=list(below.split(100)))
    line = context_line(of._replace(states=states, keys=torch.zeros(4000)))
    torch.testing.assert_close(line[:D], slope, rtol=0.05, atol=0.05)
    torch.testing.assert_close(line[D], shift, rtol=0.05, atol=0.15)
    assert float((guess(below.flatten(0, 1), line) - x.flatten(0, 1)).square().mean()) < 1e-2


def test_a_rounded_dictionary_has_numbers_of_bfloat16_in_float32():
    senses = token_senses(made()[0])
    found = rounded(senses).centroids
    assert found.dtype == torch.float32 and torch.equal(found, senses.centroids.bfloat16().float())
    assert not torch.equal(found, senses.centroids)
