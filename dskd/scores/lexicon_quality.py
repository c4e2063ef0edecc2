"""What the lexicon is worth: against lists that did not feed it, step by step; how well negations are told; and how
much of the text it reaches.

Negations are judged on a list of words, `judged_negations.tsv` beside this file. Its columns: word; base, where the
word negates one that WordNet knows; sign; how the word came into the list, as affix/stratum for the seeded draw from
WordNet's words (has: MorphyNet derives it by that affix, word: what is left is a word, neither), or `named` and
`chosen` by hand; what the judgement rests on; a note. The named ones and half of the others, by hash, are for
development: only they may lead to an entry in `negation.LOOKALIKES`. The rest is the test.
"""

import csv
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from dskd.benchmarks.catalogue import BENCHMARKS, GOLD_LISTS, read_benchmark
from dskd.lexicon.build import Files, Statements, collector_off, read_statements, settle_pairs
from dskd.lexicon.negation import AFFIXES, Polarity, polarity
from dskd.lexicon.readers.morphology import Derivations
from dskd.lexicon.relations import Pair, heldout_words, merge
from dskd.lexicon.store import antonyms, synonyms
from dskd.params import LexiconParams, TargetsParams
from dskd.scores.gold_lists import RELATIONS, Gold, antsynnet, by_source, gold_list, quality_table, share
from dskd.senses.store import Senses
from dskd.targets.choose import candidates, trimmed_lexicon

_LIST = Path(__file__).with_name("judged_negations.tsv")


def gold_lists(folder: Path, available: Mapping[str, dict]) -> list[Gold]:
    """The gold lists that the stage `benchmarks` could get: AntSynNET's train and val, PPDB, Roget.

    Args:
        available: benchmark -> its entry in the summary of that stage.
    """
    found = []
    for name in ("antsynnet", *GOLD_LISTS):
        if not available.get(name, {}).get("available"):
            continue
        if name == "antsynnet":
            found += [
                antsynnet(f"AntSynNET {t}", read_benchmark(folder, name, s))
                for s, t in (("train", "train"), ("test", "val"))
            ]
        else:
            rows = read_benchmark(folder, name, "test")
            pairs = ((row["word1"], row["word2"], RELATIONS[row["relation"]]) for row in rows)
            found.append(gold_list(BENCHMARKS[name].title, name, pairs))
    return found


def lexicon_quality(files: Files, settings: LexiconParams, golds: Sequence[Gold]) -> dict[str, pd.DataFrame]:
    """Tables by name. "gold": coverage and precision on the gold lists after each step of the lexicon's making;
    "overlaps": which steps and lists say what others do; "negations": on words judged by hand."""
    with collector_off():
        statements = read_statements(files, settings.model_copy(update={"indirect_antonyms": True}))
        lexicons = lexicon_steps(statements, settings)
        tables = {"gold": quality_table(lexicons, golds), "overlaps": overlaps(lexicons, golds)}
    tables["negations"] = negation_quality(statements.derivations, statements.words, settings.negations)
    return tables


def lexicon_steps(statements: Statements, settings: LexiconParams) -> dict[str, list[Pair]]:
    """The lexicon after each step of its making, with no word or pair held out; each source alone comes first.

    Args:
        statements: with the indirect antonyms, whether the lexicon uses them or not.
    """
    whole = settings.model_copy(update={"heldout_share": 0.0, "heldout_pairs": 0.0})
    direct = statements._replace(indirect=[])
    merged = merge(direct.relations)
    alone = by_source(merged)
    found = {f"{name} alone": pairs for name, pairs in alone.items()} if len(alone) > 1 else {}
    found["sources"] = merged
    settled = settle_pairs(direct, whole)
    if settings.negations:
        found["+ negations undone"] = settled.merged
    found["+ vote"] = settled.pairs
    found["+ indirect antonyms"] = settle_pairs(statements, whole).pairs
    return found


