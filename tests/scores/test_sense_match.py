import numpy as np
import pandas as pd
import pytest
import torch
from tiny.models import dictionary

from dskd.lexicon.tokens import word_tokens
from dskd.scores.sense_match import Nearest, nearest_senses, random_senses, synset_table, wic_table
from dskd.scores.sense_places import Place
from dskd.scores.weighted import COLUMNS, Draws
from dskd.senses.store import compose_span
from dskd.states.reservoir import Reservoir

DRAWS = Draws(number=5, seed=0)


def value(table, measure, by, column="value", group="all"):
    (row,) = table[(table["measure"] == measure) & (table["by"] == by) & (table["group"] == group)].to_dict("records")
    return row[column]


# --- the nearest sense -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokens(tokenizer):
    """Of words that are one token."""
    found = word_tokens(tokenizer, ["fox", "dog", "box", "lazy"])
    assert all(len(ids) == 1 for ids in found.values())
    return {word: ids[0] for word, ids in found.items()}


def places(*words):
    return [Place(word, f"a {word}", 2) for word in words]


def test_each_place_has_the_nearest_sense_of_its_own_word_and_a_posterior(tokenizer, tokens):
    senses = dictionary({tokens["fox"]: [[0, 0], [4, 0], [0, 9]], tokens["dog"]: [[1, 0], [0, 1]]})
    states = torch.tensor([[3.0, 0], [0, 1.5], [1, 0.5], [0, 8]])
    found = nearest_senses(places("fox", "dog", "fox", "fox"), states, senses, tokenizer)
    assert found.sense.tolist() == [1, 1, 0, 2]
    unit = (1 + 0.25 + 1.25 + 1) / 4
    for row, squares in zip(found.posterior, ([9, 1, 90], [3.25, 0.25], [1.25, 9.25, 73.25], [64, 80, 1])):
        odds = np.exp(-np.array(squares) / unit)
        assert row[: len(odds)] == pytest.approx(odds / odds.sum(), abs=1e-6) and not row[len(odds) :].any()
    assert found.posterior.shape == (4, 3) and found.posterior.sum(axis=1) == pytest.approx(1)
    assert found.sense.dtype == np.int64 and found.posterior.dtype == np.float64


def test_the_unit_of_distance_does_not_matter(tokenizer, tokens):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(6, 3, generator=generator)
    centroids = torch.randn(4, 3, generator=generator)
    words = places(*["fox", "dog"] * 3)
    first, second = (
        nearest_senses(
            words,
            scale * states,
            dictionary({tokens[word]: (scale * centroids).tolist() for word in ("fox", "dog")}),
            tokenizer,
        )
        for scale in (1, 8)
    )
    assert (first.sense == second.sense).all()
    assert first.posterior == pytest.approx(second.posterior, abs=1e-5)


def test_words_without_senses_have_none_and_all_of_the_posterior_is_on_the_first(tokenizer, tokens):
    senses = dictionary({tokens["fox"]: [[0, 0], [4, 0]]})
    words = places("dog", "fox", "foxy", "dog")  # of "foxy" the second token has no sense
    found = nearest_senses(words, torch.ones(4, 2), senses, tokenizer)
    assert found.sense.tolist() == [-1, 0, -1, -1]
    assert found.posterior[[0, 2, 3]].tolist() == [[1, 0]] * 3 and found.posterior[1, 1] > 0
    none = nearest_senses(places("dog", "box"), torch.ones(2, 2), senses, tokenizer)
    assert none.sense.tolist() == [-1, -1] and none.posterior.tolist() == [[1], [1]]


