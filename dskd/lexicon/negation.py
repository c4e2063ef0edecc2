"""Negation hidden in morphology is undone: unhappy is happy with the sign -1 (docs/method.md, section 2.2).

A resource says how words are built (`readers.morphology`), but it lists look-alikes too. A step counts as
a negation where the spelling shows it, the base is a known word, and three facts of English allow it:
in- (im-, il-, ir-) makes no verbs, no nouns of verbs (income), and is im-, il- or ir- before b, m, p, l and r, so
that inborn or inland hold the preposition. What no rule can tell is in `LOOKALIKES`.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from dskd.lexicon.readers.morphology import Derivation, Derivations
from dskd.lexicon.relations import SYNONYM, Relation

AFFIXES = ("un-", "dis-", "non-", "in-", "im-", "il-", "ir-", "-less")
RISKY = ("anti-", "de-", "a-", "an-", "-free")  # often no negation (antibody, debase, aside, sugar-free)

_LATIN = {"in-", "im-", "il-", "ir-"}  # one prefix: resources call all of them in-
_ASSIMILATED = {"b": "im-", "m": "im-", "p": "im-", "l": "il-", "r": "ir-"}
_DEEPEST = 6  # steps; real words take at most four

# Built with a negative affix, but not the negation of the base.
LOOKALIKES = {
    "disaffected": "discontented; affected means influenced",
    "discard": "to throw away; card has lost its sense",
    "disease": "an illness; ease has lost its sense",
    "indeed": "in + deed",
    "inflammable": "easily set on fire: inflame + -able",
    "inform": "Latin in- 'into'",
    "invaluable": "of great value",
    "irregardless": "regardless: the second negation only strengthens",
    "irrespective": "without regard; respective means 'of each'",
    "listless": "without zest; list in this sense is obsolete",
    "priceless": "of great value",
    "regardless": "despite; no one lacks regard",
    "shiftless": "without ambition; shift in this sense is obsolete",
    "unloose": "to loosen: un- only strengthens",
    "unravel": "to ravel: un- only strengthens",
    "unthaw": "to thaw: un- only strengthens",
}


class Polarity(NamedTuple):
    base: str  # the word itself where nothing is undone
    sign: int  # -1 where the word negates its base
    affixes: tuple[str, ...]  # what was taken off, outermost first


def polarity(
    word: str,
    derivations: Derivations,
    known: Container[str],
    affixes: Iterable[str] = AFFIXES,
    lookalikes: Container[str] = LOOKALIKES,
) -> Polarity:
    """What a word (lower case) negates, if it is built with an odd number of negative affixes.

    Other suffixes between are followed (unhappily, from unhappy): the base is then the word without its prefix if
    that is known (happily), else the innermost base (hope of hopelessness). With an even number of
    negative affixes (nonnonsense) the word stays as it is.
    """
    base, taken = _undo(word, derivations, known, frozenset(affixes), lookalikes, frozenset())
    return Polarity(base, -1, taken) if len(taken) % 2 else Polarity(word, 1, ())


def negations(
    relations: Iterable[Relation],
    derivations: Derivations,
    known: Container[str],
    affixes: Iterable[str] = AFFIXES,
    lookalikes: Container[str] = LOOKALIKES,
) -> dict[str, Polarity]:
    """The words of `relations` whose sign is -1, in alphabetical order: the report of all flips, and what `flip` takes.

    A word that the relations call a synonym of its base negates nothing (discolor and color, unloosen and loosen).
    """
    affixes, words, synonyms = tuple(affixes), set(), set()
    for head, tail, relation, *_ in relations:
        words |= {head, tail}
        if relation == SYNONYM:
            synonyms |= {(head, tail), (tail, head)}
    found = {word: polarity(word, derivations, known, affixes, lookalikes) for word in sorted(words)}
    return {word: undone for word, undone in found.items() if undone.sign < 0 and (word, undone.base) not in synonyms}


def flip(relations: Iterable[Relation], negated: Mapping[str, Polarity]) -> Iterator[Relation]:
    """Every relation as it is, and after it the one between the bases if a word of it is negated.

    The new relation is relation * sign(head) * sign(tail), with `flipped` set; there is none where the relations
    themselves say its opposite. What the source says is kept beside it: unhappy - sad is as true as happy - sad
    is false, and the antonyms happy - unhappy would become happy - happy, which is no relation, and be lost.
    """
    relations = list(relations)
    stated = {(*ends, relation) for head, tail, relation, *_ in relations for ends in ((head, tail), (tail, head))}
    for relation in relations:
        yield relation
        head, tail = (negated.get(word, Polarity(word, 1, ())) for word in (relation.head, relation.tail))
        if head.sign < 0 or tail.sign < 0:
            sign = relation.relation * head.sign * tail.sign
            if head.base != tail.base and (head.base, tail.base, -sign) not in stated:
                yield Relation(head.base, tail.base, sign, relation.source, relation.sense, True)


def _undo(
    word: str,
    derivations: Derivations,
    known: Container[str],
    affixes: frozenset[str],
    lookalikes: Container[str],
    seen: frozenset[str],
) -> tuple[str, tuple[str, ...]]:
    """The base without any negative affix, and those taken off, outermost first; () where there are none."""
    if not any(word.startswith(a[:-1]) if a.endswith("-") else a[1:] in word for a in affixes):
        return word, ()  # most words: suffixes between change nothing of this
    steps = derivations.get(word, ())
    plain = sorted({step.base for step in steps if step.affix.startswith("-") and step.affix not in affixes})
    if word in lookalikes or len(seen) == _DEEPEST or any(base in lookalikes for base in plain):
        return word, ()
    seen |= {word}
    negative = sorted((step.base, affix) for step in steps if (affix := _negative(word, step, affixes)))
    for base, affix in negative:
        if base in known and base not in seen:
            innermost, more = _undo(base, derivations, known, affixes, lookalikes, seen)
            return innermost, (affix, *more)
    for base in plain:
        if base not in seen:
            innermost, taken = _undo(base, derivations, known, affixes, lookalikes, seen)
            if taken:
                outer = taken[0]
                rest = word.removeprefix(outer[:-1])
                parallel = len(taken) == 1 and outer.endswith("-") and rest != word and rest in known
                return rest if parallel else innermost, taken
    return word, ()


def _negative(word: str, step: Derivation, affixes: frozenset[str]) -> str:
    """The negative affix of a step as it is spelled in the word, or "" if the step is no negation."""
    if step.affix.startswith("-"):
        stem = word.removesuffix(step.affix[1:]).removesuffix("-")
        spelled = stem in (step.base, re.sub("y$", "i", step.base)) and stem != word
        return step.affix if spelled and step.affix in affixes else ""
    affix = word.removesuffix(step.base).removesuffix("-") + "-"
    if affix not in affixes or (affix != step.affix and not {affix, step.affix} <= _LATIN):
        return ""
    if affix in _LATIN:
        particle = step.pos == "V" or (step.base_pos, step.pos) == ("V", "N")
        if particle or _ASSIMILATED.get(step.base[0], "in-") != affix:
            return ""
    return affix
