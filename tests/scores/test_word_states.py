from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from dskd.infra.randomness import uniform
from dskd.model.tokenizer import load_tokenizer
from dskd.report.metrics import spearman, spearman_difference
from dskd.scores.measure import _facts
from dskd.scores.word_states import (
    CARRIER,
    antonym_scores,
    best_threshold,
    overlap,
    sentence_queries,
    simlex_similarity,
    wic_scores,
    word_queries,
)

TEACHER = Path(__file__).parents[2] / "artifacts/teacher"


@pytest.fixture(scope="module", params=["tiny", "teacher"])
def any_tokenizer(request, tokenizer):
    if request.param == "tiny":
        return tokenizer
    if not (TEACHER / "tokenizer.json").exists():
        pytest.skip("no teacher here")
    return load_tokenizer(TEACHER)


def sentences(first, second, span1, span2, name="w1"):
    return {"id": name, "sentence1": first, "sentence2": second, "span1": span1, "span2": span2, "answer": 1}


def asked(queries, tokenizer, row=0):
    """The texts up to and with the tokens whose states are asked for."""
    chosen = queries.pairs[row]
    assert [queries.positions[i] for i in chosen] == [len(queries.sequences[i]) - 1 for i in chosen]
    return [tokenizer.decode(queries.sequences[i]) for i in chosen]


def test_a_sentence_s_state_is_that_of_the_word_s_last_token(any_tokenizer):
    rows = [
        sentences("box with five jugs", "the liquor box, a jug", [0, 3], [11, 14]),  # at the start; before a comma
        sentences("the lazy dog a lazy fox", "the lazy dog a lazy fox", [4, 8], [15, 19]),  # the second one is meant
        sentences("pack the dog", "the over fox", [9, 12], [4, 8]),  # at the end
    ]
    queries = sentence_queries(rows, any_tokenizer)
    assert asked(queries, any_tokenizer, 0) == ["box", "the liquor box"]
    assert asked(queries, any_tokenizer, 1) == ["the lazy", "the lazy dog a lazy"]
    assert asked(queries, any_tokenizer, 2) == ["pack the dog", "the over"]
    for row, pair in zip(rows, queries.pairs):
        for k, i in enumerate(pair, start=1):
            whole, end = any_tokenizer(row[f"sentence{k}"], return_offsets_mapping=True), row[f"span{k}"][1]
            position = queries.positions[i]
            assert queries.sequences[i] == whole.input_ids[: position + 1]
            assert whole.offset_mapping[position][0] < end <= whole.offset_mapping[position][1]
            assert all(start >= end for start, _ in whole.offset_mapping[position + 1 :])


def test_of_a_repeated_sentence_the_second_word_is_taken(any_tokenizer):
    row = sentences("box with five", "the lazy dog a lazy fox", [0, 3], [4, 8])
    queries = sentence_queries([row], any_tokenizer, repeated=True)
    assert asked(queries, any_tokenizer) == ["box with five box", "the lazy dog a lazy fox the lazy"]


def test_every_state_is_asked_for_once_and_short_sequences_come_first(any_tokenizer):
    rows = [sentences("the dog jumps", "the dog", [4, 7], [4, 7]), sentences("a", "the dog over", [0, 1], [4, 7])]
    queries = sentence_queries(rows, any_tokenizer)
    assert [any_tokenizer.decode(ids) for ids in queries.sequences] == ["a", "the dog"]
    assert queries.pairs.tolist() == [[1, 1], [0, 1]] and queries.pairs.dtype == np.int64


@pytest.mark.parametrize("span", [[3, 3], [7, 9]])
def test_a_span_without_a_token_is_an_error_that_names_the_row(any_tokenizer, span):
    with pytest.raises(ValueError, match=r"row train\.17: no token of 'the fox'"):
        sentence_queries([sentences("a dog", "the fox", [2, 5], span, "train.17")], any_tokenizer)


