"""The measured quality of every source that a lexicon can have, each alone and all together: writes docs/lexicon.csv.

    DSKD_MIRROR=/path/to/copies python tests/tools/lexicon_sources.py

Needs `dvc repro sources benchmarks`, and a mirror that holds the sources below as well. No word is held out.
"""

import os
from pathlib import Path

import pandas as pd

from dskd.infra import artifacts
from dskd.infra.output import output
from dskd.lexicon.build import Files, collector_off, read_statements, settle_pairs
from dskd.lexicon.relations import merge
from dskd.params import Params
from dskd.pipeline import stages
from dskd.pipeline.inputs import lexicon_files
from dskd.scores.gold_lists import beyond, by_source, quality_table
from dskd.scores.lexicon_quality import gold_lists

MIRROR = Path(os.environ.get("DSKD_MIRROR", ""))
CONSTRAINTS = MIRROR / "constraints"
LISTS = {
    "ppdb.synonyms": (CONSTRAINTS / "counter-fitting" / "ppdb_synonyms.txt", None),
    "ppdb.antonyms": (CONSTRAINTS / "counter-fitting" / "ppdb_antonyms.txt", None),
    "roget.antonyms": (CONSTRAINTS / "roget" / "antonym.txt", None),
    "attract_repel.antonyms": (CONSTRAINTS / "attract-repel" / "full-ant-sample.txt", "en"),
}


def all_files(params: Params) -> Files:
    """The run's sources of the lexicon, and those of the mirror."""
    return lexicon_files(params)._replace(
        mythes=MIRROR / "thesaurus" / "th_en_US_v2.dat.gz",
        wiktionary=MIRROR / "wiktionary_sample" / "en-en-extract.jsonl",
        lists=LISTS,
    )


def main() -> None:
    params = stages.begin()
    nothing_held = {"heldout_share": 0.0, "heldout_pairs": 0.0}
    settings = params.lexicon.model_copy(update={**nothing_held, "indirect_antonyms": True})
    files = all_files(params)
    benchmarks = Path(artifacts.BENCHMARKS)
    golds = gold_lists(benchmarks, artifacts.read_json(benchmarks / "summary.json"))
    with collector_off():
        statements = read_statements(files, settings)
        alone = by_source(merge([*statements.relations, *statements.indirect]))
        direct = settle_pairs(statements._replace(indirect=[]), settings).pairs
        # PPDB and Roget feed these, so AntSynNET alone can measure them; `quality_table` sees to it.
        together = {"all, without indirect antonyms": direct, "all": settle_pairs(statements, settings).pairs}
        golds += [beyond(gold, alone["wordnet"], "WordNet") for gold in golds[:1]]
        table = quality_table(alone | together, golds)
    table.insert(4, "lexicon_pairs", table.pop("pairs"))
    with output(Path("docs/lexicon.csv")) as partial:
        table.round(4).to_csv(partial, index=False)
    pd.set_option("display.width", 200)
    print(
        table.query("relation != 'all'").drop(columns=[c for c in table if c.endswith(("_low", "_high"))]).to_string()
    )


if __name__ == "__main__":
    main()
