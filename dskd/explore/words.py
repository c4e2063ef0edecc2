"""What a run knows of one word: its senses with their nearest contexts, its synonyms and its antonyms."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dskd import params
from dskd.errors import UserError
from dskd.explore.cards import Card, Context, Word, by_frequency, nearest_senses
from dskd.explore.synsets import Evidence, WordNetWords, fit_synset, gather_evidence, read_words
from dskd.infra import artifacts
from dskd.infra.artifacts import require
from dskd.infra.made_of import check_made_of
from dskd.lexicon.readers.wordnet import open_wordnet
from dskd.lexicon.relations import KINDS, is_heldout
from dskd.lexicon.store import antonyms, load_lexicon, synonyms
from dskd.lexicon.tokens import word_tokens
from dskd.model.tokenizer import load_tokenizer, tokenizer_hash
from dskd.params import Params
from dskd.senses.store import Senses, compose_span, load_contexts, load_senses

WORDS = 20_000  # with senses on the page of senses, the most frequent ones; the probe of synsets learns from them


class Vocabulary(NamedTuple):
    """The words of one token, the most frequent first; those with senses come before those without."""

    words: list[str]
    occurrences: np.ndarray  # (n,) int64 in the dictionary's text
    rows: dict[str, range]  # word -> its senses, rows of the dictionary's centroids, of the most frequent words
    left: set[str]  # rarer words, which have senses too


def read_vocabulary(tokenizer: PreTrainedTokenizerBase, senses: Senses, most: int = WORDS) -> Vocabulary:
    """The tokens that are words: letters alone, after a space."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    candidates = sorted(
        {text[1:] for text in texts if text[:1] == " " and text[1:].isalpha() and max(text) <= "\uffff"}
    )
    tokens = {word: ids[0] for word, ids in word_tokens(tokenizer, candidates).items() if len(ids) == 1}
    met = dict(zip(senses.tokens.tolist(), senses.occurrences.tolist()))
    rows = {word: senses.rows(token) for word, token in tokens.items()}
    order = sorted(tokens, key=lambda word: (not rows[word], -met.get(tokens[word], 0), word))
    having = [word for word in order if rows[word]]
    occurrences = np.array([met.get(tokens[word], 0) for word in order], dtype=np.int64)
    return Vocabulary(order, occurrences, {word: rows[word] for word in having[:most]}, set(having[most:]))


def teacher_tokenizer() -> PreTrainedTokenizerBase:
    """The teacher's tokenizer; UserError, with both ways to get it, where it is missing."""
    return load_tokenizer(made(artifacts.TEACHER, "sources"))


def made(path: str, stage: str) -> Path:
    """`path`; UserError, with both ways to get it, where it is missing."""
    if not Path(path).exists():
        raise UserError(f"{path} is missing: get it with `dvc pull` or make it with `dvc repro {stage}`")
    return Path(path)


def made_senses() -> Senses:
    """The run's sense dictionary; UserError where it is of another tokenizer than the teacher's, and with both ways to
    get it where it is missing."""
    senses = load_senses(made(artifacts.SENSES, "senses"))
    check_made_of(artifacts.SENSES, "senses", {"tokenizer": tokenizer_hash(made(artifacts.TEACHER, "sources"))})
    return senses


def word_token(tokenizer: PreTrainedTokenizerBase, word: str) -> int:
    """The token of a word written with a leading space; UserError if there are several."""
    (ids,) = word_tokens(tokenizer, [word]).values()
    if len(ids) != 1:
        raise UserError(f"{word!r} is {len(ids)} tokens of this tokenizer; choose a word that is one")
    return ids[0]


def sense_contexts(table: pd.DataFrame, sense: int, most: int) -> list[Context]:
    """The nearest contexts of a sense, a row of the dictionary's centroids, in the table of `load_contexts`."""
    first = table["sense"].searchsorted(sense)
    rows = table.iloc[first : first + most]
    rows = rows[rows["sense"] == sense]
    return [Context(*row) for row in zip(rows["left"], rows["right"], rows["document"])]


