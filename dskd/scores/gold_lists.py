"""How good a lexicon is, measured on lists of synonyms and antonyms that did not feed it.

A statement is an unordered pair of words with a relation. Coverage says how many of a gold list's pairs the lexicon
states anything of; precision, how many of its statements on the gold list's pairs have the gold list's relation.
A lexicon that calls one pair both makes two statements, one right and one wrong: it would pull and push at once.
Gold lists hold no unrelated words, so precision says how rarely the two relations are mistaken for each other, no more.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pandas as pd
from scipy.stats import binomtest

from dskd.errors import UserError
from dskd.lexicon.relations import ANTONYM, KINDS, SYNONYM, Pair, normalised

RELATIONS = {name: relation for relation, name in KINDS.items()}


class Gold(NamedTuple):
    name: str
    source: str  # the name that the list has, or would have, as a source of a lexicon
    pairs: dict[tuple[str, str], int]  # (word, later word) -> SYNONYM or ANTONYM, sorted


def gold_list(name: str, source: str, rows: Iterable[tuple]) -> Gold:
    """A gold list of rows that begin with (word, word, relation), in either direction and with repetitions.

    Pairs that it has with both relations are left out, as are words that are none (`lexicon.relations.normalised`).
    """
    relations: dict[tuple[str, str], set[int]] = {}
    for head, tail, relation, *_ in rows:
        head, tail = sorted((normalised(head), normalised(tail)))
        if head and head != tail:
            relations.setdefault((head, tail), set()).add(relation)
    return Gold(name, source, {pair: min(found) for pair, found in sorted(relations.items()) if len(found) == 1})


def antsynnet(name: str, rows: Iterable[dict]) -> Gold:
    """The gold list of AntSynNET's rows (`benchmarks.gather`); its source is "antsynnet", whatever the split."""
    return gold_list(name, "antsynnet", ((row["word1"], row["word2"], RELATIONS[row["relation"]]) for row in rows))


def beyond(gold: Gold, pairs: Iterable[Pair], what: str) -> Gold:
    """What a gold list has that `pairs` say nothing of; `what` they are becomes part of its name.

    Gold lists were often made from WordNet. Only this part of them can tell whether another source is right.
    """
    stated = _statements(pairs)
    left = {pair: relation for pair, relation in gold.pairs.items() if pair not in stated}
    return Gold(f"{gold.name} beyond {what}", gold.source, left)


def check_outside(pairs: Iterable[Pair], gold: Gold) -> None:
    """Refuse a gold list that fed the lexicon: by its name, or because one source has all of it under another name.

    Raises:
        UserError: it did.
    """
    _check_outside(_statements(pairs), gold)


def quality(pairs: Iterable[Pair], gold: Gold) -> list[dict]:
    """Coverage and precision of a lexicon on a gold list, for synonyms, antonyms and all, with 95 % Wilson intervals.

    Returns:
        Three rows with
        relation: synonym, antonym or all.
        gold_pairs: how many the gold list has of it.
        words_known: share of these whose words are both in the lexicon.
        coverage, coverage_low, coverage_high: share of these that the lexicon states anything of.
        statements: how many the lexicon makes with this relation on any of the gold list's pairs.
        precision, precision_low, precision_high: share of these with the gold list's relation. It depends on how many
            of its pairs are synonyms.
        contradictory: pairs of the gold list (of this relation) that the lexicon calls both.
        A share of nothing is NaN.

    Raises:
        UserError: the gold list is among the sources (`check_outside`).
    """
    return _quality(_statements(pairs), gold)


def quality_table(lexicons: Mapping[str, Iterable[Pair]], golds: Iterable[Gold]) -> pd.DataFrame:
    """`quality` of several lexicons, or of one after each step of its making, on several gold lists.

    Columns lexicon, pairs (unordered) and gold come before those of `quality`. A gold list that has the name of one of
    a lexicon's sources is passed over there.

    Raises:
        UserError: a source has all of a gold list under another name (`check_outside`).
    """
    golds = list(golds)
    rows = []
    for name, pairs in lexicons.items():
        stated = _statements(pairs)
        sources = _sources(stated)
        about = {"lexicon": name, "pairs": len(stated)}
        for gold in golds:
            if gold.source not in sources:
                rows += [{**about, "gold": gold.name, **row} for row in _quality(stated, gold)]
    return pd.DataFrame(rows)


def by_source(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    """The pairs of each source, sources by alphabet: lexicons for `quality_table`."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair.source, []).append(pair)
    return dict(sorted(found.items()))


# A pair of words, in alphabetical order -> what is said of it, each as (relation, source).
_Statements = dict[tuple[str, str], set[tuple[int, str]]]


def _statements(pairs: Iterable[Pair]) -> _Statements:
    stated: _Statements = {}
    for head, tail, relation, source, *_ in pairs:
        stated.setdefault((head, tail) if head < tail else (tail, head), set()).add((relation, source))
    return stated


def _sources(stated: _Statements) -> set[str]:
    return {source for found in stated.values() for _, source in found}


def _check_outside(stated: _Statements, gold: Gold) -> None:
    if gold.source in _sources(stated):
        raise UserError(f"{gold.name} is a source of the lexicon: measure it on a list that did not feed it")
    held = Counter(source for pair, true in gold.pairs.items() for sign, source in stated.get(pair, ()) if sign == true)
    for source in sorted(source for source, count in held.items() if count == len(gold.pairs)):
        raise UserError(f"the source {source} has all of {gold.name}: measure on a list that did not feed it")


def _quality(stated: _Statements, gold: Gold) -> list[dict]:
    _check_outside(stated, gold)
    said = {pair: {sign for sign, _ in stated[pair]} for pair in gold.pairs if pair in stated}
    words = {word for pair in stated for word in pair}
    rows = []
    for relation, signs in (*((name, {sign}) for name, sign in RELATIONS.items()), ("all", {SYNONYM, ANTONYM})):
        wanted = [pair for pair, sign in gold.pairs.items() if sign in signs]
        covered = [pair for pair in wanted if pair in said]
        known = sum(words.issuperset(pair) for pair in wanted)
        right = [sign == gold.pairs[pair] for pair, found in said.items() for sign in found & signs]
        rows.append(
            {
                "relation": relation,
                "gold_pairs": len(wanted),
                "words_known": known / len(wanted) if wanted else math.nan,
                **share("coverage", len(covered), len(wanted)),
                "statements": len(right),
                **share("precision", sum(right), len(right)),
                "contradictory": sum(len(said[pair]) > 1 for pair in covered),
            }
        )
    return rows


def share(name: str, count: int, total: int) -> dict[str, float]:
    """A share with its 95 % Wilson interval, as NAME, NAME_low and NAME_high; NaN where it is one of nothing."""
    if not total:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), math.nan)
    low, high = binomtest(count, total).proportion_ci(method="wilson")
    return {name: count / total, f"{name}_low": float(low), f"{name}_high": float(high)}
