import pytest
import torch
from tiny.models import random_states, sampled, sense_settings

from dskd.senses.cluster import build_senses
from dskd.senses.store import one_sense
from dskd.targets.controls import SenseLexicon, collapsed, controlled, noise, shuffled


@pytest.fixture(scope="module")
def senses():
    states = random_states(8, 40, 8, 25)
    labels = torch.cat(states.predicted).long()
    chosen = sense_settings(reservoir=30, iterations=20, contexts=1)
    return build_senses(sampled(states, labels, chosen), chosen)


def test_shuffling_gives_every_head_the_list_of_another_of_like_degree():
    relations = {head: [(head, i) for i in range(1 + head % 7)] for head in range(200)}
    mixed = shuffled(relations, seed=3)
    assert list(mixed) == list(relations)
    assert sorted(map(tuple, mixed.values())) == sorted(map(tuple, relations.values()))
    assert all(mixed[head] != relations[head] for head in relations)
    differences = [abs(len(mixed[head]) - len(relations[head])) for head in relations]
    assert max(differences) <= 1 and sum(differences) < 20
    assert mixed == shuffled(relations, seed=3) != shuffled(relations, seed=4)


@pytest.mark.parametrize("heads", [0, 1, 2, 9, 11, 19])
def test_few_heads_are_shuffled_as_far_as_they_go(heads):
    relations = {head: [(head,)] for head in range(heads)}
    mixed = shuffled(relations, seed=0)
    assert sorted(mixed.values()) == sorted(relations.values())
    assert heads < 2 or all(mixed[head] != relations[head] for head in relations)


def test_noise_has_the_mean_and_variance_of_the_centroids_in_each_dimension_and_nothing_else(senses):
    other = noise(senses, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(other, senses) if a is not other.centroids)
    true, drawn = senses.centroids.double(), other.centroids.double()
    assert torch.allclose(drawn.mean(dim=0), true.mean(dim=0), atol=1e-5)
    assert torch.allclose(drawn.std(dim=0), true.std(dim=0), rtol=1e-4)
    correlation = torch.corrcoef(torch.stack([drawn.flatten(), true.flatten()]))[0, 1]
    assert abs(correlation) < 0.2
    assert torch.equal(other.centroids, noise(senses, seed=1).centroids)
    assert not torch.equal(other.centroids, noise(senses, seed=2).centroids)


def test_a_collapsed_dictionary_has_one_meaning_for_all_words(senses):
    other = collapsed(senses)
    assert all(torch.equal(a, b) for a, b in zip(other, senses) if a is not other.centroids)
    assert other.centroids.shape == senses.centroids.shape and other.centroids.dtype == senses.centroids.dtype
    assert len(other.centroids.unique(dim=0)) == 1
    assert torch.allclose(other.centroids[0], senses.centroids.float().mean(dim=0), atol=1e-2)


def test_one_sense_a_token_is_the_mean_of_its_states(senses):
    found = one_sense(senses)
    assert len(found.centroids) == len(found.tokens) == len(senses.tokens) < len(senses.centroids)
    assert torch.equal(found.tokens, senses.tokens) and torch.equal(found.occurrences, senses.occurrences)
    for token in senses.tokens.tolist():
        rows, (row,) = senses.rows(token), found.rows(token)
        states = [senses.centroids[i].double() for i in rows for _ in range(int(senses.counts[i]))]
        assert int(found.counts[row]) == len(states)
        assert torch.allclose(found.centroids[row].double(), torch.stack(states).mean(dim=0), atol=1e-2)
        largest = max(rows, key=lambda i: (int(senses.counts[i]), -i))
        assert torch.equal(found.contexts[row], senses.contexts[largest])
    assert [found[i].dtype for i in range(6)] == [senses[i].dtype for i in range(6)]
    assert all(torch.equal(a, b) for a, b in zip(one_sense(found), found))


def test_an_unknown_control_is_an_error(senses):
    with pytest.raises(ValueError, match="others"):
        controlled("others", SenseLexicon(senses, {}, {}), seed=0)


def test_each_control_changes_what_it_is_named_after_and_nothing_else(senses):
    synonyms = {head: [(head + 1,)] * (1 + head % 2) for head in range(40)}
    antonyms = {head: [(head + 2,), (head, 5)] for head in range(0, 80, 2)}
    true = SenseLexicon(senses, synonyms, antonyms)

    def made(variant, seed=7):
        return controlled(variant, true, seed)

    assert made("lexicon") == made("related") == true
    assert made("no_antonyms") == true._replace(antonyms={})
    assert made("no_synonyms") == true._replace(synonyms={})
    assert made("published") == true._replace(own_push=True)
    assert made("shuffled") == true._replace(synonyms=shuffled(synonyms, 7), antonyms=shuffled(antonyms, 7))
    for relations, others in ((synonyms, made("shuffled").synonyms), (antonyms, made("shuffled").antonyms)):
        assert all(relations[head] != others[head] for head in relations)
    others = {"random": noise(senses, 7), "mean": collapsed(senses), "token_mean": one_sense(senses)}
    for variant, expected in others.items():
        found = made(variant)
        assert found[1:] == true[1:]
        assert all(torch.equal(a, b) for a, b in zip(found.senses, expected))
    assert made("shuffled", 8) != made("shuffled")
    assert not torch.equal(made("random", 8).senses.centroids, made("random").senses.centroids)
