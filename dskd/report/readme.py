"""The generated parts of README.md and docs/: results, costs, speeds, hashes, licences, the lexicon, the parameters.

Each function makes one block from one committed file; `update_docs` puts the blocks between their marks in the pages.
"""

from pathlib import Path

import pandas as pd

from dskd import STAGES
from dskd.benchmarks.catalogue import BENCHMARKS, GOLD_LISTS
from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.artifacts import require
from dskd.infra.output import output
from dskd.infra.randomness import FEWEST_DOCUMENTS
from dskd.params import SourcesParams, load_params, noncommercial
from dskd.report.dictionary_tables import (
    code_differences_table,
    code_rates_table,
    code_students_table,
    curves_table,
    facts_table,
    measures_table,
)
from dskd.report.parameter_tables import parameters_block
from dskd.report.study_tables import (
    choosing_block,
    grid_block,
    half_block,
    headline_block,
    markdown,
    paragraph,
    power_block,
)
from dskd.report.tables import (
    CHANCE,
    TITLES,
    commands_table,
    differences_table,
    gold_table,
    models_table,
    negations_table,
    number,
)
from dskd.verify.runs import Run, platform, read_run


def results_block(metrics: dict) -> str:
    """The results of the default run, from `reports/metrics.json`."""
    commands = commands_table(metrics)
    commands["command"] = "`" + commands["command"] + "`"
    heldout = models_table(metrics, "heldout").merge(commands)
    differences = (differences_table(metrics, table) for table in ("heldout", "lexical"))
    documents = metrics.get("heldout_documents", {}).get("heldout", 0)
    few = documents < FEWEST_DOCUMENTS  # blocks stand for documents then
    of = "blocks of held-out text" if few else f"the {documents} documents of held-out text"
    parts = [
        paragraph(f"""Means with 95 % intervals over {of} and over items. Held-out text has
        {metrics["heldout_tokens"]:,} tokens, glosses counted, which the report shows apart."""),
        markdown(heldout, models_table(metrics, "lexical")),
        paragraph("""Paired differences on the same text and items. A star means p < .05 after Holm's correction in
        its table. Where an interval contains 0, this run shows no difference."""),
        markdown(*differences),
        paragraph("""Words in context: how much more probable a related word is than an unrelated one of like frequency
        (nats), where its relative stands in held-out text. There are three rungs. *Trained*: the relation was trained.
        *Held-out relation*: it was held out, and other relations of its first word were trained. *Held-out word*: one
        of its two words was held out, with all relations of that word."""),
        markdown(models_table(metrics, "in_context"), differences_table(metrics, "in_context")),
        paragraph("""What lies behind the lexical measures: how many items each has, the accuracy of a blind guess
        (chance), and that of always taking the most frequent of the four words."""),
        markdown(_items_table(metrics)),
    ]
    return "\n\n".join(parts)


def _items_table(metrics: dict) -> pd.DataFrame:
    """One row per lexical measure: how many items it has, and how accurate a model is that knows no word."""
    frequent = {task: number(rules["most_frequent"]) for task, rules in metrics["baselines"].items()}
    rows = [
        (TITLES[task], items, number(CHANCE[task]), frequent.get(task, "-"))
        for task, items in metrics["lexical_items"].items()
    ]
    return pd.DataFrame(rows, columns=["measure", "items", "chance", "most frequent word"])


def cost_block(provenance: dict) -> str:
    """Time, memory and disk of each stage, from `reports/provenance.json`."""
    machine, disk = provenance["machine"], provenance["artifacts_mb"]
    largest_first = sorted(disk.items(), key=lambda artifact: -artifact[1])
    parts = [
        paragraph(f"""Measured by `make repro` on {machine["processor"]} with {machine["cores"]} cores and
        {machine["memory_gb"]:.0f} GB of memory, with torch {provenance["versions"]["torch"]}:"""),
        markdown(_stages_table(provenance["stages"])),
        f"The artifacts take {sum(disk.values()):,} MB on disk:",
        markdown(pd.DataFrame([(name, f"{size:,}") for name, size in largest_first], columns=["artifact", "MB"])),
    ]
    return "\n\n".join(parts)


def _stages_table(stages: dict[str, dict]) -> pd.DataFrame:
    """One row per stage, in the order of the pipeline, with its time and memory; the last row has the sum of the times
    and the highest memory."""
    names = [name.partition("-")[0] for name in stages]  # of `distill-kd-0`, distill
    places = [STAGES.index(name) if name in STAGES else len(STAGES) for name in names]
    ordered = [stage for _, stage in sorted(zip(places, stages.items()), key=lambda placed: placed[0])]
    rows = [(name, cost["seconds"], cost["peak_memory_mb"]) for name, cost in ordered]
    rows.append(("all", sum(seconds for _, seconds, _ in rows), max(memory for *_, memory in rows)))
    clocked = [(name, _clock(seconds), memory) for name, seconds, memory in rows]
    return pd.DataFrame(clocked, columns=["stage", "wall-clock (min:s)", "peak memory (MB)"])


