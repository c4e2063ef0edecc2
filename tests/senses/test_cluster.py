import numpy as np
import pytest
import torch
from tiny.models import generator, random_states

from dskd.errors import UserError
from dskd.infra.randomness import hash_integers
from dskd.params import SensesParams
from dskd.senses import cluster as senses_module
from dskd.senses.cluster import build_senses, reservoir
from dskd.senses.store import SenseDictionary, compose_span, load_senses, save_senses
from dskd.states.store import States

BLOCKS, LENGTH, WIDTH, TOKENS = 12, 16, 32, 30
NO_LABELS = torch.zeros(BLOCKS, LENGTH, dtype=torch.int64)


def settings(**changes):
    values = {"seed": 0, "key": "predicted", "k": 4, "reservoir": 12, "iterations": 30, "contexts": 3}
    return SensesParams(**(values | changes))


def flat(states: States) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat(states.hidden_states).flatten(0, 1), torch.cat(states.predicted).flatten()


def entry(senses: SenseDictionary, token: int) -> dict:
    rows = list(senses.rows(token))
    return {name: getattr(senses, name)[rows] for name in ("centroids", "counts", "contexts")}


def assert_same(one, other):
    for name in SenseDictionary._fields:
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_the_reservoir_takes_at_most_its_capacity_of_each_token_s_own_positions():
    keys = (torch.rand(500, generator=generator(0)).square() * 20).to(torch.int32)
    tokens, occurrences, positions, sizes = reservoir([keys], 0, 15)
    true_tokens, true_counts = np.unique(keys.numpy(), return_counts=True)
    assert tokens.tolist() == true_tokens.tolist() and occurrences.tolist() == true_counts.tolist()
    assert sizes.tolist() == np.minimum(true_counts, 15).tolist()
    assert sizes.max() == 15 and sizes.min() < 15  # both cases are there
    for token, chosen in zip(tokens.tolist(), positions.split(sizes.tolist())):
        assert (keys[chosen] == token).all()
        assert chosen.tolist() == sorted(set(chosen.tolist()))


@pytest.mark.parametrize("piece", [1, 7, 64, 10_000])
def test_the_reservoir_is_the_same_however_much_it_takes_in_at_one_time(monkeypatch, piece):
    keys = (torch.rand(1000, generator=generator(3)).square() * 40).to(torch.int32)
    whole = reservoir([keys], 5, 12)
    # Sorted by hash, key by key, as the definition says.
    hashes = hash_integers(5, np.arange(1000))
    for token, chosen in zip(whole[0].tolist(), whole[2].split(whole[3].tolist())):
        own = (keys == token).nonzero().squeeze(1).numpy()
        assert chosen.tolist() == sorted(own[hashes[own].argsort()][:12].tolist())
    monkeypatch.setattr(senses_module, "_PIECE", piece)
    for shards in ([keys], list(keys.split(100)), [keys[:3], keys[3:3], keys[3:].view(-1, 997)]):
        assert all(torch.equal(a, b) for a, b in zip(reservoir(shards, 5, 12), whole, strict=True))


def test_the_reservoir_is_uniform_over_seeds():
    keys, draws = torch.zeros(40, dtype=torch.int32), 1000
    taken = torch.zeros(40)
    for seed in range(draws):
        taken[reservoir([keys], seed, 10)[2]] += 1
    # Binomial(1000, 1/4) a position: standard deviation 13.7; all 40 within 4 of them (chi-square likewise).
    assert (taken - 250).abs().max() < 55
    assert ((taken - 250).square() / 250).sum() < 62  # 39 degrees of freedom times 3/4, far tail


def test_a_token_s_sample_does_not_depend_on_the_tokens_elsewhere():
    keys = (torch.rand(400, generator=generator(1)) * 5).to(torch.int32)
    others = torch.where(keys == 2, keys, keys + 7)  # every other position holds another token
    one, two = (
        dict(zip(tokens.tolist(), positions.split(sizes.tolist())))
        for tokens, _, positions, sizes in (reservoir([k], 0, 20) for k in (keys, others))
    )
    assert len(one[2]) == 20 and torch.equal(one[2], two[2])


