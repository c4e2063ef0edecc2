"""Lexical choice: which of four words is the synonym, the antonym, or what a definition defines?

Words held out of the training lexicon are asked about; and, as rungs of a ladder, held-out relations of words that kept
others, and relations that were trained. The four choices have one part of speech, and
the answer's rank among them by frequency and by length is drawn evenly, so that neither gives it away:
a guess by frequency or by length is right one time in four (`baseline_accuracy` measures it).
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import islice, product
from typing import NamedTuple

import numpy as np

from dskd.infra.artifacts import reading
from dskd.infra.randomness import hash_integers, text_key
from dskd.lexicon.readers.wordnet import Synset, pointers, read_index, read_synsets
from dskd.lexicon.relations import ANTONYM, SYNONYM, heldout_words
from dskd.lexicon.rungs import RUNGS, Trained, rung_of
from dskd.params import LexiconParams

PROMPTS = {
    "synonym": 'A word that means the same as "{}" is',
    "antonym": 'The opposite of "{}" is',
    "definition": 'The word for "{}" is',
}
CHOICES = 4

_MIN_LETTERS = 3
_MIN_COUNT = 2  # rarer words are unknown to small models, and their counts are noise
_LETTERS = 3  # a distractor is longer or shorter than the answer by at most so many letters
_NEAREST = 8  # a distractor is drawn from so many fitting words nearest in frequency
_REACH = 1500  # and at most so many ranks away
_KEY_POS = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}  # the digit in a sense key (senseidx(5WN))
_SEED = text_key("tasks.lexical")
_RELATIONS = {"synonym": SYNONYM, "antonym": ANTONYM}  # tasks that have all rungs


class Item(NamedTuple):
    task: str  # a key of PROMPTS
    id: str
    word: str  # the held-out word: asked about, or (definition) the answer
    context: str
    choices: tuple[str, ...]  # CHOICES continuations of the context, each with its leading space
    answer: int
    pos: str  # n, v, a or r
    sense: str  # synset name
    rung: str = "word"  # a key of RUNGS


class Vocabulary(NamedTuple):
    synsets: dict[tuple[str, int], Synset]
    index: dict[tuple[str, str], list[int]]
    frequency: dict[str, int]  # of every lower-case word form in glosses, examples and sense-tagged text
    pos: dict[str, str]  # usable word -> its main part of speech: most tagged, then most senses
    ranked: dict[str, list[str]]  # part of speech -> usable words of it, the rarest first


@reading("WordNet", "sources")
def build_items(
    lexicon: LexiconParams, seed: int, items: int, vocabulary: Vocabulary, trained: Trained = frozenset()
) -> list[Item]:
    """Up to `items` items of each task and rung, fewer where there are fewer; at most one a task, rung and word.

    Held-out words are asked about in every task, the other rungs in those of synonyms and antonyms. Usable words are
    single, alphabetic, of three letters or more, not proper nouns, and seen twice or more; pairs that are alike in
    spelling (happy, unhappy) are passed over: letters would give the answer away.
    """
    heldout = heldout_words(vocabulary.pos, lexicon.seed, lexicon.heldout_share)
    others, rung = vocabulary.pos.keys() - heldout, rung_of(lexicon, trained)
    rank = {word: i for words in vocabulary.ranked.values() for i, word in enumerate(words)}
    related = cache(lambda word: related_words(vocabulary, word))
    found = []
    for task, of in product(PROMPTS, RUNGS):
        made = 0
        if of != "word" and (task not in _RELATIONS or not trained):
            continue
        for word in sorted(heldout if of == "word" else others, key=lambda word: (_draw(seed, task, word), word)):
            if made == items:
                break
            for synset, asked, answer in _candidates(vocabulary, task, word, seed):
                if of != "word" and rung(word, answer, _RELATIONS[task]) != of:
                    continue
                banned = related(word) | related(answer) | set(_words(asked))
                distractors = _distractors(vocabulary, rank[answer], answer, word, banned, (seed, task, word))
                if distractors:
                    choices = [*distractors]
                    choices.insert(made % CHOICES, answer)  # words come in drawn order: this is balanced, and even
                    context, spaced = PROMPTS[task].format(asked), tuple(f" {choice}" for choice in choices)
                    name = f"{task}:{word}:{synset.name}" + (f":{of}" if of != "word" else "")
                    pos = vocabulary.pos[answer]
                    found.append(Item(task, name, word, context, spaced, made % CHOICES, pos, synset.name, of))
                    made += 1
                    break
    return found


@reading("WordNet", "sources")
def read_vocabulary(reader) -> Vocabulary:
    """All that the tasks need of WordNet; see `Vocabulary`."""
    index = read_index(reader)
    synsets = read_synsets(reader, index)
    frequency = Counter(word for s in synsets.values() for text in (s.definition, *s.examples) for word in _words(text))
    tagged = Counter()
    for line in reader.raw("cntlist.rev").splitlines():
        key, _, count = line.split()
        word, _, rest = key.partition("%")
        tagged[word, _KEY_POS[rest[0]]] += int(count)
    for (word, _), count in tagged.items():
        frequency[word] += count
    senses = Counter((lemma, pos) for (pos, _), s in synsets.items() for lemma in s.lemmas if _usable(lemma))
    main: dict[str, str] = {}
    for word, pos in sorted(senses):
        weight = (tagged[word, pos], senses[word, pos])
        if word not in main or weight > (tagged[word, main[word]], senses[word, main[word]]):
            main[word] = pos
    main = {word: pos for word, pos in main.items() if frequency[word] >= _MIN_COUNT}
    ranked: dict[str, list[str]] = {pos: [] for pos in "nvar"}
    for word in sorted(main, key=lambda word: (frequency[word], text_key(word))):  # ties not by alphabet
        ranked[main[word]].append(word)
    return Vocabulary(synsets, index, dict(frequency), main, ranked)


def related_words(vocabulary: Vocabulary, word: str) -> set[str]:
    """The word, its synonyms, and every word that a link of WordNet joins to a synset of it, in lower case.

    From an adjective also what its neighbours in likeness are like or opposed to: WordNet gives antonyms to
    the heads of such clusters only.
    """
    found = {word}
    for pos in "nvar":
        for offset in vocabulary.index.get((word, pos), ()):
            keys = [(pos, offset)]
            for link in pointers(vocabulary.synsets[pos, offset]):
                keys.append((link.pos, link.offset))
                if link.symbol == "&":
                    near = pointers(vocabulary.synsets[link.pos, link.offset])
                    keys += [(other.pos, other.offset) for other in near if other.symbol in "&!"]
            for key in keys:
                found.update(lemma.lower() for lemma in vocabulary.synsets[key].lemmas)
    return found


def alike(a: str, b: str) -> bool:
    """Whether two words show in their letters that they belong together: same beginning, or one in the other."""
    return a[:4] == b[:4] or a in b or b in a


def baseline_accuracy(items: list[Item], frequency: dict[str, int]) -> dict[str, float]:
    """Accuracy of guessing by frequency or by length alone; equally good choices share the point.

    `frequency` counts lower-case words (those absent count 0). Chance is 1 / CHOICES. Empty for no items.
    """
    rules = {
        "most_frequent": lambda choice: frequency.get(choice.strip(), 0),
        "least_frequent": lambda choice: -frequency.get(choice.strip(), 0),
        "longest": len,
        "shortest": lambda choice: -len(choice),
    }
    scores = {name: 0.0 for name in rules if items}
    for item in items:
        for name, rule in rules.items():
            values = [rule(choice) for choice in item.choices]
            if values[item.answer] == max(values):
                scores[name] += 1 / values.count(max(values)) / len(items)
    return scores


def _candidates(vocabulary: Vocabulary, task: str, word: str, seed: int) -> Iterator[tuple[Synset, str, str]]:
    # (synset, what is asked, answer), the commonest senses first. Word and answer stand in their main part of speech.
    pos = vocabulary.pos[word]
    senses = [key for offset in vocabulary.index[word, pos] if word in vocabulary.synsets[key := (pos, offset)].lemmas]
    if task == "definition":
        for key in senses:
            definition = vocabulary.synsets[key].definition
            if definition and '"' not in definition and not any(alike(word, w) for w in _words(definition)):
                yield vocabulary.synsets[key], definition, word
        return
    found = []
    for rank, key in enumerate(senses):
        synset = vocabulary.synsets[key]
        for answer, answer_key in partners(vocabulary, task, word, key):
            if vocabulary.pos.get(answer) == pos and not alike(word, answer):
                commonness = rank + vocabulary.index[answer, pos].index(answer_key[1])
                found.append((commonness, _draw(seed, word, answer), synset, word, answer))
    for _, _, *candidate in sorted(found):
        yield tuple(candidate)


def partners(vocabulary: Vocabulary, task: str, word: str, key: tuple[str, int]) -> Iterator:
    """(lemma, key of its synset) of the synonyms or antonyms that a word has in one of its synsets."""
    synset = vocabulary.synsets[key]
    if task == "synonym":
        yield from ((lemma, key) for lemma in synset.lemmas if lemma != word)
        return
    for link in pointers(synset):
        if link.symbol == "!" and link.source and link.target and synset.lemmas[link.source - 1] == word:
            other = (link.pos, link.offset)
            yield vocabulary.synsets[other].lemmas[link.target - 1], other


def _distractors(
    vocabulary: Vocabulary, rank: int, answer: str, word: str, banned: set[str], keys: tuple
) -> list[str] | None:
    """Three words on drawn sides of the answer in frequency and length, in drawn order; None where there are not."""
    slots = CHOICES - 1
    rarer, longer = (_draw(*keys, use) % CHOICES for use in ("rarer", "longer"))  # how many: 0 to 3, evenly
    places = np.argsort([_draw(*keys, "side", slot) for slot in range(slots)])  # so that the two are independent
    steps = [-1 if slot < rarer else 1 for slot in range(slots)]
    # Where there is nothing shorter (or longer) all choices are as long as the answer: then length tells nothing.
    for signs in ([1 if place < longer else -1 for place in places], [0] * slots):
        chosen: list[str] = []
        for slot, (step, sign) in enumerate(zip(steps, signs)):
            taken = [word, answer, *chosen]
            fitting = list(islice(_neighbours(vocabulary, rank, answer, step, sign, banned, taken), _NEAREST))
            if not fitting:
                break
            chosen.append(fitting[_draw(*keys, "pick", slot) % len(fitting)])
        else:
            return sorted(chosen, key=lambda choice: _draw(*keys, "order", choice))
    return None


def _neighbours(
    vocabulary: Vocabulary, rank: int, answer: str, step: int, sign: int, banned: set[str], taken: list[str]
) -> Iterator[str]:
    # Words ever farther from the answer in frequency (step -1: rarer), longer (sign 1), shorter (-1) or as long (0).
    ranked = vocabulary.ranked[vocabulary.pos[answer]]
    for place in range(rank + step, max(-1, rank - _REACH) if step < 0 else min(len(ranked), rank + _REACH), step):
        other = ranked[place]
        difference = len(other) - len(answer)
        if abs(difference) > _LETTERS or (difference > 0) - (difference < 0) != sign or other in banned:
            continue
        if not any(alike(other, word) for word in taken):
            yield other


def _draw(*keys: int | str) -> int:
    return int(hash_integers(_SEED, *(text_key(key) if isinstance(key, str) else key for key in keys)))


def _usable(lemma: str) -> bool:
    return lemma.isascii() and lemma.isalpha() and lemma.islower() and len(lemma) >= _MIN_LETTERS


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())