@dataclass(frozen=True, eq=False)
class Run:
    """What of a run `look_up` reads. It is opened once for many words; what takes long is made at its first use."""

    tokenizer: PreTrainedTokenizerBase
    senses: Senses
    contexts: pd.DataFrame
    lexicon: pd.DataFrame

    @cached_property
    def known(self) -> dict[str, range]:
        """The words of one token that have senses, the most frequent first."""
        return read_vocabulary(self.tokenizer, self.senses).rows

    @cached_property
    def _wordnet(self) -> WordNetWords:
        return read_words(open_wordnet(made(f"{artifacts.SOURCES}/nltk_data", "sources")))

    @cached_property
    def _evidence(self) -> Evidence:
        return self._gathered(self.known)

    def evidence(self, word: str, rows: range) -> Evidence:
        """What speaks for the synsets of a word with these senses."""
        return self._evidence if word in self.known else self._gathered({word: rows})

    def _gathered(self, asked: Mapping[str, range]) -> Evidence:
        return gather_evidence(self.senses.centroids, asked, self.known, self.contexts, self._wordnet)


def open_run() -> Run:
    """The run in the working folder; UserError, with both ways to get it, where an artifact is missing."""
    tokenizer, senses = teacher_tokenizer(), made_senses()
    lexicon = load_lexicon(made(artifacts.LEXICON, "lexicon"))
    return Run(tokenizer, senses, load_contexts(artifacts.SENSES), lexicon)


def look_up(word: str, settings: params.LexiconParams, contexts: int = 2, run: Run | None = None) -> Word:
    """All that the run knows of a word, which is looked up as it is written: "bank", "Bank".

    Args:
        run: left out, it is opened for this word alone.

    Raises:
        UserError: there are neither senses nor relations, or artifacts are missing.
    """
    word = unicodedata.normalize("NFC", " ".join(word.split()))
    if not word:
        raise UserError("there is no word to look up: give one, for example `python -m dskd senses bank`")
    run = run or open_run()
    tokenizer, dictionary = run.tokenizer, run.senses
    related, note = related_words(run.lexicon, word)
    if not len(related) and is_heldout(word.lower(), settings.seed, settings.heldout_share):
        note = "none in the lexicon, where it would be held out for the evaluation (lexicon.heldout_share)"
    (tokens,) = word_tokens(tokenizer, [word]).values()
    number, summary = _summary(tokenizer, dictionary, tokens)
    if not number and not len(related):
        near = get_close_matches(word.lower(), run.known, n=5, cutoff=0.7)
        spelt = f"these are spelt nearly so: {', '.join(near)}" if near else "try another word"
        raise UserError(f"{word!r} has {summary}; synonyms and antonyms: {note}: {spelt}")
    cards = _cards(run, word, dictionary.rows(tokens[0]), related, contexts) if len(tokens) == 1 else []
    return Word(word, summary, cards, related, note)


def _cards(run: Run, word: str, rows: range, related: pd.DataFrame, contexts: int) -> list[Card]:
    """The senses of a word, the most frequent first."""
    if not rows:
        return []
    senses, evidence = run.senses, run.evidence(word, rows)
    names = {kind: related.loc[related["relation"] == kind, "word"].unique() for kind in KINDS.values()}
    return [
        Card(
            number,
            int(senses.counts[row]),
            fit_synset(evidence, word, row),
            {kind: nearest_senses(senses, senses.centroids[row], names[kind], run.tokenizer) for kind in names},
            sense_contexts(run.contexts, row, contexts),
        )
        for number, row in enumerate(by_frequency(senses, rows), start=1)
    ]


