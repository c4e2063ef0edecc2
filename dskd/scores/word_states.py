"""What last hidden states tell of words: is a word meant in one sense, are two words alike, are they opposed?

No model runs here. A measure is three steps, the same for every model:

    queries = word_queries(train + test, tokenizer)
    states = states_at(queries.sequences, queries.positions)          a model's, (m, d), after the final norm
    scores = antonym_scores(states, queries.pairs[:n], train_labels, queries.pairs[n:], labels)

Similarity is the cosine of states of which every dimension is standardised. Of a decoder's states 60 to 90 % of the
squared length is common to all of them, and a tenth of the dimensions holds half of the rest, so that their plain
cosine says little of meaning; taking away mean and scale is the remedy of Timkey and van Schijndel (EMNLP 2021).
Mean and scale are the model's own, over the different states that a threshold is fitted on.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from transformers import PreTrainedTokenizerBase

# A word must not come first: there a decoder's state is an attention sink (Xiao et al., ICLR 2024) and says nothing of
# it (the teacher's rho on SimLex-999: 0.05, after this carrier 0.40). It follows a space, as without one most words
# fall into rarer pieces, and comes last, as a causal state sees nothing further. No part of speech is suggested.
CARRIER = "The word:"

# Inverse strength of the probe's L2 penalty, of 1e-4 to 0.1 the best in cross-validation on the teacher's train pairs.
# All d dimensions are used as they are: principal components, any number of them, lose a third or more of what the
# probe finds, and a fit takes three seconds at d = 576 and 11 000 pairs.
_C = 1e-3


class Queries(NamedTuple):
    """The states to be asked for, each once, and which two of them belong to each row."""

    sequences: list[list[int]]  # token ids, the shortest first; nothing follows the word, as no state would see it
    positions: list[int]  # of the word's last token in each
    pairs: np.ndarray  # (rows, 2) int64: indices into the two lists


class Threshold(NamedTuple):
    """Two classes told apart by a bound on a similarity."""

    correct: np.ndarray  # (n,) float64, 0 or 1
    similarity: np.ndarray  # (n,) float64, -1 to 1
    # How often a pair of the first class (same sense; synonyms) is the more similar; 0.5 is chance, None where the
    # pairs are of one class.
    auc: float | None
    threshold: float  # the first class is sign * similarity >= threshold
    sign: int  # -1: the first class is the less similar
    train_accuracy: float


class Antonyms(NamedTuple):
    cosine: Threshold
    probe_correct: np.ndarray  # (n,) float64, 0 or 1
    probe_train_accuracy: float


def sentence_queries(rows: Sequence[dict], tokenizer: PreTrainedTokenizerBase, repeated: bool = False) -> Queries:
    """The state at the last token of each row's word in either sentence (WiC rows).

    Args:
        tokenizer: a fast one.
        repeated: the sentence is written twice and the word taken from the second time, so that its state has seen
            the whole sentence (Springer et al., ICLR 2025); else only the word and what comes before it.

    Raises:
        ValueError: no token holds a word's span; the row's id is in the message.
    """
    asked = []
    for row in rows:
        for sentence, (start, end) in ((row["sentence1"], row["span1"]), (row["sentence2"], row["span2"])):
            before = f"{sentence} " if repeated else ""
            asked.append((row["id"], before + sentence, len(before) + start, len(before) + end))
    return _queries(asked, tokenizer)


def word_queries(rows: Sequence[dict], tokenizer: PreTrainedTokenizerBase) -> Queries:
    """The states of the words of each row ("word1", "word2") after `CARRIER`. Raises as `sentence_queries`."""
    words = [(row["id"], f"{CARRIER} {row[key]}") for row in rows for key in ("word1", "word2")]
    return _queries([(name, text, len(CARRIER) + 1, len(text)) for name, text in words], tokenizer)


def wic_scores(
    states: Tensor, train_pairs: np.ndarray, train_answers: Sequence[int], pairs: np.ndarray, answers: Sequence[int]
) -> Threshold:
    """Is a word meant in the same sense (answer 1) in two contexts (WiC; Pilehvar and Camacho-Collados, NAACL 2019)?

    As the set's authors do for contextual embeddings: the same, if the two states are more similar than a threshold
    tuned on train.

    Args:
        states: (m, d) of all queries.
        train_pairs, pairs: (n, 2) indices into them, rows of `Queries.pairs`.
        train_answers, answers: (n,) 0 or 1. Both must occur in either.
    """
    states = _standardised(states, train_pairs)
    train, test = (_similarity(states, p) for p in (train_pairs, pairs))
    return _threshold_scores(train, np.equal(train_answers, 1), test, np.equal(answers, 1), signs=(1,))


def simlex_similarity(states: Tensor, pairs: np.ndarray) -> np.ndarray:
    """Similarity of the two words of each pair (SimLex-999; Hill et al., CL 2015): (n,) float64, -1 to 1.

    `states` and `pairs` as for `wic_scores`; mean and scale are those of the words of the pairs.
    """
    return _similarity(_standardised(states, pairs), pairs)


def antonym_scores(
    states: Tensor, train_pairs: np.ndarray, train_antonyms: Sequence[bool], pairs: np.ndarray, antonyms: Sequence[bool]
) -> Antonyms:
    """Antonyms told from synonyms (AntSynNET pairs; Nguyen, Schulte im Walde and Vu, EACL 2017), in two ways.

    `cosine`: a threshold on the similarity alone. Its sign is fitted too: of the teacher's words antonyms are the more
    similar, so that with a fixed sign it would call all pairs alike; `auc` is above 0.5 where synonyms are.
    `probe`: logistic regression on |a - b| and a * b of the two states: is the difference in the states at all?
    Nothing depends on the order of the two words.

    Args: as `wic_scores`; train_antonyms and antonyms are True for antonyms, False for synonyms.
    """
    train_antonyms, antonyms = np.asarray(train_antonyms, dtype=bool), np.asarray(antonyms, dtype=bool)
    states = _standardised(states, train_pairs)
    train, test = (_similarity(states, p) for p in (train_pairs, pairs))
    cosine = _threshold_scores(train, ~train_antonyms, test, ~antonyms, signs=(1, -1))
    train, test = (_symmetric_features(states, p) for p in (train_pairs, pairs))
    mean, scale = _mean_scale(train)
    train, test = (train - mean) / scale, (test - mean) / scale
    # Newton's method: no randomness, and a few steps to an optimum that does not depend on the path to it.
    probe = LogisticRegression(C=_C, solver="newton-cholesky", tol=1e-8).fit(train, train_antonyms)
    train_accuracy = float(probe.score(train, train_antonyms))
    return Antonyms(cosine, (probe.predict(test) == antonyms).astype(np.float64), train_accuracy)


def overlap(train: Sequence[dict], test: Sequence[dict]) -> dict[str, int | np.ndarray]:
    """What a probe may know by heart of the test rows.

    Returns:
        "words", "words_seen": number of different test words, and of those in train rows; "pairs_seen": (n,) bool,
        whether the two words of a test row are one train row, in either order.
    """
    pairs, test_pairs = ([frozenset((row["word1"], row["word2"])) for row in rows] for rows in (train, test))
    words, seen = frozenset().union(*test_pairs), set(pairs)
    pairs_seen = np.array([pair in seen for pair in test_pairs], dtype=bool)
    return {"words": len(words), "words_seen": len(words & frozenset().union(*pairs)), "pairs_seen": pairs_seen}


def best_threshold(values: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """The t for which `values >= t` is most often `positive`, and how often that is.

    t lies in the middle between two neighbouring values. Of equally good places the widest gap is taken, of equally
    wide ones the lowest; a t that calls all items alike comes last, and is the lowest value or just above the highest.
    """
    values, places = np.unique(values, return_inverse=True)
    negatives, positives = (np.bincount(places[mask], minlength=len(values)) for mask in (~positive, positive))
    # Place k is below values[k]: right are the negatives before it and the positives from it on.
    right = np.append(0, negatives.cumsum()) + np.append(positives[::-1].cumsum()[::-1], 0)
    low, high = np.append(values[0], values), np.append(values, np.nextafter(values[-1], np.inf))
    k = np.lexsort((low - high, -right))[0]
    threshold = max((low[k] + high[k]) / 2, np.nextafter(low[k], high[k]))  # the middle may round to the lower value
    return float(threshold), float(right[k] / len(places))


def _queries(asked: list[tuple[str, str, int, int]], tokenizer: PreTrainedTokenizerBase) -> Queries:
    """From (row's id, text, start and end of the word), two to a row."""
    encoded = tokenizer([text for _, text, _, _ in asked], return_offsets_mapping=True)
    found = []
    for (name, text, start, end), tokens, offsets in zip(asked, encoded.input_ids, encoded.offset_mapping):
        # Overlap, not equality: a token's offsets may include the space before it or the full stop after it,
        # and those of special tokens are empty.
        inside = [i for i, (first, last) in enumerate(offsets) if max(first, start) < min(last, end)]
        if not inside:
            raise ValueError(f"row {name}: no token of {text!r} lies in characters {start} to {end}")
        found.append(tuple(tokens[: inside[-1] + 1]))
    unique = sorted(set(found), key=lambda tokens: (len(tokens), tokens))
    index = {tokens: i for i, tokens in enumerate(unique)}
    pairs = np.array([index[tokens] for tokens in found], dtype=np.int64).reshape(-1, 2)
    return Queries([list(tokens) for tokens in unique], [len(tokens) - 1 for tokens in unique], pairs)


def _standardised(states: Tensor, pairs: np.ndarray) -> np.ndarray:
    """All states (m, d) float64, less the mean and over the standard deviation of those that the pairs name."""
    states = states.double().numpy()
    mean, scale = _mean_scale(states[np.unique(pairs)])
    return (states - mean) / scale


def _mean_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    varies = np.ptp(values, axis=0) > 0  # where nothing varies the deviation is 0 but for rounding
    return values.mean(axis=0), np.where(varies, values.std(axis=0), 1)


def _similarity(states: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return _cosine(states[pairs[:, 0]], states[pairs[:, 1]])


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of rows of (n, d): (n,) float64, 0 where one has no length. a and b may change places, to the last bit."""
    lengths = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), lengths, out=np.zeros(len(a)), where=lengths > 0)


def _symmetric_features(states: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    a, b = states[pairs[:, 0]], states[pairs[:, 1]]
    return np.concatenate([np.abs(a - b), a * b], axis=1)


def _threshold_scores(
    train: np.ndarray, train_positive: np.ndarray, test: np.ndarray, positive: np.ndarray, signs: tuple[int, ...]
) -> Threshold:
    fitted = [(*best_threshold(sign * train, train_positive), sign) for sign in signs]
    threshold, accuracy, sign = max(fitted, key=lambda fit: fit[1])  # of equals the first
    correct = ((sign * test >= threshold) == positive).astype(np.float64)
    return Threshold(correct, test, _auc(test, positive), threshold, sign, accuracy)


def _auc(values: np.ndarray, positive: np.ndarray) -> float | None:
    """Share of (positive, negative) couples of which the positive has the larger value; equal values are half. None
    where there are no such couples."""
    count = int(positive.sum())
    if count in (0, len(values)):
        return None
    return float((rankdata(values)[positive].mean() - (count + 1) / 2) / (len(values) - count))