def bench_block(measured: pd.DataFrame) -> str:
    """The last speed of each figure, shape and machine, from `tests/speed/results.csv` (all columns as text). The
    machine that was measured last comes first."""
    latest = measured.drop_duplicates(["figure", "shape", "machine"], keep="last")
    tables = []
    for machine in latest["machine"][::-1].unique():
        rows = latest[latest["machine"] == machine]
        shown = pd.DataFrame(
            {
                "figure": rows["figure"],
                "here": [f"{value} {unit}" for value, unit in zip(rows["value"], rows["unit"])],
                "beside": rows["reference_value"].where(rows["reference_value"] != "", "-"),
                "ratio": rows["ratio"].where(rows["ratio"] != "", "-"),
                "target": rows["target"],
                "met": rows["met"].map({"True": "yes", "False": "no"}),
                "shape": rows["shape"],
            }
        )
        tables.append(f"{machine}; {rows['versions'].iloc[-1]}:\n\n{markdown(shown)}")
    return "\n\n".join(tables)


def read_speeds(root: Path) -> pd.DataFrame:
    """What `make bench` has measured so far, all columns as text."""
    return pd.read_csv(root / artifacts.SPEEDS, dtype=str, keep_default_na=False)


def _clock(seconds: float) -> str:
    """Minutes and seconds, as in 3:02."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def reproducing_block(run: Run) -> str:
    """Where the committed run was made, what it took, and the hash of each output, from `dvc.lock` and
    `reports/provenance.json`."""
    cost, disk = run.provenance["stages"], run.provenance["artifacts_mb"]
    about = {
        **platform(run),
        "system": run.provenance["machine"]["system"],
        "commit": run.provenance["commit"],
        "wall-clock": _clock(sum(stage["seconds"] for stage in cost.values())),
        "peak memory": f"{max(stage['peak_memory_mb'] for stage in cost.values()):,} MB",
        "disk": f"{sum(disk.values()):,} MB",
    }
    outputs = [
        {"stage": stage, "output": f"`{entry['path']}`", "MD5 (DVC)": f"`{entry['md5']}`"}
        for stage, entries in run.lock["stages"].items()
        for entry in entries.get("outs", ())
    ]
    return markdown(pd.DataFrame(about.items(), columns=["", "the committed run"]), pd.DataFrame(outputs))


def licences_block(sources: SourcesParams) -> str:
    """Everything that a run brings in, under which licence, and what it is used for: from the parameters and the
    catalogue of benchmarks."""
    rows = [
        (
            name,
            f"`{source.source}`",
            source.licence,
            "make the student",
            "no" if noncommercial(source.licence) else "yes",
        )
        for name, source in sources.every().items()
    ]
    for b in BENCHMARKS.values():
        use = "measure the lexicon" if b.name in GOLD_LISTS else "score it"
        rows.append((b.title, b.home, b.licence, use, "does not touch it"))
    columns = ["what", "from", "licence", "used to", "student may be shared, also commercially"]
    return markdown(pd.DataFrame(rows, columns=columns))


def fuzz_block(cases: pd.DataFrame) -> str:
    """How many hostile inputs each reader was given, from `docs/fuzz.csv`."""
    shown = cases[["reader", "cases"]].assign(passed=cases["passed"].map({True: "all", False: "not all"}))
    return f"{markdown(shown)}\n\n{len(cases)} readers, {cases['cases'].sum():,} cases."


def kills_block(kills: pd.DataFrame) -> str:
    """What killing the pipeline did, from `docs/killing.csv`, by stage and by the process that was killed."""
    groups = kills.groupby(["stage", "killed"])
    shown = pd.DataFrame(
        {
            "times": groups.size(),
            "same hashes": groups["same_hashes"].sum(),
            "shards or steps done again after the safe point": groups["done_again"].sum(),
            "seconds lost, median": groups["seconds_lost"].median().round(0).astype(int),
            "most": groups["seconds_lost"].max().round(0).astype(int),
        }
    ).reset_index()
    return markdown(shown)


def lexicon_sources_block(measured: pd.DataFrame) -> str:
    """The quality of each source alone and of all together, from `docs/lexicon.csv`."""
    enough = measured[measured["lexicon"] != "wiktionary"]  # its sample of twelve entries measures nothing
    tables = {gold: gold_table(rows.to_dict("records")) for gold, rows in enough.groupby("gold", sort=False)}
    return "\n\n".join(
        f"{gold}:\n\n{markdown(table.drop(columns='list').rename(columns={'pairs': 'pairs of the list'}))}"
        for gold, table in tables.items()
    )


def negations_block(quality: dict[str, list[dict]]) -> str:
    """How well the lexicon recognises negations, from `reports/quality.json`."""
    return markdown(negations_table(quality["negations"]))


def coverage_block(quality: dict[str, list[dict]]) -> str:
    """How much of the training text the lexicon reaches, from `reports/quality.json`."""
    return markdown(pd.DataFrame(quality["coverage"]).round(3))


_TRIALS = "docs/trials"
_GRIDS = "grid", "claim", "claim_long"


def update_docs(root: Path) -> list[str]:
    """Generate the marked parts of README.md and of docs/ anew; returns the pages that this changed.

    Raises:
        UserError: a page lacks a mark, or the run or a study has left no metrics. Then no page is changed.
    """
    for grid in _GRIDS:
        for table in (root / _TRIALS / f"{grid}.csv", root / _TRIALS / f"{grid}.test.csv"):
            if not table.exists():
                raise UserError(f"{table} is missing: make it with `make grid GRID={grid}`")
    pages = {root / name: blocks for name, blocks in _blocks(root).items()}
    texts = {page: _filled(page, blocks) for page, blocks in pages.items()}
    changed = [page for page, text in texts.items() if text != page.read_text(encoding="utf-8")]
    for page in changed:
        with output(page) as partial:
            partial.write_text(texts[page], encoding="utf-8")
    return [str(page.relative_to(root)) for page in changed]


def _blocks(root: Path) -> dict[str, dict[str, str]]:
    """page -> name of a block -> its text."""
    params, run = load_params(root / "params.yaml"), read_run(root)
    quality = artifacts.read_json(require(root / artifacts.QUALITY, "quality"))
    dictionary = artifacts.read_json(require(root / artifacts.SENSES_REPORT, "quality"))

    def trial(name: str) -> pd.DataFrame:
        return pd.read_csv(root / f"{_TRIALS}/{name}.csv")

    codes, grid, longer = trial("codes"), trial("grid.test"), trial("claim_long.test")
    return {
        "README.md": {"headline": headline_block(grid, longer)},
        "docs/senses.md": {
            "dictionary": markdown(facts_table(dictionary).reset_index(names="what")),
            "agreement": markdown(measures_table(dictionary)),
            "curves": markdown(curves_table(trial("dictionaries"))),
        },
        "docs/method.md": {"power": power_block(pd.read_csv(root / artifacts.POWER))},
        "docs/codes.md": {
            "codes": markdown(code_rates_table(codes)),
            "worth": markdown(code_differences_table(codes)),
            **{
                block: markdown(code_students_table(trial(name)))
                for block, name in (("students", "codes_students"), ("guess", "codes_context"))
            },
        },
        "docs/results.md": {"results": results_block(run.metrics)},
        "docs/costs.md": {"cost": cost_block(run.provenance), "speed": bench_block(read_speeds(root))},
        "docs/study.md": {
            "choosing": choosing_block(trial("grid")),
            "grid": grid_block(grid),
            "claim choosing": choosing_block(trial("claim")),
            "claim": grid_block(trial("claim.test")),
            "longer choosing": choosing_block(trial("claim_long")),
            "longer": grid_block(longer),
        },
        "docs/earlier.md": {"half": half_block(trial("study"))},
        "docs/lexicon.md": {
            "negations": negations_block(quality),
            "steps": markdown(gold_table(quality["gold"])),
            "coverage": coverage_block(quality),
            "sources": lexicon_sources_block(pd.read_csv(root / "docs/lexicon.csv")),
        },
        "docs/parameters.md": {"parameters": parameters_block(params)},
        "docs/REPRODUCING.md": {"run": reproducing_block(run)},
        "docs/trust.md": {
            "kills": kills_block(pd.read_csv(root / "docs/killing.csv")),
            "fuzz": fuzz_block(pd.read_csv(root / "docs/fuzz.csv")),
            "licences": licences_block(params.sources),
        },
    }


def _filled(page: Path, blocks: dict[str, str]) -> str:
    """The page's text with each block between its marks."""
    text = require(page, "").read_text(encoding="utf-8")
    for name, block in blocks.items():
        start, end = f"<!-- {name}: python -m dskd readme -->", f"<!-- end of {name} -->"
        if start not in text or end not in text:
            raise UserError(f"{page} lacks the lines {start!r} and {end!r}, which the block {name} goes between")
        text = text.split(start)[0] + f"{start}\n{block}\n{end}" + text.split(end, 1)[1]
    return text
