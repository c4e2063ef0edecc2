"""Documents that are made of words: WordNet's glosses, and the lexicon written out."""

from collections.abc import Iterable
from itertools import chain, combinations

import pandas as pd

from dskd.corpus.documents import Document
from dskd.lexicon.readers.wordnet import Gloss, glosses
from dskd.lexicon.relations import ANTONYM, SYNONYM, heldout_pairs, heldout_words, normalised
from dskd.params import LexiconParams


def render_gloss(gloss: Gloss) -> str:
    """A synset as people write it: 'bank: sloping land. They pulled the canoe up on the bank.'"""
    sentences = [f"{', '.join(gloss.lemmas)}: {gloss.definition}"]
    sentences += [example[:1].upper() + example[1:] for example in gloss.examples]
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in sentences)


def gloss_documents(reader, lexicon: LexiconParams) -> tuple[list[Document], int]:
    """WordNet's synsets without those that have a held-out word, or both words of a held-out pair, among their lemmas;
    and how many these are."""
    found = list(glosses(reader))
    heldout = heldout_lemmas(found, lexicon)
    kept = [gloss for gloss in found if not any(lemma.lower() in heldout for lemma in gloss.lemmas)]
    if lexicon.heldout_pairs:
        of_pairs = [set(combinations(sorted(map(normalised, gloss.lemmas)), 2)) for gloss in kept]
        held = heldout_pairs(chain.from_iterable(of_pairs), lexicon.seed, lexicon.heldout_pairs)
        kept = [gloss for gloss, pairs in zip(kept, of_pairs) if held.isdisjoint(pairs)]
    documents = [Document(f"gloss:{gloss.name}", lambda gloss=gloss: render_gloss(gloss)) for gloss in kept]
    return documents, len(found) - len(kept)


def heldout_lemmas(found: list[Gloss], lexicon: LexiconParams) -> set[str]:
    """The held-out words among the lemmas of these synsets, in lower case."""
    words = (lemma.lower() for gloss in found for lemma in gloss.lemmas)
    return heldout_words(words, lexicon.seed, lexicon.heldout_share)


def lexicon_documents(related: pd.DataFrame) -> list[Document]:
    """The lexicon's table written out: of each head a document with a sentence for each of its relations."""
    rows = related[["head", "tail", "relation"]].drop_duplicates().sort_values(["head", "relation", "tail"])
    return [
        Document(f"lexicon:{head}", lambda of=of: render_relations(zip(of["head"], of["tail"], of["relation"])))
        for head, of in rows.groupby("head", sort=True)
    ]


def render_relations(rows: Iterable[tuple[str, str, int]]) -> str:
    """(head, tail, relation) as sentences: 'Good means the same as well. Good is the opposite of bad.'"""
    says = {SYNONYM: "means the same as", ANTONYM: "is the opposite of"}
    return " ".join(f"{head[:1].upper()}{head[1:]} {says[relation]} {tail}." for head, tail, relation in rows)
