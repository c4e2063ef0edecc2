"""The weights of the vote (`lexicon.weights` in params.yaml), measured: each source's log-odds of being right.

    DSKD_MIRROR=/path/to/copies python tests/tools/lexicon_weights.py

They are measured on one half of AntSynNET's training pairs; docs/lexicon.csv has what the lexicon gets by them. WordNet
is measured on all pairs of that half, the others on those that WordNet says nothing of, since the list was made from
WordNet too. It needs what lexicon_sources.py needs. The sample of Wiktionary is too small to measure, so that the
source has the least weight of all.
"""

import math
import sys
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.lexicon_sources import all_files

from dskd.benchmarks.catalogue import read_benchmark
from dskd.infra import artifacts
from dskd.infra.randomness import hash_integers, text_key
from dskd.lexicon.build import collector_off, read_statements
from dskd.lexicon.relations import Pair, merge
from dskd.pipeline import stages
from dskd.scores.gold_lists import Gold, antsynnet, beyond, by_source, quality


def main() -> None:
    params = stages.begin()
    settings = params.lexicon.model_copy(update={"heldout_share": 0.0, "indirect_antonyms": True})
    gold, _ = halves(antsynnet("AntSynNET", read_benchmark(Path(artifacts.BENCHMARKS), "antsynnet", "train")))
    with collector_off():
        statements = read_statements(all_files(params), settings)
        pairs = merge([*statements.relations, *statements.indirect])
        wordnet = [pair for pair in pairs if pair.source == "wordnet"]
        others = [pair for pair in pairs if pair.source != "wordnet"]
        measured = log_odds(wordnet, gold) | log_odds(others, beyond(gold, wordnet, "WordNet"))
    rows = [(source, round(odds, 1), params.lexicon.weights.get(source)) for source, odds in measured.items()]
    print(pd.DataFrame(rows, columns=["source", "log-odds", "lexicon.weights"]).to_string(index=False))


def halves(gold: Gold) -> tuple[Gold, Gold]:
    """Two halves of a gold list by a hash of the pair: one to choose by, one to report."""
    keep: tuple[dict, dict] = ({}, {})
    for pair, relation in gold.pairs.items():
        # Mixed, since the last bit of `text_key` alone is no more than the parity of the bytes' last bits.
        keep[int(hash_integers(text_key("\t".join(pair)))) % 2][pair] = relation
    return tuple(Gold(f"{gold.name} {number}", gold.source, half) for number, half in enumerate(keep, 1))


def log_odds(pairs: Iterable[Pair], gold: Gold) -> dict[str, float]:
    """Source -> log((right + 1) / (wrong + 1)) of its statements on a gold list, at least 0; sources by alphabet.

    These are the weights with which a vote of sources that err independently is best (Nitzan and Paroush 1982). The
    lexicon that they settle must be measured on another gold list, or another half of this (`halves`).

    Raises:
        UserError: the gold list is among the sources (`check_outside`).
    """
    weights = {}
    for source, own in by_source(pairs).items():
        both = quality(own, gold)[-1]
        right = round(both["precision"] * both["statements"]) if both["statements"] else 0
        weights[source] = max(0.0, math.log((right + 1) / (both["statements"] - right + 1)))
    return weights


if __name__ == "__main__":
    main()