@pytest.mark.parametrize("prefix_space", [False, True])
def test_offsets_may_hold_the_space_before_a_word_or_not(prefix_space):
    """Byte-level tokenizers differ in that; the word before must not be taken for the word."""

    def fake(texts, return_offsets_mapping):
        words = [text.split(" ") for text in texts]
        offsets = []
        for text_words in words:
            ends = np.cumsum([len(word) + 1 for word in text_words]) - 1
            spaces = [int(prefix_space and i > 0) for i in range(len(text_words))]
            offsets.append([(int(e) - len(w) - s, int(e)) for e, w, s in zip(ends, text_words, spaces)] + [(0, 0)])
        ids = [[len(word) for word in text_words] + [99] for text_words in words]  # 99 is a special token
        return type("Encoding", (), {"input_ids": ids, "offset_mapping": offsets})

    queries = sentence_queries([sentences("a bcd ef ghij", "k lmnop", [2, 5], [2, 7])], fake)
    assert [queries.sequences[i] for i in queries.pairs[0]] == [[1, 3], [1, 5]]


def test_a_word_follows_the_carrier_as_a_word_of_a_text_does(any_tokenizer):
    words = [("jumps", "dog"), ("quick brown", "jumps"), ("dog", "lazy")]
    queries = word_queries([{"id": "", "word1": a, "word2": b} for a, b in words], any_tokenizer)
    assert len(queries.sequences) == 4
    asked_for = [[queries.sequences[i] for i in pair] for pair in queries.pairs]
    assert asked_for == [[any_tokenizer(f"{CARRIER} {word}").input_ids for word in pair] for pair in words]
    assert min(queries.positions) > 0


def test_the_threshold_is_in_the_middle_of_the_gap():
    assert best_threshold(np.array([0.9, 0.1, 0.3, 0.5]), np.array([True, False, False, True])) == (0.4, 1.0)


def test_of_equally_good_thresholds_the_widest_gap_wins_and_then_the_lowest():
    values, positive = np.array([0.0, 1.0, 3.0, 7.0]), np.array([False, True, False, True])
    assert best_threshold(values, positive) == (5.0, 0.75)  # 0.5 would be as good
    assert best_threshold(np.array([0.0, 4.0, 5.0, 9.0]), positive) == (2.0, 0.75)


def test_equal_values_are_never_parted():
    values, positive = np.array([1.0, 1.0, 1.0, 2.0]), np.array([True, False, False, False])
    threshold, accuracy = best_threshold(values, positive)
    assert accuracy == 0.75 and threshold == np.nextafter(2.0, 3)  # none is positive
    assert best_threshold(values, ~positive)[1] == 0.75


def test_a_threshold_that_calls_all_alike_comes_last():
    assert best_threshold(np.array([1.0, 2.0]), np.array([True, True])) == (1.0, 1.0)
    assert best_threshold(np.array([1.0, 2.0]), np.array([True, False]))[1] == 0.5
    # All, none and (1, 3) are equally good.
    assert best_threshold(np.array([1.0, 1.0, 3.0, 3.0]), np.array([True, False, True, False])) == (2.0, 0.5)


def test_a_threshold_between_neighbouring_floats_still_parts_them():
    low = 1.0
    for _ in range(2):  # the middle rounds down for the one and up for the other
        high = np.nextafter(low, 2)
        threshold, accuracy = best_threshold(np.array([low, high]), np.array([False, True]))
        assert low < threshold <= high and accuracy == 1
        low = high


def test_the_threshold_is_the_best_of_all():
    draw = np.random.default_rng(0)
    for _ in range(50):
        values, positive = draw.integers(0, 8, size=20) / 8, draw.random(20) < 0.4
        threshold, accuracy = best_threshold(values, positive)
        assert accuracy == ((values >= threshold) == positive).mean()
        assert accuracy == max(((values >= t) == positive).mean() for t in np.arange(-1, 18) / 16)


def shifted(states, seed=0):
    """The same states with other scales and a large common part, as a decoder's have; float32 as they come."""
    g = np.random.default_rng(seed)
    width = states.shape[1]
    return torch.tensor(states * g.uniform(0.5, 50, width) + g.normal(0, 100, width), dtype=torch.float32)


def test_two_contexts_are_of_one_sense_where_their_states_are_alike():
    """By hand: mean and scale of train leave (+-1, +-1) with cosines 1, 1, 0, -1."""
    states = shifted(np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]))
    train_pairs = np.array([[0, 0], [1, 1], [0, 1], [2, 1]])
    pairs = np.array([[3, 3], [0, 2], [0, 3], [2, 2]])
    # The mean is over different states: all four are named.
    scores = wic_scores(states, np.vstack([train_pairs, [[3, 2]]]), [1, 1, 0, 0, 0], pairs, [1, 1, 0, 0])
    np.testing.assert_allclose(scores.similarity, [1, 0, -1, 1], atol=1e-5)
    assert scores.correct.tolist() == [1, 0, 1, 0] and scores.correct.dtype == np.float64
    assert scores.threshold == pytest.approx(0.5, abs=1e-5)
    assert (scores.sign, scores.train_accuracy, scores.auc) == (1, 1.0, 0.625)


