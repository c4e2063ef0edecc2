"""Which synset of WordNet a sense fits best, and how surely: from its contexts, and from where it lies.

Two things speak for a synset of the word. A context of the sense that stands in the synset's own gloss or examples is
one vote. And a probe looks at the centroid: linear discriminant analysis tells the 45 fields of WordNet
(noun.animal, verb.motion, …) apart, learnt from words all of whose synsets are in one field. A sense with n votes has
the shares (votes + what the probe says) / (n + 1), so the probe counts as one vote.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from dskd.infra.artifacts import reading
from dskd.lexicon.readers.wordnet import PARTS, read_index, read_synsets

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


class WordNetWords:
    """The synsets of words, as they are written or of the word that they are a form of."""

    def __init__(self, reader: WordNetCorpusReader):
        self.reader, self.index = reader, read_index(reader)
        self.synsets = read_synsets(reader, self.index)
        with reading("WordNet's data", "sources"):
            lines = (
                (pos, line.split(maxsplit=2))
                for pos, suffix in PARTS.items()
                for line in reader.raw(f"data.{suffix}").split("\n")
                if line[:1].isdigit()
            )
            self.fields = {(pos, int(offset)): int(field) for pos, (offset, field, _) in lines}

    def candidates(self, word: str) -> list[Candidate]:
        """The synsets of a word, parts of speech in the order n, v, a, r; empty where WordNet does not have it."""
        found = {}
        for pos in PARTS:
            forms = dict.fromkeys([word.lower(), self.reader.morphy(word.lower(), pos) or ""])
            offsets = [offset for form in forms for offset in self.index.get((form.replace(" ", "_"), pos), ())]
            for rank, offset in enumerate(dict.fromkeys(offsets)):
                synset = self.synsets[pos, offset]
                found[synset.name] = Candidate(synset.name, pos, self.fields[pos, offset], synset.definition, rank)
        return list(found.values())


def gloss_votes(contexts: pd.DataFrame) -> dict[int, dict[str, int]]:
    """Sense -> synset -> how many of its contexts stand in the gloss or an example of that synset."""
    rows = contexts[contexts["document"].str.startswith("gloss:")]
    counts = rows.groupby(["sense", "document"], sort=True).size()
    votes: dict[int, dict[str, int]] = {}
    for (sense, document), number in counts.items():
        votes.setdefault(sense, {})[document.removeprefix("gloss:")] = int(number)
    return votes


class Probe(NamedTuple):
    """Tells fields by where a sense lies."""

    model: LinearDiscriminantAnalysis

    def shares(self, centroids: Tensor) -> np.ndarray:
        """(n, d) -> (n, fields) float64, each row of sum 1; a column of zeros where a field was never met."""
        found = np.zeros((len(centroids), 45))
        found[:, self.model.classes_] = self.model.predict_proba(centroids.double().numpy())
        return found


def fit_probe(centroids: Tensor, rows: Mapping[str, range], candidates: Mapping[str, Sequence[Candidate]]) -> Probe:
    """A probe of the senses of words whose synsets are all in one field.

    Args:
        centroids: (S, d) of the dictionary.
        rows: word -> its rows among them.
    """
    chosen, fields = [], []
    for word, found in rows.items():
        known = {candidate.field for candidate in candidates.get(word, ())}
        if len(known) == 1:
            chosen += found
            fields += [*known] * len(found)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=_SHRINKAGE)
    return Probe(model.fit(centroids[chosen].double().numpy(), np.array(fields)))


def fit_synsets(candidates: Sequence[Candidate], probed: np.ndarray, votes: Sequence[Mapping[str, int]]) -> list[Fit]:
    """The synset that fits each sense of one word best.

    Args:
        candidates: of the word.
        probed: (senses, fields), what `Probe.shares` says of each.
        votes: of each, from `gloss_votes`.
    """
    if not candidates:
        return [Fit("", 0.0, 0, "", "")] * len(votes)
    prior = np.array([1 / (1 + candidate.rank) for candidate in candidates])
    return [_fit(candidates, row, prior, of_sense) for row, of_sense in zip(probed, votes)]


def _fit(candidates: Sequence[Candidate], row: np.ndarray, prior: np.ndarray, votes: Mapping[str, int]) -> Fit:
    """One sense: within a field the probe cannot tell synsets apart, and the commoner one has the larger share."""
    probe = row[[candidate.field for candidate in candidates]] * prior
    probe = probe / probe.sum() if probe.sum() > 0 else prior / prior.sum()
    counts = np.array([votes.get(candidate.name, 0) for candidate in candidates])
    shares = (counts + probe) / (counts.sum() + 1)
    best = int(shares.argmax())
    of_pos = {pos: sum(s for c, s in zip(candidates, shares) if c.pos == pos) for pos in PARTS}
    chosen = candidates[best]
    return Fit(chosen.name, float(shares[best]), int(counts[best]), max(of_pos, key=of_pos.get), chosen.definition)
