"""Which synset of WordNet a sense fits best, and how surely: from its contexts, and from where it lies.

Two things speak for a synset of the word. A context of the sense that stands in the synset's own gloss or examples is
one vote. And a probe looks at the centroid: linear discriminant analysis tells the 45 fields of WordNet
(noun.animal, verb.motion, …) apart, learnt from words all of whose synsets are in one field. A sense with n votes has
the shares (votes + what the probe says) / (n + 1), so the probe counts as one vote. `checked_fits` measures the rule.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from dskd.infra.artifacts import reading
from dskd.lexicon.readers.wordnet import PARTS, Synset, read_index, read_synsets

PARTS_OF_SPEECH = {"n": "noun", "v": "verb", "a": "adjective", "r": "adverb"}

_FIELDS = 45
# The probe is too sure of itself, so its shares are flattened by this power. With it, synsets with a share of .4 to .6
# are right in 36 % of 2500 contexts, of .6 to .8 in 56 %, and above in 72 %; as they are: 34, 45 and 50 %.
_TRUST, _FLOOR = 0.2, 1e-6
_SHRINKAGE = 0.1  # of the covariance: a class may have fewer senses than the states have dimensions


class Candidate(NamedTuple):
    """A synset of a word."""

    name: str  # "bank.n.01"
    pos: str  # n, v, a or r
    field: int  # WordNet's lexicographer file: 5 is noun.animal
    definition: str
    rank: int  # among the word's synsets of this part of speech, the commonest is 0


class Fit(NamedTuple):
    synset: str  # that fits best; empty where WordNet does not have the word
    share: float  # how surely, 0 to 1
    votes: int  # contexts that stand in its gloss or examples
    pos: str  # n, v, a or r: the part of speech that has most of the shares; empty as above
    definition: str


class WordNetWords(NamedTuple):
    """WordNet as `candidates` reads it."""

    reader: WordNetCorpusReader
    index: dict[tuple[str, str], list[int]]
    synsets: dict[tuple[str, int], Synset]
    fields: dict[tuple[str, int], int]  # WordNet's lexicographer file: 5 is noun.animal


def read_words(reader: WordNetCorpusReader) -> WordNetWords:
    """All that there is to know of words."""
    index = read_index(reader)
    with reading("WordNet's data", "sources"):
        lines = (
            (pos, *line.split(maxsplit=2)[:2])
            for pos, suffix in PARTS.items()
            for line in reader.raw(f"data.{suffix}").split("\n")
            if line[:1].isdigit()
        )
        fields = {(pos, int(offset)): int(field) for pos, offset, field in lines}
    return WordNetWords(reader, index, read_synsets(reader, index), fields)


def candidates(wordnet: WordNetWords, word: str) -> list[Candidate]:
    """The synsets of a word, or of the word that it is a form of: nouns, verbs, adjectives, adverbs; empty where
    WordNet does not have it."""
    found, lower = {}, word.lower()
    for pos in PARTS:
        forms = dict.fromkeys([lower, wordnet.reader.morphy(lower, pos) or lower])
        offsets = [offset for form in forms for offset in wordnet.index.get((form.replace(" ", "_"), pos), ())]
        for rank, offset in enumerate(dict.fromkeys(offsets)):
            synset = wordnet.synsets[pos, offset]
            found[synset.name] = Candidate(synset.name, pos, wordnet.fields[pos, offset], synset.definition, rank)
    return list(found.values())


def gloss_votes(contexts: pd.DataFrame) -> dict[int, dict[str, int]]:
    """Sense -> synset -> how many of its contexts stand in the gloss or an example of that synset."""
    rows = contexts[contexts["document"].str.startswith("gloss:")]
    counts = rows.groupby(["sense", "document"], sort=True).size()
    votes: dict[int, dict[str, int]] = {}
    for (sense, document), number in counts.items():
        votes.setdefault(sense, {})[document.removeprefix("gloss:")] = int(number)
    return votes


class Evidence(NamedTuple):
    """What speaks for the synsets of words."""

    candidates: dict[str, list[Candidate]]  # of each word
    probed: dict[int, np.ndarray]  # sense -> what the probe says of each field: (45,) float64 of sum 1
    votes: dict[int, dict[str, int]]  # sense -> synset -> contexts in its gloss or examples


def gather_evidence(
    centroids: Tensor,
    asked: Mapping[str, range],
    known: Mapping[str, range],
    contexts: pd.DataFrame,
    wordnet: WordNetWords,
) -> Evidence:
    """The evidence on the senses of the words that are asked for; the probe learns from the known ones.

    Args:
        centroids: (S, d) of the dictionary.
        asked, known: word -> its senses, rows of the centroids.
        contexts: of the dictionary, as `senses.store.load_contexts` gives them.
    """
    found = {word: candidates(wordnet, word) for word in {**known, **asked}}
    rows = [row for of_word in asked.values() for row in of_word]
    shares = _field_shares(_fit_probe(centroids, known, found), centroids[rows])
    return Evidence(found, dict(zip(rows, shares)), gloss_votes(contexts))


def _fit_probe(centroids: Tensor, rows: Mapping[str, range], found: Mapping[str, Sequence[Candidate]]):
    """Discriminant analysis of the senses of words whose synsets are all in one field; None for fewer than two."""
    chosen, fields = [], []
    for word, of_word in rows.items():
        known = {candidate.field for candidate in found[word]}
        if len(known) == 1:
            chosen += of_word
            fields += [*known] * len(of_word)
    often = [field for field, number in Counter(fields).items() if number > 1]
    kept = [i for i, field in enumerate(fields) if field in often]
    if len(often) < 2:
        return None
    vectors = centroids[[chosen[i] for i in kept]].float().numpy()
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=_SHRINKAGE)
    return model.fit(vectors, np.array([fields[i] for i in kept]))


def _field_shares(probe: LinearDiscriminantAnalysis | None, centroids: Tensor) -> np.ndarray:
    """(n, d) -> (n, 45) float64: how probable each field is, of those that the probe has learnt; even without one."""
    if probe is None:
        return np.full((len(centroids), _FIELDS), 1 / _FIELDS)
    shares = np.zeros((len(centroids), _FIELDS))
    shares[:, probe.classes_] = probe.predict_proba(centroids.float().numpy())
    return shares


def fit_synset(evidence: Evidence, word: str, sense: int) -> Fit:
    """The synset that fits a sense best."""
    found = evidence.candidates[word]
    if not found:
        return Fit("", 0.0, 0, "", "")
    shares, votes = _shares(evidence, word, sense), evidence.votes.get(sense, {})
    best = found[int(shares.argmax())]
    return Fit(best.name, float(shares.max()), votes.get(best.name, 0), best.pos, best.definition)


def _shares(evidence: Evidence, word: str, sense: int, without: str = "") -> np.ndarray:
    """The share of each candidate; with `without`, as if one context fewer stood in the gloss of that synset."""
    found, votes = evidence.candidates[word], evidence.votes.get(sense, {})
    row = evidence.probed[sense]
    # Within a field the probe cannot tell synsets apart, so that the commoner one has the larger share.
    probed = np.array([(row[c.field] + _FLOOR) ** _TRUST / (1 + c.rank) for c in found])
    counts = np.array([votes.get(c.name, 0) - (c.name == without) for c in found])
    return (counts + probed / probed.sum()) / (counts.sum() + 1)


def checked_fits(evidence: Evidence, rows: Mapping[str, range]) -> pd.DataFrame:
    """How good the rule is: each context that stands in a gloss of its word loses its vote, and the synset is told from
    the rest. Of words with two synsets or more.

    Returns:
        One row a context: "share" of the synset that fits best, whether it is "right", and "chance".
    """
    found = []
    for word, of_word in rows.items():
        names = [candidate.name for candidate in evidence.candidates[word]]
        for sense in of_word if len(names) > 1 else ():
            for name, number in evidence.votes.get(sense, {}).items():
                if name in names:
                    shares = _shares(evidence, word, sense, without=name)
                    right = names[int(shares.argmax())] == name
                    found += [(float(shares.max()), right, 1 / len(names))] * number
    return pd.DataFrame(found, columns=["share", "right", "chance"])
