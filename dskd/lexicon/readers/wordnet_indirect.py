"""Indirect antonyms: adjectives that are opposed through the adjectives they are similar to (Gross and Miller 1990).

In WordNet few adjectives have an antonym of their own. The others are satellites, each similar to a head that has one:
"humid" is opposed to "dry", because it is similar to "wet".
"""

from collections.abc import Iterator
from itertools import product

from nltk.corpus.reader.wordnet import WordNetCorpusReader

from dskd.infra.artifacts import reading
from dskd.lexicon.readers.wordnet import Synset, pointers, read_synsets
from dskd.lexicon.relations import ANTONYM, Relation


def indirect_antonyms(reader: WordNetCorpusReader) -> Iterator[Relation]:
    """A satellite's words with those of its head's antonyms, and the words of two opposed heads with each other.

    A pair comes once a pair of synsets, in the order of WordNet's file and then by alphabet; the sense names both
    synsets, the opposed head last: "humid.s.01 dry.a.01". Pairs that `wordnet.relations` has
    as antonyms are left out; a pair that it has as synonyms is not, which is then a conflict.
    """
    synsets = read_synsets(reader)
    with reading("WordNet's data", "sources"):
        adjectives = {offset: synset for (pos, offset), synset in synsets.items() if pos == "a"}
        opposed = {offset: _linked(synset, "!") for offset, synset in adjectives.items()}
        direct = {
            frozenset((synset.lemmas[link.source - 1].lower(), adjectives[link.offset].lemmas[link.target - 1].lower()))
            for synset in adjectives.values()
            for link in pointers(synset)
            if link.symbol == "!" and link.source and link.target
        }
        for offset, synset in adjectives.items():
            heads = _linked(synset, "&") if synset.pos == "s" else [offset]
            others = dict.fromkeys(other for head in heads for other in opposed[head])
            for other in others:
                if synset.pos != "s" and other < offset:
                    continue  # two heads: they come from the first
                for head, tail in product(_words(synset), _words(adjectives[other])):
                    if head != tail and frozenset((head, tail)) not in direct:
                        sense = f"{synset.name} {adjectives[other].name}"
                        yield Relation(head, tail, ANTONYM, "wordnet_indirect", sense)


def _linked(synset: Synset, symbol: str) -> list[int]:
    """Offsets of the adjectives that `synset`, or a lemma of it, links to."""
    return [link.offset for link in pointers(synset) if link.symbol == symbol and link.pos == "a"]


def _words(synset: Synset) -> list[str]:
    return sorted({lemma.lower() for lemma in synset.lemmas})