def test_similarity_does_not_see_a_common_part_or_the_scale_of_a_dimension():
    states = np.random.default_rng(0).normal(size=(30, 5))
    pairs = np.random.default_rng(1).integers(0, 30, size=(40, 2))
    plain = simlex_similarity(torch.tensor(states, dtype=torch.float32), pairs)
    np.testing.assert_allclose(simlex_similarity(shifted(states), pairs), plain, atol=1e-3)
    assert plain.dtype == np.float64 and plain.std() > 0.1


def test_a_dimension_that_never_varies_changes_nothing():
    states = np.random.default_rng(0).normal(size=(10, 3))
    pairs = np.arange(10).reshape(5, 2)
    plain, wider = (
        simlex_similarity(torch.tensor(values, dtype=torch.float32), pairs)
        for values in (states, np.hstack([states, np.full((10, 1), 0.1)]))
    )
    np.testing.assert_allclose(wider, plain, atol=1e-12)


def test_spearman_by_hand_and_with_ties_as_scipy_s():
    assert spearman([1, 2, 3], [10, 30, 20]) == pytest.approx(0.5)  # 1 - 6 * 2 / (3 * 8)
    x, y = [1, 2, 2, 3, 3, 3], [2, 1, 2, 2, 5, 4]
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-15)
    assert spearman([1, 1, 1], [1, 2, 3]) == 0


def test_the_difference_of_two_correlations_is_resampled_item_by_item():
    g = np.random.default_rng(0)
    human = g.integers(0, 10, size=40)
    a, b = human + g.normal(0, 9, 40), np.round(human + g.normal(0, 3, 40))
    found = spearman_difference(a, b, human, 700, seed=3)
    assert found["mean"] == pytest.approx(spearman(b, human) - spearman(a, human))
    draws = []
    for r in range(700):
        rows = (uniform(3, r, np.arange(40)) * 40).astype(int)
        draws.append(spearmanr(b[rows], human[rows]).statistic - spearmanr(a[rows], human[rows]).statistic)
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(draws, [0.025, 0.975]))
    below = (np.array(draws) <= 0).sum()
    assert found["p"] == 2 * (below + 1) / 701 and below < 350
    other = spearman_difference(b, a, human, 700, seed=3)
    assert [other["low"], other["high"], other["p"]] == pytest.approx([-found["high"], -found["low"], found["p"]])


def test_a_model_does_not_differ_from_itself():
    a = np.random.default_rng(0).normal(size=30)
    assert spearman_difference(a, a, a[::-1], 200, 0) == {"mean": 0, "low": 0, "high": 0, "p": 1}


def test_seeds_are_averaged_and_one_seed_gives_one_result():
    g = np.random.default_rng(0)
    a, b, human = g.normal(size=(2, 30)), g.normal(size=(3, 30)), g.normal(size=30)
    found = spearman_difference(a, b, human, 700, 0)
    means = [np.mean([spearman(x, human) for x in rows]) for rows in (a, b)]
    assert found["mean"] == pytest.approx(means[1] - means[0])
    assert found == spearman_difference(a, b, human, 700, 0) != spearman_difference(a, b, human, 700, 1)
    one = spearman_difference(a[0], b[0], human, 200, 0)
    assert one == spearman_difference(a[[0, 0]], b[:1], human, 200, 0)


def test_the_p_value_of_equal_models_is_below_a_twentieth_about_as_often_as_it_should_be():
    hits, repetitions = 0, 200
    for r in range(repetitions):
        g = np.random.default_rng(r)
        human = g.normal(size=60)
        hits += spearman_difference(*(human + g.normal(size=(2, 60))), human, 100, r)["p"] < 0.05
    assert hits / repetitions < 0.1  # standard error 1.5 %


def noise(words=400, pairs=900, width=6, seed=0):
    g = np.random.default_rng(seed)
    return g.normal(size=(words, width)), g.integers(0, words, size=(pairs, 2))