def test_a_word_of_several_tokens_has_the_senses_of_its_span(tokenizer):
    (span,) = word_tokens(tokenizer, ["boxes"]).values()
    first, *others = span
    assert len(span) == 3 == len(set(span))
    senses = dictionary({first: [[0, 0], [10, 0]]} | {token: [[0, 2], [10, 2], [50, 50]] for token in others})
    composed = compose_span(senses, span)
    torch.testing.assert_close(composed, torch.tensor([[0, 4 / 3], [10, 4 / 3]]))
    found = nearest_senses(places("boxes", "boxes"), composed[[1, 0]] + 0.1, senses, tokenizer)
    assert found.sense.tolist() == [1, 0] and found.posterior.shape == (2, 2)


# --- random states in the place of senses ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample():
    """40 states of token 3, 3 of token 5 and 30 of token 9, each state unlike all others, in two pieces."""
    sizes = torch.tensor([40, 3, 30])
    generator = torch.Generator().manual_seed(0)
    states = torch.arange(73.0)[:, None].repeat(1, 2)
    states[:, 1] = torch.tensor([3.0, 5.0, 9.0]).repeat_interleave(sizes)  # so a state tells its token
    rows = torch.randperm(73, generator=generator)
    laid = torch.empty_like(states)
    laid[rows] = states
    positions = [torch.randperm(900, generator=generator)[:size].sort().values for size in sizes.tolist()]
    return Reservoir(
        tokens=torch.tensor([3, 5, 9], dtype=torch.int32),
        occurrences=10 * sizes,
        sizes=sizes,
        positions=torch.cat(positions),
        rows=rows,
        states=list(laid.split([20, 53])),
    )


MANY = dictionary({3: [[0, 0]] * 12, 9: [[0, 0]] * 10})


def test_random_states_are_as_many_of_each_token_all_its_own_and_none_twice(sample):
    found = random_senses(MANY, sample, seed=0)
    assert found.centroids.shape == (22, 2)
    assert found.centroids[:, 1].tolist() == [3] * 12 + [9] * 10
    assert len(set(found.centroids[:, 0].tolist())) == 22
    for name in ("tokens", "offsets", "occurrences", "counts", "contexts"):
        assert getattr(found, name) is getattr(MANY, name)
    all_of_them = random_senses(dictionary({5: [[0, 0]] * 3}), sample, seed=0)
    assert sorted(all_of_them.centroids[:, 0].tolist()) == [40, 41, 42]


def test_the_seed_and_no_other_token_decides_which_states_are_drawn(sample):
    first, again, other = (random_senses(MANY, sample, seed).centroids for seed in (0, 0, 1))
    assert torch.equal(first, again)
    for rows in (slice(0, 12), slice(12, 22)):
        assert set(first[rows, 0].tolist()) != set(other[rows, 0].tolist())
    alone = random_senses(dictionary({9: [[0, 0]] * 10}), sample, seed=0).centroids
    assert torch.equal(alone, first[12:])


def test_every_state_of_a_token_may_be_drawn(sample):
    one = dictionary({3: [[0, 0]]})
    drawn = [int(random_senses(one, sample, seed).centroids[0, 0]) for seed in range(400)]
    counts = np.bincount(drawn, minlength=40)
    assert len(counts) == 40 and counts.min() >= 1 and counts.max() <= 25  # 10 are expected


# --- WiC -------------------------------------------------------------------------------------------------------------


def wic_rows(answers):
    return [{"word": f"w{i % 7}", "answer": answer} for i, answer in enumerate(answers)]


def nearest_of(pairs, width=3):
    """What has all of the posterior on these senses, two a row."""
    sense = np.array(pairs).flatten()
    return Nearest(sense, np.eye(width)[sense])


TRAIN, TEST = wic_rows([1, 0] * 6), wic_rows([0, 1, 1, 0, 1, 0, 1, 1])
PERFECT = nearest_of([(i % 2, i % 2) if row["answer"] else (i % 2, 2) for i, row in enumerate(TRAIN + TEST)])
WRONG = nearest_of([(0, 1) if row["answer"] else (1, 1) for row in TRAIN + TEST])


