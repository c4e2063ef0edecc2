import pytest
import torch
from tiny.models import dictionary, generator, random_states, sampled, sense_settings

from dskd.errors import UserError
from dskd.infra.made_of import check_made_of, save_made_of
from dskd.senses.cluster import build_senses
from dskd.senses.store import Senses, compose_span, load_senses, save_senses
from dskd.states.store import States

BLOCKS, LENGTH, WIDTH, TOKENS = 12, 16, 32, 30
NO_LABELS = torch.zeros(BLOCKS, LENGTH, dtype=torch.int64)


def senses_of(states: States, labels: torch.Tensor = NO_LABELS, **changes) -> Senses:
    """The dictionary of these states, with these changes of the settings."""
    chosen = sense_settings(**changes)
    return build_senses(sampled(states, labels, chosen), chosen)


def flat(states: States) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat(states.hidden_states).flatten(0, 1), torch.cat(states.predicted).flatten()


def entry(senses: Senses, token: int) -> dict:
    rows = list(senses.rows(token))
    return {name: getattr(senses, name)[rows] for name in ("centroids", "counts", "contexts")}


def assert_same(one, other):
    for name in Senses._fields:
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_a_token_with_few_states_keeps_them_as_they_are():
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    vectors, keys = flat(states)
    senses = senses_of(states)
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
    chosen = sense_settings()
    drawn = sampled(states, NO_LABELS, chosen)
    senses = build_senses(drawn, chosen)
    assert torch.equal(senses.tokens, drawn.tokens) and torch.equal(senses.occurrences, keys.bincount()[drawn.tokens])
    many = 0
    for token, sample in zip(drawn.tokens.tolist(), drawn.positions.split(drawn.sizes.tolist())):
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
    senses = senses_of(states, labels, key="observed")
    assert senses.tokens.tolist() == labels.unique().tolist()
    for token in senses.tokens.tolist():
        contexts = entry(senses, token)["contexts"]
        assert (labels.flatten()[contexts[contexts >= 0]] == token).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_dictionary_is_bitwise_the_same_however_the_states_are_cut_into_shards(dtype):
    whole, cut = (random_states(BLOCKS, LENGTH, WIDTH, TOKENS, shard=shard) for shard in (1000, 5))
    whole, cut = (s._replace(hidden_states=[t.to(dtype) for t in s.hidden_states]) for s in (whole, cut))
    assert len(cut.predicted) == 3
    senses = senses_of(whole)
    assert senses.centroids.dtype == dtype
    assert_same(senses, senses_of(cut))


