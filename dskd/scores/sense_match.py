"""Are clusters of states senses? How the senses of a dictionary agree with those that people gave to places in texts.

A table has a row for each measure and each way to put places into classes: by the nearest sense (`senses`), by the
nearest of as many states drawn at random (`random`, the mean of several draws), all of a word in one (`one_sense`), or
by the part of speech that people gave (`part_of_speech`). Intervals are over words.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import adjusted_rand_score, v_measure_score
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dskd.infra.arithmetic import squared_distances, starts_of
from dskd.infra.randomness import hash_integers, text_key
from dskd.lexicon.tokens import word_tokens
from dskd.scores.sense_places import Place
from dskd.scores.weighted import Draws, Statistic, auc, mean_of, share, table_rows
from dskd.scores.word_states import best_threshold
from dskd.senses.store import Senses, compose_span
from dskd.states.reservoir import Reservoir

_RANDOM = text_key("scores.random_senses")


class Nearest(NamedTuple):
    """Places under the senses of a dictionary."""

    sense: np.ndarray  # (n,) int64, the number of the nearest sense of the place's word, -1 where it has none
    posterior: np.ndarray  # (n, k) float64, how probable each sense of the word is; all of it on the first for none


def random_senses(senses: Senses, sample: Reservoir, seed: int) -> Senses:
    """The dictionary with as many states of each token, drawn without replacement, in the place of its senses."""
    tokens = sample.tokens.repeat_interleave(sample.sizes).numpy()
    order = np.lexsort((hash_integers(_RANDOM, seed, sample.positions.numpy()), tokens))
    first = starts_of(sample.sizes)[torch.searchsorted(sample.tokens, senses.tokens)]
    numbers = senses.offsets.diff()
    within = torch.arange(len(senses.centroids)) - senses.offsets[:-1].repeat_interleave(numbers)
    places = torch.from_numpy(order)[first.repeat_interleave(numbers) + within]
    return senses._replace(centroids=sample.take(places))


def nearest_senses(
    places: Sequence[Place], states: Tensor, senses: Senses, tokenizer: PreTrainedTokenizerBase
) -> Nearest:
    """The nearest sense of each place's word, and a posterior: the softmax of minus the squared distances, in units of
    the mean squared distance to the nearest sense.

    Args:
        states: (n, d), the teacher's before the word of each place.
    """
    of_word = defaultdict(list)
    for number, place in enumerate(places):
        of_word[place.word].append(number)
    distances = {}
    for word, span in word_tokens(tokenizer, list(of_word)).items():
        centroids = compose_span(senses, span)
        if len(centroids):
            distances[word] = squared_distances(states[of_word[word]].float()[None], centroids[None])[0]
    width = max((found.shape[1] for found in distances.values()), default=1)
    sense, posterior = np.full(len(places), -1), np.zeros((len(places), width))
    posterior[:, 0] = 1
    if distances:
        unit = torch.cat([found.amin(dim=1) for found in distances.values()]).mean().clamp_min(1e-12)
        for word, found in distances.items():
            sense[of_word[word]] = found.argmin(dim=1).numpy()
            posterior[of_word[word], : found.shape[1]] = (-found / unit).double().softmax(dim=1).numpy()
    return Nearest(sense, posterior)


def wic_table(
    train: Sequence[dict], test: Sequence[dict], nearest: Mapping[str, Sequence[Nearest]], draws: Draws
) -> pd.DataFrame:
    """Is a word meant in the same sense in two sentences (WiC)? On all rows `auc`, by the likeness of the two
    posteriors, and `accuracy`, by whether the nearest sense is the same; on the test rows `tuned_accuracy`, by a
    threshold for the likeness that is tuned on the training rows. A measure without rows, or `auc` of rows with one
    answer, is left out.

    Args:
        nearest: way -> draws of it, each with the places of all rows, two of each row, training rows first.
    """
    rows = [*train, *test]
    same, words = np.array([row["answer"] == 1 for row in rows]), np.array([row["word"] for row in rows])
    one_answer = same.all() or not same.any()
    statistics, of_test = {"accuracy": {}} if one_answer else {"auc": {}, "accuracy": {}}, {}
    for way, drawn in nearest.items():
        likeness = [_likeness(found) for found in drawn]
        if not one_answer:
            statistics["auc"][way] = mean_of([auc(values, same) for values in likeness])
        right = [(found.sense[::2] == found.sense[1::2]) == same for found in drawn]
        statistics["accuracy"][way] = share(_mean(right))
        tuned = [values >= best_threshold(values[: len(train)], same[: len(train)])[0] for values in likeness]
        of_test[way] = share(_mean([(said == same)[len(train) :] for said in tuned]))
    if not one_answer:
        statistics["auc"]["one_sense"] = auc(np.zeros(len(rows)), same)
    statistics["accuracy"]["one_sense"] = share(same)
    of_test["one_sense"] = share(same[len(train) :])
    found = [_rows(("wic", "all", measure), by_way, words, draws) for measure, by_way in statistics.items()]
    if test:
        found.append(_rows(("wic", "all", "tuned_accuracy"), of_test, words[len(train) :], draws))
    return pd.DataFrame(list(chain.from_iterable(found)))


def _likeness(found: Nearest) -> np.ndarray:
    """How alike the posteriors of each two places are, 0 to 1 (Bhattacharyya's coefficient), without rounding errors
    that would order equal ones."""
    return np.sqrt(found.posterior[::2] * found.posterior[1::2]).sum(axis=1).round(9)


def synset_table(
    name: str,
    places: Sequence[Place],
    nearest: Mapping[str, Sequence[Nearest]],
    often: Mapping[str, int],
    draws: Draws,
) -> pd.DataFrame:
    """Do senses agree with synsets? `v_measure` and `rand` (adjusted) are means over words, by their number of places.
    `accuracy` names the synset, and `pos_accuracy` the part of speech, that a sense has most often in one half of the
    places, and counts how often that is right in the other half; for words of which two synsets, or two parts of
    speech, are in both halves.

    Args:
        name: of the set.
        nearest: way -> draws of it.
        often: word -> how often it occurs in the dictionary's text; half of the words are `rare`, the others `common`.
    """
    frame = pd.DataFrame({"word": [p.word for p in places], "synset": [p.synset for p in places]})
    frame["pos"] = [place.pos for place in places]
    frame = frame.assign(one_sense=0, part_of_speech=frame["pos"])
    columns = {way: [f"{way}-{i}" for i in range(len(drawn))] for way, drawn in nearest.items()}
    for way, drawn in nearest.items():
        frame = frame.assign(**{name: found.sense for name, found in zip(columns[way], drawn)})
    columns |= {way: [way] for way in ("one_sense", "part_of_speech")}
    frame = frame.iloc[np.argsort([text_key(f"{p.word}:{p.start}:{p.text}") for p in places], kind="stable")]

    occurrences = frame["word"].map(lambda word: often.get(word, 0))
    common = occurrences > occurrences.groupby(frame["word"]).first().median()
    groups = {"all": frame["word"] != "", "rare": ~common, "common": common}
    groups |= {pos: frame["pos"] == pos for pos in "nvar"}
    found = []
    for group, here in groups.items():
        chosen = frame[here]
        chosen = chosen[chosen.groupby("word")["synset"].transform("nunique") > 1]
        if len(chosen):
            for measure, of in (("v_measure", v_measure_score), ("rand", adjusted_rand_score)):
                by_way = {way: share(_mean([_agreement(chosen, c, of) for c in columns[way]])) for way in columns}
                found += _rows((name, group, measure), by_way, chosen["word"], draws)
            for measure, label, answer in (("accuracy", "synset", ""), ("pos_accuracy", "pos", "part_of_speech")):
                learnt, tested = _halves(chosen, label)
                if len(tested):
                    ways = [way for way in columns if way != answer]
                    right = {way: [_right(learnt, tested, c, label) for c in columns[way]] for way in ways}
                    by_way = {way: share(_mean(values)) for way, values in right.items()}
                    found += _rows((name, group, measure), by_way, tested["word"], draws)
    return pd.DataFrame(found)


def _rows(of: tuple[str, str, str], by_way: Mapping[str, Statistic], words: Sequence[str], draws: Draws) -> list[dict]:
    return table_rows(of, by_way, np.asarray(words), len(set(words)), draws)


def _mean(values: Sequence[np.ndarray]) -> np.ndarray:
    """Of several draws."""
    return np.mean(values, axis=0)


def _agreement(frame: pd.DataFrame, classes: str, of: Callable) -> np.ndarray:
    """The agreement of a column with the synsets of each word, at each of its places."""
    by_word = {word: of(rows["synset"], rows[classes]) for word, rows in frame.groupby("word")}
    return frame["word"].map(by_word).to_numpy()


def _halves(frame: pd.DataFrame, label: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every other place of each word and label, to learn from, and the rest, to test; of the rest only words with two
    labels there, which are then in both halves."""
    later = frame.groupby(["word", label]).cumcount() % 2 == 1
    tested = frame[later]
    return frame[~later], tested[tested.groupby("word")[label].transform("nunique") > 1]


def _right(learnt: pd.DataFrame, tested: pd.DataFrame, classes: str, label: str) -> np.ndarray:
    """Whether the label that is the most frequent one of a class among the learnt places, or of the word where the
    class is not met there, is that of each tested place; of equally frequent ones the first in order."""
    most = {key: rows.mode()[0] for key, rows in learnt.groupby(["word", classes])[label]}
    of_word = {word: rows.mode()[0] for word, rows in learnt.groupby("word")[label]}
    said = [most.get(key, of_word.get(key[0])) for key in zip(tested["word"], tested[classes])]
    return np.array(said, dtype=object) == tested[label].to_numpy()
