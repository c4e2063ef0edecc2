"""The parts of README.md that are generated: results, and what a run costs."""

from pathlib import Path

import pandas as pd

from dskd import artifacts
from dskd.artifacts import UserError, require
from dskd.report import differences_table, models_table


def results_block(metrics: dict) -> str:
    """The results section, from `reports/metrics.json`."""
    items = ", ".join(f"{number} {task}" for task, number in metrics["items"].items())
    return f"""{_markdown(models_table(metrics).assign(command=lambda table: "`" + table["command"] + "`"))}

Paired differences on the same blocks and items:

{_markdown(differences_table(metrics))}

Held-out: {metrics["heldout_tokens"]:,} tokens. Choice items: {items}; four choices each, so chance is .250 (always the
most frequent word: {", ".join(f"{rules['most_frequent']:.3f}" for rules in metrics["baselines"].values())}).
Seeds: {", ".join(map(str, metrics["seeds"]))}. Brackets are 95 % bootstrap intervals over blocks and items;
where that of a difference holds 0, this run has not seen one."""


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
    return f"""{_markdown(pd.DataFrame([*rows, total]))}

Measured by `make repro` on {machine["processor"]}, {machine["cores"]} cores, {machine["memory_gb"]:.0f} GB, with torch
{provenance["versions"]["torch"]}. Artifacts, {sum(disk.values()):,} MB in all, in MB: {largest}."""


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _markdown(table: pd.DataFrame) -> str:
    return table.to_markdown(index=False, disable_numparse=True)


def update_readme(root: Path) -> bool:
    """Generate the marked parts of `root/README.md` anew; True if that changed it.

    Raises:
        UserError: a mark is missing, or the run has left no metrics.
    """
    path = root / "README.md"
    old = text = path.read_text(encoding="utf-8")
    blocks = {
        "results": results_block(artifacts.read_json(require(root / artifacts.METRICS, "report"))),
        "cost": cost_block(artifacts.read_json(require(root / artifacts.PROVENANCE, "report"))),
    }
    for name, block in blocks.items():
        start, end = f"<!-- {name}: python -m dskd readme -->", f"<!-- end of {name} -->"
        if start not in text or end not in text:
            raise UserError(f"{path} lacks the lines {start!r} and {end!r} that the {name} go between")
        text = text.split(start)[0] + f"{start}\n{block}\n{end}" + text.split(end, 1)[1]
    with artifacts.output(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return text != old
