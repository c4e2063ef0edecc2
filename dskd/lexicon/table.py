"""The lexicon as one table: pairs whose head is one token and whose tail is a short span."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from dskd.errors import UserError
from dskd.lexicon.build import Settled, Statements
from dskd.lexicon.relations import ANTONYM, KINDS, SYNONYM, Pair, Relation
from dskd.lexicon.tokens import head_forms, is_tail, word_tokens
from dskd.lexicon.vote import Conflict
from dskd.params import LexiconParams

_BOTH = ("wordnet", "wiktionary", "mythes")  # sources of both relations; others are lists of one
_KNOWN = 20  # pairs of a list that WordNet has, from which its direction can be told


def build_table(
    settings: LexiconParams, settled: Settled, tokenizer, inflections: Mapping[str, Sequence[str]]
) -> tuple[pd.DataFrame, dict]:
    """Keep the pairs that fit the tokenizer (docs/method.md, section 2).

    Returns the table (columns of SCHEMA, sorted by head, tail, relation, source and form) and its counts. Rows are
    directed: a pair appears in both directions where both words can be heads, and once for each form of its head.

    Args:
        inflections: word -> its inflected forms that are heads too (`tokens.inflected_forms`).

    Raises:
        UserError: no head is a single token.
    """
    pairs = settled.pairs
    forms = head_forms(tokenizer, {pair.head for pair in pairs}, settings.min_letters, inflections)
    headed = [pair for pair in pairs if pair.head in forms]
    tokens = word_tokens(tokenizer, (pair.tail for pair in headed))
    fitting = [pair for pair in headed if is_tail(tokens[pair.tail], settings.max_span)]
    if not fitting:
        raise UserError(
            f"no relation of {len(pairs)} has a head that is one token of this tokenizer and a tail of up to "
            f"{settings.max_span}: use a teacher whose vocabulary has whole English words, or hold out fewer words"
        )
    rows = [(pair, form, token) for pair in fitting for form, token in forms[pair.head]]
    table = pd.DataFrame(
        {
            "head": [pair.head for pair, *_ in rows],
            "tail": [pair.tail for pair, *_ in rows],
            "relation": pd.Series([pair.relation for pair, *_ in rows], dtype="int8"),
            "source": [pair.source for pair, *_ in rows],
            "sense": [";".join(pair.senses) for pair, *_ in rows],
            "flipped": [pair.flipped for pair, *_ in rows],
            "form": [form for _, form, _ in rows],
            "head_token": pd.Series([token for *_, token in rows], dtype="int32"),
            "tail_tokens": [tokens[pair.tail] for pair, *_ in rows],
        }
    )
    heads = {pair.head for pair in fitting}
    with_antonyms = {pair.head for pair in fitting if pair.relation == ANTONYM}
    summary = {
        "words": settled.words,
        "heldout_words": len(settled.heldout),
        "pairs": _by_source(settled.merged),
        "pairs_after_the_vote": _by_source(pairs),
        "dropped_head_not_a_token": len(pairs) - len(headed),
        "dropped_tail_too_long": len(headed) - len(fitting),
        "pairs_that_fit": _by_source(fitting),
        "rows": len(rows),
        "heads": len(heads),
        "tokens_of_heads": table["head_token"].nunique(),
        "heads_with_antonyms": len(with_antonyms),
        "share_of_heads_with_antonyms": round(len(with_antonyms) / len(heads), 6),
        "negations": len(settled.negations),
        "conflicts": len(settled.conflicts),
    }
    return table, summary


def check_sources(statements: Statements, settled: Settled, table: pd.DataFrame) -> None:
    """See that every source has a pair in the table, and a word list one of each relation that it was asked for; and
    that derivations make a word a negation.

    Raises:
        UserError: one has none; the message says what became of its pairs. Or a list is the wrong way round.
    """
    check_directions(statements.relations)
    if statements.derivations and not settled.negations:
        raise UserError(
            f"sources.morphology has {len(statements.derivations)} words, and none of the lexicon's is a negation by "
            "them: give other derivations, or write lexicon.negations: []"
        )
    kinds = {name: [SYNONYM, ANTONYM] for name in _BOTH}
    rows = set(zip(table["source"], table["relation"]))
    for source, relation in dict.fromkeys((stated.source, stated.relation) for stated in statements.relations):
        of = kinds.get(source, [relation])
        if not any((source, kind) in rows for kind in of):
            stated = [pair for pair in statements.relations if pair.source == source and pair.relation in of]
            left = [
                len({frozenset(pair[:2]) for pair in pairs if pair.source == source and pair.relation in of})
                for pairs in (stated, settled.merged, settled.pairs)
            ]
            raise UserError(
                f"sources: nothing of {source} ({' and '.join(f'{KINDS[kind]}s' for kind in of)}) reaches the lexicon: "
                f"of {left[0]} pairs, the first {stated[0].head!r} and {stated[0].tail!r}, {left[0] - left[1]} have "
                f"a held-out word, {left[1] - left[2]} were outvoted, and {left[2]} have no word that is one token of "
                "the teacher's, or too long a tail (lexicon.min_letters, max_span): give other words, or leave it out"
            )


def check_directions(relations: Sequence[Relation]) -> None:
    """Raise UserError where WordNet knows twenty or more of a word list's pairs, most as the opposite relation."""
    known: dict[frozenset[str], set[int]] = {}
    for stated in relations:
        if stated.source == "wordnet":
            known.setdefault(frozenset(stated[:2]), set()).add(stated.relation)
    told = Counter(
        (stated.source, stated.relation, known[pair] == {stated.relation})
        for stated in relations
        if stated.source not in _BOTH and len(known.get(pair := frozenset(stated[:2]), ())) == 1
    )
    for source, relation in sorted({key[:2] for key in told}):
        right, wrong = told[source, relation, True], told[source, relation, False]
        if wrong > right and right + wrong >= _KNOWN:
            raise UserError(
                f"sources: {source} is given as {KINDS[relation]}s, and {wrong} of its {right + wrong} pairs that "
                f"WordNet knows are {KINDS[-relation]}s: is it a list of {KINDS[-relation]}s?"
            )


def negations_table(settled: Settled) -> pd.DataFrame:
    """Every word whose sign was turned, by alphabet, with what the lexicon gained by it: a table to read.

    Columns: word, base, affixes, relations (how many pairs of the base come from negations), example.
    """
    gained: dict[str, list[Pair]] = {}
    for pair in settled.pairs:
        if pair.flipped:
            gained.setdefault(pair.head, []).append(pair)
    rows = []
    for word, (base, _, affixes) in settled.negations.items():
        pairs = gained.get(base, [])
        example = f"{base} {'=' if pairs[0].relation == SYNONYM else '<>'} {pairs[0].tail}" if pairs else ""
        rows.append((word, base, " ".join(affixes), len(pairs), example))
    return pd.DataFrame(rows, columns=["word", "base", "affixes", "relations", "example"])


def conflicts_table(settled: Settled) -> pd.DataFrame:
    """Every pair that is called both, with the votes and the verdict (`conflicts.Conflict`), by alphabet."""
    return pd.DataFrame(settled.conflicts, columns=Conflict._fields).round(2)


def _by_source(pairs: Sequence[Pair]) -> dict[str, dict[str, int]]:
    """How many, by source and relation; those that a negation was undone for apart."""
    names = {False: "", True: ", negation undone"}
    counts = Counter((f"{pair.source}{names[pair.flipped]}", KINDS[pair.relation]) for pair in pairs)
    sources = sorted({source for source, _ in counts})
    return {source: {kind: counts[source, kind] for kind in KINDS.values()} for source in sources}