def overlaps(lexicons: Mapping[str, list[Pair]], golds: Sequence[Gold]) -> pd.DataFrame:
    """Of the statements of each row, the share that each column makes too; the lexicon and the gold lists.

    A statement is an unordered pair of words with its relation. Columns: of, statements, and one a lexicon or list.
    """
    stated = {
        name: {(min(p.head, p.tail), max(p.head, p.tail), p.relation) for p in pairs}
        for name, pairs in lexicons.items()
    }
    stated |= {gold.name: {(*pair, relation) for pair, relation in gold.pairs.items()} for gold in golds}
    return pd.DataFrame(
        [
            {"of": name, "statements": len(own), **{other: len(own & its) / len(own) for other, its in stated.items()}}
            for name, own in stated.items()
            if own
        ]
    )


def coverage(labels: Tensor, table: pd.DataFrame, senses: Senses, settings: TargetsParams) -> pd.DataFrame:
    """How much of a text the lexicon reaches, in tokens (positions) and in types.

    Args:
        labels: (n, L) int64, the tokens that follow each position.
        table: of `lexicon.store.load_lexicon`.
    """
    _, by_token = candidates(trimmed_lexicon(senses, synonyms(table), antonyms(table), settings))
    reached = {
        "heads of the lexicon": set(table["head_token"]),
        "with senses of their own": set(by_token),
        "with senses of synonyms": {token for token, found in by_token.items() if len(found.synonyms)},
        "with senses of antonyms": {token for token, found in by_token.items() if len(found.antonyms)},
    }
    types, counts = labels.unique(return_counts=True)
    rows = []
    for what, tokens in reached.items():
        here = torch.isin(types, torch.tensor(sorted(tokens), dtype=torch.int64))
        share_of_tokens, share_of_types = counts[here].sum() / counts.sum(), here.double().mean()
        rows.append((what, share_of_tokens.item(), share_of_types.item(), int(here.sum())))
    return pd.DataFrame(rows, columns=["tokens", "share of tokens", "share of types", "types"])


def judged_words() -> dict[str, list[dict[str, str]]]:
    """The rows of the list: those for development and those of the test."""
    with open(_LIST, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    test = heldout_words((row["word"] for row in rows if row["drawn"] != "named"), seed=0, share=0.5)
    return {
        "development": [row for row in rows if row["word"] not in test],
        "test": [row for row in rows if row["word"] in test],
    }


def negation_quality(derivations: Derivations, known: Container[str], affixes: Iterable[str] = AFFIXES) -> pd.DataFrame:
    """Precision and recall of `polarity`, and of taking any affix off that leaves a known word, with 95 % Wilson
    intervals, on both halves of the list. A negation is found where sign and base are the judged ones."""
    affixes = tuple(affixes)
    rows = []
    for half, words in judged_words().items():
        for rule, tell in (
            ("with derivations", lambda word: polarity(word, derivations, known, affixes)),
            ("affixes alone", lambda word: _stripped(word, known, affixes)),
        ):
            rows.append({"rule": rule, "half": half, "words": len(words), **_quality(words, tell)})
    return pd.DataFrame(rows)


def _quality(words: Sequence[dict], tell) -> dict[str, float]:
    found = {row["word"]: tell(row["word"]) for row in words}
    flipped = sum(undone.sign < 0 for undone in found.values())
    negated = [row for row in words if row["sign"] == "-1"]
    right = sum(found[row["word"]][:2] == (row["base"], -1) for row in negated)
    return {**share("precision", right, flipped), **share("recall", right, len(negated))}


def _stripped(word: str, known: Container[str], affixes: Iterable[str]) -> Polarity:
    for affix in affixes:
        base = word.removeprefix(affix[:-1]) if affix.endswith("-") else word.removesuffix(affix[1:])
        if base != word and base in known:
            return Polarity(base, -1, (affix,))
    return Polarity(word, 1, ())
