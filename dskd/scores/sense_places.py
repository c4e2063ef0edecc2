"""Places where a word is used in a known sense: WiC's sentences, WordNet's examples, text that people tagged.

The dictionary's states stand before a word, so what is asked for is the state of all that comes before it.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from nltk.corpus.reader.wordnet import WordNetCorpusReader, WordNetError
from transformers import PreTrainedTokenizerBase

from dskd.corpus.tagged_text import tagged_words
from dskd.corpus.word_documents import heldout_lemmas
from dskd.errors import UserError
from dskd.lexicon.readers.wordnet import glosses
from dskd.model.tokenizer import before_text, separator_token
from dskd.params import LexiconParams

_WORDS = re.compile(r"[^\W_][\w'-]*")


class Place(NamedTuple):
    word: str  # the lemma, in lower case
    text: str
    start: int  # of the word in the text, in characters
    synset: str = ""  # "bank.n.01"; empty where it is not known

    @property
    def pos(self) -> str:
        """Part of speech, n, v, a or r; adjective satellites are adjectives."""
        return self.synset.split(".")[-2].replace("s", "a")


def unread(rows: Sequence[dict], reader: WordNetCorpusReader, documents: Collection[str]) -> list[dict]:
    """The rows of WiC without those of which a sentence is an example in WordNet that a dictionary has read.

    Args:
        documents: of the dictionary's text, "gloss:bank.n.01"; where their names are not known ("") all examples count.
    """
    read = set(documents)
    chosen = (gloss for gloss in glosses(reader) if "" in read or f"gloss:{gloss.name}" in read)
    examples = {_letters(example) for gloss in chosen for example in gloss.examples}
    return [row for row in rows if not {_letters(row["sentence1"]), _letters(row["sentence2"])} & examples]


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


def wic_places(rows: Iterable[dict]) -> list[Place]:
    """Two places of each row of WiC, one after the other."""
    return [Place(row["word"].lower(), row[f"sentence{i}"], row[f"span{i}"][0]) for row in rows for i in (1, 2)]


def example_places(reader: WordNetCorpusReader, lexicon: LexiconParams) -> list[Place]:
    """Held-out words in the examples of their synsets, which no text of a run has, neither dictionary nor corpus; of
    words with examples in two synsets or more. An example that stands under several synsets is left out.

    A form of a word counts as the word where WordNet's own rules lead to it (banks, bank).
    """
    found = list(glosses(reader))
    heldout = heldout_lemmas(found, lexicon)
    places, often = [], Counter(example for gloss in found for example in set(gloss.examples))
    for gloss in found:
        own = {lemma.lower() for lemma in gloss.lemmas} & heldout
        for example in gloss.examples if own else ():
            for match in _WORDS.finditer(example):
                form = match[0].lower()
                word = form if form in own else reader.morphy(form, gloss.pos.replace("s", "a"))
                if word in own and often[example] == 1:
                    places.append(Place(word, example, match.start(), gloss.name))
    return of_several_synsets(places)


def tagged_places(folder: Path, reader: WordNetCorpusReader) -> list[Place]:
    """The words of a tagged text, of words that are tagged with two synsets or more.

    Raises:
        UserError: the text is not whole, or names a sense that is not in this WordNet.
    """
    places = []
    for word in tagged_words(folder):
        try:
            synset = reader.lemma_from_key(word.key).synset().name()
        except (WordNetError, ValueError, LookupError):
            raise UserError(
                f"{folder}: {word.key} is no sense of this WordNet: tagged text and sources.wordnet must be of one "
                "version, WordNet 3.0 for the framework of Raganato et al."
            ) from None
        places.append(Place(word.lemma, word.text, word.start, synset))
    return of_several_synsets(places)


def of_several_synsets(places: Sequence[Place]) -> list[Place]:
    """The places of words that have places in two synsets or more."""
    synsets = {}
    for place in places:
        synsets.setdefault(place.word, set()).add(place.synset)
    return [place for place in places if len(synsets[place.word]) > 1]


def before(places: Sequence[Place], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """The tokens before the word of each place, never none: a text begins as a document of the corpus does."""
    beginning = before_text(tokenizer) or [separator_token(tokenizer)]
    encoded = tokenizer([place.text for place in places], add_special_tokens=False, return_offsets_mapping=True)
    found = []
    for place, ids, offsets in zip(places, encoded.input_ids, encoded.offset_mapping):
        # A token's offsets may include the space before it.
        first = next(i for i, (_, end) in enumerate(offsets) if end > place.start)
        found.append([*beginning, *ids[:first]])
    return found