@pytest.mark.parametrize("least", [1, 3])
def test_a_token_s_senses_are_bitwise_the_same_whatever_the_other_tokens_are(least):
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    senses = senses_of(states, min_states=least)
    (keys,) = states.predicted
    clustered = senses.tokens[senses.occurrences > 4].tolist()
    for token in (clustered[0], clustered[len(clustered) // 2], clustered[-1]):
        alone = states._replace(predicted=[torch.where(keys == token, keys, 1000 + keys // 4)])
        others = senses_of(alone, min_states=least)
        assert len(others.tokens) < len(senses.tokens)
        for name, value in entry(senses, token).items():
            assert torch.equal(value, entry(others, token)[name])


@pytest.mark.parametrize("least", [2, 3, 5])
def test_each_sense_stands_for_as_many_states_as_were_asked_for(least):
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    vectors, keys = flat(states)
    chosen = sense_settings(min_states=least)
    drawn = sampled(states, NO_LABELS, chosen)
    senses = build_senses(drawn, chosen)
    samples = dict(zip(drawn.tokens.tolist(), drawn.positions.split(drawn.sizes.tolist())))
    assert senses.tokens.tolist() == [token for token, sample in samples.items() if len(sample) >= least]
    assert torch.equal(senses.occurrences, keys.bincount()[senses.tokens]) and senses.counts.min() >= least
    fewer = 0
    for token, sample in samples.items():
        found = entry(senses, token)
        number, most = len(found["counts"]), min(chosen.k, len(sample) // least)
        assert number <= most and bool(number) == bool(most)
        assert found["counts"].sum() == (len(sample) if number else 0)
        fewer += number < most
        near = found["contexts"][found["contexts"] >= 0]
        assert torch.isin(near, sample).all() and len(near) == found["counts"].clamp_max(chosen.contexts).sum()
        if number == 1:
            torch.testing.assert_close(found["centroids"][0], vectors[sample].mean(dim=0), rtol=1e-4, atol=1e-5)
    assert fewer or least == 2  # some clusters were too small


def test_where_each_sense_needs_several_states_they_are_the_ones_that_lie_together():
    """Two heaps of five states and a stray one: three senses could stand for three each, but only two do."""
    heaps = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.5]])
    vectors = torch.cat([heaps, heaps + 40, torch.tensor([[20.5, 21.5]])])[None]
    states = States([vectors], [vectors], [torch.full((1, 11), 7, dtype=torch.int32)])
    senses = senses_of(states, torch.zeros(1, 11), min_states=3)
    order = senses.centroids[:, 0].argsort()
    means = torch.tensor([[0.5, 0.5], [(5 * 40.5 + 20.5) / 6, (5 * 40.5 + 21.5) / 6]])
    torch.testing.assert_close(senses.centroids[order], means)
    assert senses.counts[order].tolist() == [5, 6] and senses.contexts[order[0], 0] == 4


def test_no_token_with_enough_states_is_an_error_that_says_how_many_there_are():
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    assert len(senses_of(states, min_states=12).tokens)
    with pytest.raises(
        UserError, match=r"no token has senses\.min_states = 13 states; the most frequent one has 12: lower"
    ):
        senses_of(states, min_states=13)


def test_the_seed_changes_the_dictionary():
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    one, two = (senses_of(states, seed=seed) for seed in (0, 1))
    common = int(one.tokens[one.occurrences.argmax()])
    assert not torch.equal(entry(one, common)["contexts"], entry(two, common)["contexts"])


def test_equal_states_of_a_token_become_one_sense():
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    predicted = torch.full((BLOCKS, LENGTH), 3, dtype=torch.int32)
    same = states._replace(hidden_states=[torch.ones(BLOCKS, LENGTH, WIDTH)], predicted=[predicted])
    senses = senses_of(same)
    assert len(senses.centroids) == 1 and senses.counts.tolist() == [12]
    assert torch.equal(senses.centroids[0], torch.ones(WIDTH))


def test_a_saved_dictionary_is_read_back_as_it_was(tmp_path):
    senses = senses_of(random_states(BLOCKS, LENGTH, WIDTH, TOKENS))
    save_senses(tmp_path / "senses", senses)
    assert_same(load_senses(tmp_path / "senses"), senses)


def test_a_missing_or_damaged_dictionary_names_the_stage_that_makes_it(tmp_path):
    with pytest.raises(UserError, match="dvc repro senses"):
        load_senses(tmp_path / "senses")
    save_senses(tmp_path / "senses", senses_of(random_states(2, 8, 4, 5)))
    (file,) = (tmp_path / "senses").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"has changed.*dvc repro senses"):
        load_senses(tmp_path / "senses")


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
    one, again, other = (senses_of(states, seed=s, reservoir=reservoir) for s in (3, 3, 4))
    assert_same(one, again)
    assert torch.equal(one.tokens, other.tokens) and torch.equal(one.occurrences, other.occurrences)
    assert not torch.equal(one.centroids, other.centroids)


@pytest.mark.parametrize("min_states", [1, 2])
def test_more_senses_than_a_token_can_have_states_are_as_many_as_it_has(min_states):
    """The memory for them would be 128 GB."""
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    every, many = (senses_of(states, k=k, min_states=min_states) for k in (12, 10**9))  # of a sample of 12
    assert_same(every, many)


def test_the_senses_are_the_same_bytes_whatever_format_new_tensors_have_by_default():
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    before = senses_of(states, min_states=2)
    torch.set_default_dtype(torch.float64)
    try:
        assert_same(senses_of(states, min_states=2), before)
    finally:
        torch.set_default_dtype(torch.float32)


def test_one_process_leaves_the_dictionary_and_its_checksums_alone(tmp_path):
    save_senses(tmp_path / "senses", senses_of(random_states(BLOCKS, LENGTH, WIDTH, TOKENS)))
    assert sorted(path.name for path in (tmp_path / "senses").iterdir()) == ["SHA256SUMS", "senses.safetensors"]


def test_a_dictionary_of_another_teacher_is_an_error_that_says_what_to_do(tmp_path):
    save_made_of(tmp_path, {"teacher": "abc"})
    check_made_of(tmp_path, "senses", {"teacher": "abc"})
    with pytest.raises(UserError, match=r"another teacher or tokenizer.*dvc repro senses"):
        check_made_of(tmp_path, "senses", {"teacher": "abd"})
    (tmp_path / "origin.json").write_text("{}")
    with pytest.raises(UserError, match=r"origin\.json is damaged.*dvc repro senses"):
        check_made_of(tmp_path, "senses", {"teacher": "abc"})