def test_a_token_with_few_states_keeps_them_as_they_are():
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    vectors, keys = flat(states)
    senses = build_senses(states, NO_LABELS, settings())
    few = [t for t, n in zip(senses.tokens.tolist(), senses.occurrences.tolist()) if n <= 4]
    assert few
    for token in few:
        positions, found = (keys == token).nonzero().squeeze(1), entry(senses, token)
        assert torch.equal(found["centroids"], vectors[positions])
        assert torch.equal(found["contexts"][:, 0], positions) and (found["contexts"][:, 1:] == -1).all()
        assert (found["counts"] == 1).all()


def test_each_sense_is_the_mean_of_its_cluster_and_names_its_nearest_states():
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    vectors, keys = flat(states)
    chosen = settings()
    senses = build_senses(states, NO_LABELS, chosen)
    tokens, occurrences, positions, sizes = reservoir([keys], chosen.seed, chosen.reservoir)
    assert torch.equal(senses.tokens, tokens) and torch.equal(senses.occurrences, occurrences)
    many = 0
    for token, sample in zip(tokens.tolist(), positions.split(sizes.tolist())):
        found = entry(senses, token)
        assert found["counts"].sum() == len(sample)
        assert len(found["counts"]) <= chosen.k
        if len(sample) <= chosen.k:
            continue
        many += 1
        distances = torch.stack([(vectors[sample] - c).square().sum(dim=1) for c in found["centroids"]])
        cluster = distances.argmin(dim=0)
        for i, (centroid, count, contexts) in enumerate(zip(*found.values())):
            members = sample[cluster == i]
            assert len(members) == count
            torch.testing.assert_close(centroid, vectors[members].mean(dim=0), rtol=1e-4, atol=1e-5)
            near, number = contexts[contexts >= 0], min(len(members), chosen.contexts)
            assert len(near) == number == len(near.unique()) and (contexts[number:] == -1).all()
            assert torch.isin(near, members).all()
            nearest = (vectors[members] - centroid).square().sum(dim=1).sort().values[:number]
            torch.testing.assert_close((vectors[near] - centroid).square().sum(dim=1), nearest, rtol=1e-4, atol=1e-4)
    assert many > 5


def test_the_observed_key_files_a_state_under_the_token_that_follows():
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    labels = torch.randint(100, 110, (BLOCKS, LENGTH), generator=generator(2))
    senses = build_senses(states, labels, settings(key="observed"))
    assert senses.tokens.tolist() == labels.unique().tolist()
    for token in senses.tokens.tolist():
        contexts = entry(senses, token)["contexts"]
        assert (labels.flatten()[contexts[contexts >= 0]] == token).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_dictionary_is_bitwise_the_same_however_the_states_are_cut_into_shards(dtype):
    whole, cut = (random_states(BLOCKS, LENGTH, WIDTH, TOKENS, shard=shard) for shard in (1000, 5))
    whole, cut = (s._replace(hidden_states=[t.to(dtype) for t in s.hidden_states]) for s in (whole, cut))
    assert len(cut.predicted) == 3
    senses = build_senses(whole, NO_LABELS, settings())
    assert senses.centroids.dtype == dtype
    assert_same(senses, build_senses(cut, NO_LABELS, settings()))


