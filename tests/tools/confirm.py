"""What the study says on the half of words and text by which nothing was chosen: docs/trials/study.csv and .svg.

    confirm.py                    after `make study`; reads reports/runs/study

The half is that of `trials.py`. Benchmarks by cloze were not looked at in the trials and count whole.
"""

import gzip
import json
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools import trials

from dskd.infra import artifacts
from dskd.params import load_params
from dskd.report import metrics
from dskd.scores.store import heldout_tables

STUDY = (artifacts.project_root() / artifacts.STUDY).parent
TABLE = artifacts.project_root() / artifacts.HALF


def main() -> int:
    params = load_params(STUDY / "params.yaml")
    objectives, seeds = params.distill.objectives, params.distill.seeds
    rows = scores(objectives)
    pairs = [("kd", "kd"), *((second, first) for first, second in metrics.pairs(objectives))]
    found = trials.differences(rows, pairs, seeds, params)
    found.to_csv(TABLE, index=False)
    trials.draw(found, ["kd", *(name for name in objectives if name != "kd")], TABLE.with_suffix(".svg"))
    print(found.to_string(index=False))
    return 0


def scores(objectives: list[str]) -> pd.DataFrame:
    """Rows {name, seed, measure, id, document, value}, as `trials.score` gives them, of the scored students."""
    found, heldout = [], kept("heldout")
    tables = heldout_tables({row["source"] for row in heldout})
    for row in heldout:
        if trials.half_of(row["document"]) == "test":
            of = trials.OF_TABLE[tables[row["source"]]]
            place = str(row["block"]), row["document"]
            found += [(row["model"], f"{measure}{of}", *place, row[measure]) for measure in ("kl", "ce")]
    for row in kept("lexical"):
        if trials.half_of(row["id"]) == "test":
            found += [(row["model"], *answer) for answer in trials.answered(row)]
    for row in kept("in_context"):
        if trials.half_of(row["document"]) == "test":
            found.append((row["model"], *trials.in_context(row)))
    for row in kept("pairs"):
        if row["task"] != "simlex" and trials.half_of(row["id"]) == "test":
            found.append((row["model"], row["task"], row["id"], row["id"], row["value"]))
    for row in kept("cloze"):
        name = f"{row['benchmark']}:{row['id']}"
        values = {"cloze": row["acc"], "cloze p": row["probability"]}
        found += [(row["model"], measure, name, name, value) for measure, value in values.items()]
    rows = pd.DataFrame(found, columns=["model", "measure", "id", "document", "value"])
    rows[["name", "seed"]] = rows["model"].str.extract(r"^(.+)-(\d+)$")
    rows = rows[rows["name"].isin(objectives)]
    return rows.assign(seed=rows["seed"].astype(int))


def kept(name: str) -> list[dict]:
    with gzip.open(STUDY / f"scores/{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


if __name__ == "__main__":
    sys.exit(main())
