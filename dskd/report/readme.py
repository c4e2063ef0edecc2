"""The parts of README.md and docs/ that are generated: results, costs, speeds, hashes, licences, the lexicon,
the parameters."""

from pathlib import Path

import pandas as pd

from dskd.benchmarks.catalogue import BENCHMARKS, GOLD_LISTS
from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.artifacts import require
from dskd.infra.output import output
from dskd.infra.verify import Run, platform, read_run
from dskd.params import SourcesParams, load_params, noncommercial
from dskd.report.parameter_tables import parameters_block
from dskd.report.study_tables import claim_block, half_block, markdown, study_block
from dskd.report.tables import TITLES, differences_table, gold_table, models_table, negations_table


def results_block(metrics: dict) -> str:
    """The results of the default run, from `reports/metrics.json`."""
    commands = [{"model": name, "command": f"`{model['command']}`"} for name, model in metrics["models"].items()]
    heldout = models_table(metrics, "heldout").merge(pd.DataFrame(commands))
    items = ", ".join(f"{number} {TITLES[task]}" for task, number in metrics["lexical_items"].items())
    frequent = ", ".join(f"{rules['most_frequent']:.3f}" for rules in metrics["baselines"].values())
    return f"""{markdown(heldout, models_table(metrics, "lexical"))}

Paired differences on the same blocks and items (a star: p < .05 after Holm's correction in its table):

{markdown(*(differences_table(metrics, table) for table in ("heldout", "lexical")))}

Held-out: {metrics["heldout_tokens"]:,} tokens. Items: {items}.
Synonym, antonym and definition have four choices each, so chance is .250 (always the most frequent word:
{frequent}); the others have two. Brackets are 95 % bootstrap intervals over blocks and items; where that of a
difference holds 0, this run has not seen one."""


def cost_block(provenance: dict) -> str:
    """Time, memory and disk of each stage, from `reports/provenance.json`."""
    stages = provenance["stages"]
    rows = [
        {"stage": name, "wall-clock": _clock(cost["seconds"]), "peak memory (MB)": cost["peak_memory_mb"]}
        for name, cost in stages.items()
    ]
    total = {
        "stage": "all",
        "wall-clock": _clock(sum(cost["seconds"] for cost in stages.values())),
        "peak memory (MB)": max(cost["peak_memory_mb"] for cost in stages.values()),
    }
    machine, disk = provenance["machine"], provenance["artifacts_mb"]
    largest = ", ".join(f"{name} {size:,}" for name, size in sorted(disk.items(), key=lambda item: -item[1]))
    return f"""{markdown(pd.DataFrame([*rows, total]))}

Measured by `make repro` on {machine["processor"]}, {machine["cores"]} cores, {machine["memory_gb"]:.0f} GB, with torch
{provenance["versions"]["torch"]}. Artifacts, {sum(disk.values()):,} MB in all, in MB: {largest}."""


def bench_block(measured: pd.DataFrame) -> str:
    """The last speeds on each machine, from `tests/speed/results.csv` (all columns as text); the last machine is
    first."""
    latest = measured.drop_duplicates(["figure", "machine"], keep="last")
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
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def reproducing_block(run: Run) -> str:
    """Where the committed run was made, what it took, and the hash of each of its outputs."""
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
    """Everything that a run brings in, under which licence, and what it is used for."""
    rows = [
        (name, f"`{source.source}`", source.licence, "make the student", "no" if noncommercial(source) else "yes")
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
    """What came of killing the pipeline, from `docs/killing.csv`, by stage and by who was killed."""
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
    enough = measured[measured["lexicon"] != "wiktionary"]  # of which there was a sample of twelve entries
    tables = {gold: gold_table(rows.to_dict("records")) for gold, rows in enough.groupby("gold", sort=False)}
    return "\n\n".join(
        f"{gold}:\n\n{markdown(table.drop(columns='list').rename(columns={'pairs': 'pairs of the list'}))}"
        for gold, table in tables.items()
    )


def negations_block(quality: dict[str, list[dict]]) -> str:
    """How well negations are told, from `reports/quality.json`."""
    return markdown(negations_table(quality["negations"]))


def coverage_block(quality: dict[str, list[dict]]) -> str:
    """How much of the training text the lexicon reaches, from `reports/quality.json`."""
    return markdown(pd.DataFrame(quality["coverage"]).round(3))


def update_docs(root: Path) -> list[str]:
    """Generate the marked parts of README.md and of docs/ anew; returns the files that this changed.

    Raises:
        UserError: a mark is missing, or the run or the study has left no metrics.
    """
    for made, command in (
        (artifacts.STUDY, "make study"),
        (artifacts.HALF, "tests/tools/confirm.py"),
        (artifacts.CLAIM, "make study PROFILE=claim"),
    ):
        if not (root / made).exists():
            raise UserError(f"{root / made} is missing: make it with `{command}`")
    params = load_params(root / "params.yaml")
    run, quality = read_run(root), artifacts.read_json(require(root / artifacts.QUALITY, "quality"))
    blocks = {
        "README.md": {
            "results": results_block(run.metrics),
            "half": half_block(pd.read_csv(root / artifacts.HALF)),
            "cost": cost_block(run.provenance),
            "speed": bench_block(read_speeds(root)),
            "negations": negations_block(quality),
        },
        "docs/study.md": {
            "study": study_block(artifacts.read_json(root / artifacts.STUDY)),
            "claim": claim_block(artifacts.read_json(root / artifacts.CLAIM)),
        },
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
    return [name for name, parts in blocks.items() if _update(root / name, parts)]


def _update(path: Path, blocks: dict[str, str]) -> bool:
    old = text = require(path, "").read_text(encoding="utf-8")
    for name, block in blocks.items():
        start, end = f"<!-- {name}: python -m dskd readme -->", f"<!-- end of {name} -->"
        if start not in text or end not in text:
            raise UserError(f"{path} lacks the lines {start!r} and {end!r} that the {name} go between")
        text = text.split(start)[0] + f"{start}\n{block}\n{end}" + text.split(end, 1)[1]
    with output(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return text != old