def test_the_probe_finds_what_no_threshold_can():
    """Words are good or bad, which a few of many dimensions show; a pair is opposed where the one is good, one bad."""
    states, pairs = noise(width=60)
    good = np.random.default_rng(1).choice([-1, 1], size=len(states))
    states[:, :5] += 1.5 * good[:, None]
    antonyms = good[pairs[:, 0]] != good[pairs[:, 1]]
    scores = antonym_scores(shifted(states), pairs[:600], antonyms[:600], pairs[600:], antonyms[600:])
    assert scores.probe_correct.mean() > 0.9 and scores.probe_train_accuracy > 0.9
    assert 0.5 < scores.cosine.correct.mean() < 0.8
    assert scores.cosine.correct.shape == scores.probe_correct.shape == (300,)
    assert scores.cosine.correct.dtype == scores.probe_correct.dtype == np.float64


def test_on_noise_the_probe_is_at_chance():
    states, pairs = noise(width=40)
    antonyms = np.random.default_rng(1).random(len(pairs)) < 0.5
    scores = antonym_scores(shifted(states), pairs[:600], antonyms[:600], pairs[600:], antonyms[600:])
    for correct in (scores.probe_correct, scores.cosine.correct):
        assert 0.41 < correct.mean() < 0.59  # standard error 2.9 %
    assert scores.cosine.auc == pytest.approx(roc_auc_score(~antonyms[600:], scores.cosine.similarity))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_cosine_s_threshold_learns_which_of_the_two_is_the_more_similar(sign):
    g = np.random.default_rng(0)
    first = g.normal(size=(200, 12))
    synonyms = g.random(200) < 0.5
    second = np.where((synonyms == (sign == 1))[:, None], first, -first) + g.normal(0, 0.3, first.shape)
    pairs = np.stack([np.arange(200), np.arange(200, 400)], axis=1)
    states = shifted(np.vstack([first, second]))
    found = antonym_scores(states, pairs[:120], ~synonyms[:120], pairs[120:], ~synonyms[120:]).cosine
    assert found.sign == sign and found.correct.all() and found.train_accuracy == 1
    assert found.auc == (sign == 1)


@pytest.mark.parametrize("antonym", [True, False])
def test_pairs_of_one_class_have_no_auc(antonym):
    states, pairs = noise(width=8)
    antonyms = np.arange(600) % 2 == 0
    found = antonym_scores(shifted(states), pairs[:600], antonyms, pairs[600:], np.full(len(pairs) - 600, antonym))
    assert found.cosine.auc is None and 0 < found.cosine.correct.mean() < 1
    assert _facts(found.cosine)["auc"] is None


def test_two_words_may_change_places():
    states, pairs = noise(width=40)
    antonyms = np.random.default_rng(1).random(len(pairs)) < 0.5
    turned = np.where(np.random.default_rng(2).random((len(pairs), 1)) < 0.5, pairs, pairs[:, ::-1])
    results = [
        antonym_scores(shifted(states), p[:600], antonyms[:600], p[600:], antonyms[600:])
        for p in (pairs, turned, pairs)
    ]
    assert same_bytes(results[0], results[2])  # and a second time all is as it was
    assert same_bytes(results[0], results[1])


def same_bytes(a, b):
    if isinstance(a, tuple):
        return all(map(same_bytes, a, b))
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_overlap_counts_words_and_pairs_in_either_order():
    def rows(*pairs):
        return [{"word1": a, "word2": b} for a, b in pairs]

    found = overlap(rows(("a", "b"), ("c", "d")), rows(("b", "a"), ("a", "c"), ("e", "d")))
    assert (found["words"], found["words_seen"]) == (5, 4)
    assert found["pairs_seen"].tolist() == [True, False, False]


def test_a_state_that_is_the_mean_is_like_no_other():
    states = torch.tensor([[-1.0, 2.0], [0.0, 0.0], [1.0, -2.0]])
    found = simlex_similarity(states, np.array([[0, 1], [0, 2], [1, 1]]))
    np.testing.assert_allclose(found, [0, -1, 0], atol=1e-12)


def test_antonyms_may_be_told_by_0_and_1():
    states, pairs = noise(pairs=200, width=20)
    antonyms = np.random.default_rng(1).random(200) < 0.5
    plain = antonym_scores(shifted(states), pairs[:120], antonyms[:120], pairs[120:], antonyms[120:])
    numbers = antonyms.astype(int).tolist()
    assert same_bytes(antonym_scores(shifted(states), pairs[:120], numbers[:120], pairs[120:], numbers[120:]), plain)