def test_perfect_senses_answer_all_of_wic_and_one_sense_says_always_the_same():
    table = wic_table(TRAIN, TEST, {"senses": [PERFECT], "random": [WRONG]}, DRAWS)
    for measure, share_of_same in (("auc", 0.5), ("accuracy", 11 / 20), ("tuned_accuracy", 5 / 8)):
        assert value(table, measure, "senses") == value(table, measure, "senses", "low") == 1
        assert value(table, measure, "one_sense") == pytest.approx(share_of_same)
        more = value(table, measure, "one_sense", "senses_less_value")
        assert more == pytest.approx(1 - share_of_same) and value(table, measure, "one_sense", "senses_less_low") > 0
        assert value(table, measure, "senses", "rows") == (8 if measure == "tuned_accuracy" else 20)
        assert value(table, measure, "senses", "words") == 7
    assert value(table, "auc", "random") == value(table, "accuracy", "random") == 0
    assert set(table["set"]) == {"wic"} and set(table.columns) == set(COLUMNS)


def test_the_threshold_is_tuned_on_the_training_rows_which_come_first():
    reversed_in_test = nearest_of(
        [(0, 0) if row["answer"] else (0, 1) for row in TRAIN] + [(0, 1) if row["answer"] else (0, 0) for row in TEST]
    )
    table = wic_table(TRAIN, TEST, {"senses": [reversed_in_test]}, DRAWS)
    assert value(table, "tuned_accuracy", "senses") == 0
    assert value(table, "accuracy", "senses") == 12 / 20


def test_a_baseline_of_several_draws_is_their_mean():
    table = wic_table(TRAIN, TEST, {"senses": [PERFECT], "random": [WRONG, WRONG, PERFECT]}, DRAWS)
    for measure in ("auc", "accuracy"):
        assert value(table, measure, "random") == pytest.approx(1 / 3)
        assert value(table, measure, "random", "senses_less_value") == pytest.approx(2 / 3)
    alone = Nearest(np.zeros(len(PLACES), int), CLUSTERS.posterior)
    of_several = agreement(random=[CLUSTERS, CLUSTERS, alone, alone])
    for measure in ("rand", "v_measure", "accuracy"):
        mean = (1 + value(of_several, measure, "one_sense")) / 2
        assert value(of_several, measure, "random") == pytest.approx(mean)


def test_equal_posteriors_are_equally_alike():
    """The sum of the products of roots is 1 but for rounding, which must not order them."""
    posterior = np.random.default_rng(0).dirichlet(np.ones(3), size=20).repeat(2, axis=0)
    table = wic_table(TRAIN, TEST, {"senses": [Nearest(np.zeros(40, int), posterior)]}, DRAWS)
    assert value(table, "auc", "senses") == 0.5


@pytest.mark.parametrize("answer", [0, 1])
def test_rows_of_one_answer_have_no_auc(answer):
    nearest = {"senses": [nearest_of([(0, answer)] * 8)]}
    table = wic_table(wic_rows([answer] * 4), wic_rows([answer] * 4), nearest, DRAWS)
    assert set(table["measure"]) == {"accuracy", "tuned_accuracy"}
    assert set(wic_table(wic_rows([1, 0, 1, 0] * 2), [], nearest, DRAWS)["measure"]) == {"auc", "accuracy"}


def test_likeness_is_graded_where_the_nearest_sense_is_not():
    """All nearest senses are the same, and the posteriors of two places differ more where the word is not."""
    rows = wic_rows([1, 0, 1, 0])
    sure, spread = [0.9, 0.1], [0.6, 0.4]
    pairs = np.array([(sure, sure if row["answer"] else spread) for row in rows + rows])  # (8, 2, 2)
    for posterior in (pairs, pairs[:, ::-1]):  # whichever comes first
        nearest = Nearest(np.zeros(16, int), posterior.reshape(16, 2))
        table = wic_table(rows, rows, {"senses": [nearest]}, DRAWS)
        assert [value(table, measure, "senses") for measure in ("auc", "tuned_accuracy", "accuracy")] == [1, 1, 0.5]