def _summary(tokenizer: PreTrainedTokenizerBase, senses: Senses, tokens: tuple[int, ...]) -> tuple[int, str]:
    """How many senses a word has, and of what."""
    if len(tokens) > 1:
        pieces = f"its {len(tokens)} tokens ({', '.join(tokenizer.decode(token).strip() for token in tokens)})"
        number = len(compose_span(senses, tokens))
        if not number:
            return 0, f"no senses: not each of {pieces} has some"
        return number, f"{_count(number, 'sense')}, composed of those of {pieces}"
    if not tokens:
        return 0, "no senses: the tokenizer does not know all of it"
    rows = senses.rows(tokens[0])
    if not rows:
        return (
            0,
            "no senses: too few states in the dictionary's text; more text gives it some (docs/senses.md)",
        )
    states = int(senses.counts[rows.start : rows.stop].sum())
    occurrences = int(senses.occurrences[(senses.tokens == tokens[0]).nonzero()])
    sample = f", a sample of {occurrences:,}" if states < occurrences else ""
    return len(rows), f"{_count(len(rows), 'sense')} of {_count(states, 'state')}{sample}"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def related_words(table: pd.DataFrame, word: str) -> tuple[pd.DataFrame, str]:
    """Synonyms, then antonyms of a word, those that most senses support first, and a remark on where they are from.

    A word that is no head as it is written is looked up in lower case, then among the tails.

    Returns:
        Columns relation, word, source, senses, negation undone ("yes" or nothing), one row a word and source; and the
        remark.
    """
    lower, note = word.lower(), ""
    rows = table[table["form"] == word]
    if not len(rows):
        rows, note = table[table["form"] == lower], f"those of {lower!r}"
    if not len(rows):
        rows = table[table["tail"] == lower].rename(columns={"head": "tail", "tail": "head"})
        note = "of heads of the lexicon, which are single tokens"
    rows = rows.drop_duplicates(["tail", "relation", "source", "flipped"])
    support = (rows["sense"].str.count(";") + 1).groupby([rows["relation"], rows["tail"]]).transform("sum")
    rows = rows.assign(support=-support, relation=-rows["relation"])
    rows = rows.sort_values(["relation", "support", "tail", "source", "flipped"], kind="stable")
    columns = {
        "relation": (-rows["relation"]).map(KINDS),
        "word": rows["tail"],
        "source": rows["source"],
        "senses": rows["sense"].str.replace(";", ", "),
        "negation undone": rows["flipped"].map({True: "yes", False: ""}),
    }
    return pd.DataFrame(columns).reset_index(drop=True), note if len(rows) else "none in the lexicon"


def word_group(words: list[str], most: int = 8) -> list[tuple[str, Tensor]]:
    """The first words that are one token and have senses, each with these, (n, d): a group of `figures.sense_map`."""
    tokenizer, senses = teacher_tokenizer(), made_senses()
    tokens = word_tokens(tokenizer, words)
    rows = {word: senses.rows(tokens[word][0]) for word in dict.fromkeys(words) if len(tokens[word]) == 1}
    found = [(word, senses.centroids[r.start : r.stop]) for word, r in rows.items() if len(r)]
    if not found:
        raise UserError(f"none of {', '.join(words)} is one token with senses: choose other words")
    return found[:most]


def with_synonyms(word: str) -> list[str]:
    """A word and its synonyms in the lexicon, those that most senses support first."""
    related, _ = related_words(load_lexicon(made(artifacts.LEXICON, "lexicon")), word)
    return [word, *related.loc[related["relation"] == "synonym", "word"].unique()]


def show_senses(word: str, contexts: int = 2) -> pd.DataFrame:
    """The senses of a word, most frequent first, each with its nearest contexts; the word is in brackets."""
    senses, table, rows = made_senses(), load_contexts(artifacts.SENSES), []
    for row in by_frequency(senses, senses.rows(word_token(teacher_tokenizer(), word))):
        texts = [f"{c.left} [{word}]{c.right}" for c in sense_contexts(table, row, contexts)]
        rows.append({"states": int(senses.counts[row]), "nearest contexts": "  |  ".join(texts)})
    return pd.DataFrame(rows)


def concordance(found: Word) -> pd.DataFrame:
    """Every context of a word's cards, one a row: sense, left, word, right, source."""
    return pd.DataFrame(
        [(card.number, c.left, found.text, c.right, c.document) for card in found.cards for c in card.contexts],
        columns=["sense", "left", "word", "right", "source"],
    )


def sense_groups(params: Params, words: int = 5) -> dict[str, list[tuple[str, Tensor]]]:
    """The senses of `report.word` and of its most supported synonyms and antonyms that are one token each."""
    tokenizer, senses = teacher_tokenizer(), made_senses()
    table = load_lexicon(require(artifacts.LEXICON, "lexicon"))
    token = word_token(tokenizer, params.report.word)

    def of(spans: list[tuple[int, ...]]) -> list[tuple[str, Tensor]]:
        single = [span[0] for span in spans if len(span) == 1 and len(senses.rows(span[0]))]
        return [(tokenizer.decode(t).strip(), _vectors(senses, t)) for t in single[:words]]

    groups = {
        params.report.word: of([(token,)]),
        "synonyms": of(synonyms(table).get(token, [])),
        "antonyms": of(antonyms(table).get(token, [])),
    }
    missing = [name for name, members in groups.items() if not members]
    if missing:
        raise UserError(
            f"report.word = {params.report.word!r} has no senses of {', '.join(missing)}: choose another word"
        )
    return groups


def _vectors(senses: Senses, token: int) -> Tensor:
    rows = senses.rows(token)
    return senses.centroids[rows.start : rows.stop]