def test_a_token_s_senses_are_bitwise_the_same_whatever_the_other_tokens_are():
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    senses = build_senses(states, NO_LABELS, settings())
    (keys,) = states.predicted
    clustered = senses.tokens[senses.occurrences > 4].tolist()
    for token in (clustered[0], clustered[len(clustered) // 2], clustered[-1]):
        alone = states._replace(predicted=[torch.where(keys == token, keys, 1000 + keys // 4)])
        others = build_senses(alone, NO_LABELS, settings())
        assert len(others.tokens) < len(senses.tokens)
        for name, value in entry(senses, token).items():
            assert torch.equal(value, entry(others, token)[name])


def test_the_seed_changes_the_dictionary():
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    one, two = (build_senses(states, NO_LABELS, settings(seed=seed)) for seed in (0, 1))
    common = int(one.tokens[one.occurrences.argmax()])
    assert not torch.equal(entry(one, common)["contexts"], entry(two, common)["contexts"])


def test_equal_states_of_a_token_become_one_sense():
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    predicted = torch.full((BLOCKS, LENGTH), 3, dtype=torch.int32)
    same = states._replace(hidden_states=[torch.ones(BLOCKS, LENGTH, WIDTH)], predicted=[predicted])
    senses = build_senses(same, NO_LABELS, settings())
    assert len(senses.centroids) == 1 and senses.counts.tolist() == [12]
    assert torch.equal(senses.centroids[0], torch.ones(WIDTH))


def test_a_saved_dictionary_is_read_back_as_it_was(tmp_path):
    senses = build_senses(random_states(BLOCKS, LENGTH, WIDTH, TOKENS), NO_LABELS, settings())
    save_senses(tmp_path / "senses", senses)
    assert_same(load_senses(tmp_path / "senses"), senses)


def test_a_missing_or_damaged_dictionary_names_the_stage_that_makes_it(tmp_path):
    with pytest.raises(UserError, match="dvc repro senses"):
        load_senses(tmp_path / "senses")
    save_senses(tmp_path / "senses", build_senses(random_states(2, 8, 4, 5), torch.zeros(2, 8), settings()))
    (file,) = (tmp_path / "senses").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"has changed.*dvc repro senses"):
        load_senses(tmp_path / "senses")


def dictionary(senses: dict[int, list]) -> SenseDictionary:
    """A dictionary with the given centroids of each token."""
    tokens = sorted(senses)
    numbers = torch.tensor([len(senses[t]) for t in tokens])
    centroids = torch.cat([torch.tensor(senses[t], dtype=torch.float32) for t in tokens])
    return SenseDictionary(
        torch.tensor(tokens, dtype=torch.int32),
        torch.cat([torch.zeros(1, dtype=torch.int64), numbers.cumsum(0)]),
        numbers,
        centroids,
        torch.ones(len(centroids), dtype=torch.int32),
        torch.full((len(centroids), 1), -1),
    )


def test_the_senses_of_a_span_are_those_worked_out_by_hand():
    senses = dictionary({3: [[0.0, 0.0], [10.0, 10.0]], 5: [[2.0, 0.0], [8.0, 12.0], [50.0, 50.0]], 9: [[4.0, 3.0]]})
    # (0,0) meets (2,0): (1,0); (10,10) meets (8,12): (9,11); then both meet (4,3) as a third of the mean.
    assert compose_span(senses, (3, 5)).tolist() == [[1, 0], [9, 11]]
    torch.testing.assert_close(compose_span(senses, (3, 5, 9)), torch.tensor([[2.0, 1.0], [22 / 3, 25 / 3]]))
    assert compose_span(senses, (9, 3)).tolist() == [[2, 1.5]]
    assert compose_span(senses, (9,)).tolist() == [[4, 3]]


def test_a_span_with_an_unseen_token_has_no_senses():
    senses = dictionary({3: [[0.0, 0.0]], 5: [[2.0, 0.0]]})
    assert senses.rows(4) == range(0) and senses.rows(99) == range(0)
    assert list(senses.rows(5)) == [1]
    for span in ((4,), (4, 3), (3, 4), (3, 4, 5), (99, 98)):
        assert compose_span(senses, span).shape == (0, 2)


@pytest.mark.parametrize("reservoir", [1000, 3])  # all states, to be clustered; too few for that
def test_the_seed_draws_the_first_centres_and_the_sample(reservoir):
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    one, again, other = (build_senses(states, NO_LABELS, settings(seed=s, reservoir=reservoir)) for s in (3, 3, 4))
    assert_same(one, again)
    assert torch.equal(one.tokens, other.tokens) and torch.equal(one.occurrences, other.occurrences)
    assert not torch.equal(one.centroids, other.centroids)


def test_one_process_leaves_the_dictionary_and_its_checksums_alone(tmp_path):
    save_senses(tmp_path / "senses", build_senses(random_states(BLOCKS, LENGTH, WIDTH, TOKENS), NO_LABELS, settings()))
    assert sorted(path.name for path in (tmp_path / "senses").iterdir()) == ["SHA256SUMS", "senses.safetensors"]