# --- synsets ---------------------------------------------------------------------------------------------------------


def used(word, **synsets):
    """Places of a word: so many of each synset, whose last name parts are keys ("n_1")."""
    return [
        Place(word, f"{word} is used for the {i}th time as {key}", 0, f"{word}.{key[0]}.0{key[2:]}")
        for key, number in synsets.items()
        for i in range(number)
    ]


PLACES = [
    *used("bank", n_1=5, n_2=9),
    *used("run", v_1=11, n_1=8),
    *used("light", a_1=6, s_2=4, n_1=7),
    *used("well", r_1=4, n_1=8),
]
NAMES = sorted({place.synset for place in PLACES})
CLUSTERS = Nearest(np.array([NAMES.index(place.synset) for place in PLACES]), np.ones((len(PLACES), 1)))
OFTEN = {"bank": 10, "run": 1000, "light": 100, "well": 1}


def agreement(found=CLUSTERS, of=PLACES, **more):
    nearest = {way: drawn if isinstance(drawn, list) else [drawn] for way, drawn in {"senses": found, **more}.items()}
    return synset_table("semcor", of, nearest, OFTEN, DRAWS)


@pytest.fixture(scope="module")
def perfect():
    return agreement()


def test_perfect_clusters_agree_with_synsets_and_one_sense_does_not(perfect):
    table = perfect
    for measure in ("v_measure", "rand", "accuracy", "pos_accuracy"):
        assert value(table, measure, "senses") == 1
    assert value(table, "rand", "one_sense") == value(table, "v_measure", "one_sense") == 0
    assert value(table, "pos_accuracy", "one_sense") < 1
    assert "part_of_speech" not in set(table[table["measure"] == "pos_accuracy"]["by"])  # it would be the answer
    assert set(table["by"]) == {"senses", "one_sense", "part_of_speech"} and set(table["set"]) == {"semcor"}
    assert value(table, "rand", "one_sense", "senses_less_value") == 1


def test_parts_of_speech_are_as_good_as_synsets_where_each_part_has_one(perfect):
    of = [*used("run", v_1=11, n_1=8), *used("well", r_1=4, n_1=8)]
    table = agreement(Nearest(np.zeros(len(of), int), np.ones((len(of), 1))), of)
    for measure in ("v_measure", "rand", "accuracy"):
        assert value(table, measure, "part_of_speech") == pytest.approx(1)
        assert value(table, measure, "senses") == value(table, measure, "one_sense") < 0.8
    assert value(perfect, "rand", "part_of_speech") < 1  # of "bank", two synsets are of one part


def test_agreement_is_the_mean_over_words_by_their_places():
    """One word's clusters are perfect, the other's all one: as many places as the first has have 1, the others 0."""
    of = [*used("bank", n_1=2, n_2=4), *used("run", v_1=1, v_2=1)]
    found = Nearest(np.array([0, 0, 1, 1, 1, 1, 3, 3]), np.ones((8, 1)))
    table = agreement(found, of)
    assert value(table, "v_measure", "senses") == value(table, "rand", "senses") == pytest.approx(6 / 8)
    assert value(table, "rand", "senses", "rows") == 8 and value(table, "rand", "senses", "words") == 2


def test_what_was_learnt_is_tested_on_other_places():
    """Where each place is a class of its own, nothing of it is met in the other half, and the word's most frequent
    synset is named instead."""
    alone = Nearest(np.arange(len(PLACES)), np.ones((len(PLACES), 1)))
    table = agreement(alone)
    for measure in ("accuracy", "pos_accuracy"):
        assert value(table, measure, "senses") == value(table, measure, "one_sense") < 1
        assert value(table, measure, "one_sense", "senses_less_value") == 0


def test_the_order_of_places_does_not_matter():
    order = np.random.default_rng(0).permutation(len(PLACES))
    noisy = Nearest(CLUSTERS.sense // 2, CLUSTERS.posterior)
    turned = Nearest(noisy.sense[order], noisy.posterior)
    first, second = agreement(noisy), agreement(turned, [PLACES[i] for i in order])
    columns = ["group", "measure", "by", "value", "rows", "words"]
    pd.testing.assert_frame_equal(first[columns], second[columns])
    assert value(first, "accuracy", "senses") < 1


def test_half_of_the_places_of_each_label_are_tested(perfect):
    """Of an odd number the larger half is learnt from. One sense names the most frequent label of each word."""
    assert value(perfect, "accuracy", "senses", "rows") == (2 + 4) + (5 + 4) + (3 + 2 + 3) + (2 + 4)
    assert value(perfect, "accuracy", "one_sense") == pytest.approx((4 + 5 + 3 + 4) / 29)
    assert value(perfect, "pos_accuracy", "senses", "rows") == (5 + 4) + (5 + 3) + (2 + 4)  # "bank" has one part
    assert value(perfect, "pos_accuracy", "one_sense") == pytest.approx((5 + 5 + 4) / 23)
    assert value(perfect, "pos_accuracy", "senses", "words") == 3


def test_only_words_of_which_two_labels_are_in_both_halves_are_tested():
    of = [*used("bank", n_1=1, n_2=9), *used("run", v_1=2, n_1=2), *used("well", r_1=1, n_1=1)]
    table = agreement(Nearest(np.zeros(len(of), int), np.ones((len(of), 1))), of)
    for measure in ("accuracy", "pos_accuracy"):
        assert value(table, measure, "senses", "rows") == 2 and value(table, measure, "senses", "words") == 1
    assert value(table, "rand", "senses", "rows") == 16
    none = agreement(Nearest(np.zeros(10, int), np.ones((10, 1))), of[:10])
    assert set(none["measure"]) == {"v_measure", "rand"}


def test_the_most_frequent_synset_of_a_class_is_named_and_of_equally_frequent_ones_the_first():
    of = used("bank", n_1=2, n_2=12, n_3=14)
    table = agreement(Nearest(np.array([0] * 14 + [1] * 14), np.ones((28, 1))), of)
    assert value(table, "accuracy", "senses") == pytest.approx(13 / 14)  # all but one of bank.n.01
    for numbers, right in (((4, 3), 2 / 3), ((3, 4), 1 / 3)):  # two of each are learnt from
        of = used("bank", n_1=numbers[0], n_2=numbers[1])
        table = agreement(Nearest(np.zeros(7, int), np.ones((7, 1))), of)
        assert value(table, "accuracy", "senses") == pytest.approx(right)


def test_groups_are_parts_of_speech_and_rare_and_common_words(perfect):
    table = perfect
    sizes = {group: value(table, "rand", "senses", "rows", group) for group in set(table["group"])}
    adjectives = 10  # of "light": a and s are one part of speech; no other word has two synsets of one part but "bank"
    assert sizes == {"all": 62, "n": 14, "a": adjectives, "rare": 14 + 12, "common": 19 + 17}
    words = {group: value(table, "rand", "senses", "words", group) for group in sizes}
    assert words == {"all": 4, "n": 1, "a": 1, "rare": 2, "common": 2}
    assert set(table[table["measure"] == "pos_accuracy"]["group"]) == {"all", "rare", "common"}
    few = synset_table("x", PLACES, {"senses": [CLUSTERS]}, {"light": 5}, DRAWS)  # the others were never met
    assert value(few, "rand", "senses", "rows", "common") == 17


def test_every_way_of_the_senses_is_compared():
    table = agreement(random=Nearest(np.zeros(len(PLACES), int), CLUSTERS.posterior))
    assert list(dict.fromkeys(table["by"])) == ["senses", "random", "one_sense", "part_of_speech"]
    for measure in ("v_measure", "rand", "accuracy", "pos_accuracy"):
        assert value(table, measure, "random") == value(table, measure, "one_sense")
