"""What `python -m dskd verify` says.

First what lies in the folder is hashed and compared with its dvc.lock, then this with the committed one. What hangs on
benchmarks that one of the two runs could not get is not compared.
"""

import tempfile
from pathlib import Path

import pandas as pd

from dskd.infra.artifacts import reading
from dskd.verify.compare import (
    compare_figures,
    differences,
    lacking_figures,
    made_from,
    odd_differences,
    unlike_benchmarks,
)
from dskd.verify.runs import FIGURES, NOT_PUSHED, Run, changed_on_disk, committed_run, platform, read_run


def verify(root: Path, revision: str) -> int:
    """Compare the run in `root` with the one committed at `revision` and print the result; 0 if it repeats it."""
    with tempfile.TemporaryDirectory() as folder:
        reference = committed_run(root, revision, Path(folder))
    found, changed = read_run(root), changed_on_disk(root)
    absent = changed["how"] == NOT_PUSHED  # as after `dvc pull`
    if not absent.all():
        print(
            "not verified: this folder does not hold the run that its dvc.lock tells of. Run `dvc repro`, or take back "
            f"what was changed, and verify again. What differs:\n{_table(changed[~absent])}"
        )
        return 1
    with reading(" or ".join(FIGURES), "report"):
        repeated, text = verdict(reference, found, changed["what"].tolist())
    print(text)
    return int(not repeated)


def verdict(reference: Run, found: Run, absent: list[str] | None = None) -> tuple[bool, str]:
    """Whether the run `found` repeats `reference`, and the text that says so or why not.

    Args:
        absent: outputs that are not here, so that nothing can be said of them.
    """
    changed, made = differences(reference.lock, found.lock), _outputs(reference.lock)
    threads = changed["what"].str.endswith("runtime.threads")  # part of the platform
    of_run = (changed["kind"] == "deps") & changed["what"].map(lambda path: any(_within(path, out) for out in made))
    inputs = changed[(changed["kind"].isin(["cmd", "params"]) | (changed["kind"] == "deps") & ~of_run) & ~threads]
    if len(inputs):
        return False, f"not verified: another run than the committed one; what differs:\n{_table(inputs)}"

    # Outputs: the same bytes, others, and those that cannot be compared.
    outputs, absent, total = changed[changed["kind"] == "outs"], absent or [], len(made)
    unlike = unlike_benchmarks(reference, found)
    hanging = outputs["what"].isin(made_from(reference.lock, "benchmarks") if unlike else [])
    missing = outputs["what"].isin(absent)
    open_, other = outputs[hanging & ~missing], outputs[~hanging & ~missing]
    same = total - len(outputs) - len(set(absent) - set(outputs["what"]))
    if same == total:
        return True, f"verified: all {total} outputs are the same bytes as the committed ones"
    lines = [f"{same} of {total} outputs are the same bytes"]
    if absent:
        lines.append(f"not compared, since not here and not pushed: {', '.join(absent)}")
    if len(open_):
        lines += [f"not compared, since they hold benchmarks that one run lacks:\n{_table(open_)}", "these are:"]
        lines += [f"  {name}: {why}" for name, why in unlike.items()]
    if len(other):
        lines.append(f"these are not the same bytes:\n{_table(other)}")

    # Figures: equal on an equal platform, else within the tolerance.
    here, there = platform(found), platform(reference)
    parted = [
        f"{key} {here.get(key)} (committed: {there.get(key)})" for key in there if here.get(key) != there.get(key)
    ]
    if len(other) and not parted:
        return False, "\n".join([*lines, "not verified: on an equal platform every output should be the same bytes"])
    if lacking := lacking_figures(reference.metrics, found.metrics, bool(unlike)):
        return False, "\n".join([*lines, f"not verified: one run alone has {', '.join(lacking)}"])
    figures = compare_figures(reference.metrics, found.metrics)
    outside = figures[~figures["within"] if parted else figures["difference"] != 0]
    if parted:
        lines += [f"another platform: {'; '.join(parted)}", f"largest differences:\n{_table(_largest(figures))}"]
    if len(outside) or not len(figures):
        lines.append(f"not verified: {len(outside)} of {len(figures)} figures are further off than allowed:")
        return False, "\n".join([*lines, _table(outside)])
    if odd := odd_differences(found.metrics):
        return False, "\n".join(
            [*lines, f"not verified: these differences do not follow from the means: {', '.join(odd)}"]
        )
    how = "are within the tolerance" if parted else "that both runs have are equal"
    rest = "differences between objectives follow from them; their intervals and p values were not compared"
    return True, "\n".join([*lines, f"verified: all {len(figures)} figures {how}; {rest}"])


def _outputs(lock: dict) -> set[str]:
    return {entry["path"] for stage in lock["stages"].values() for entry in stage.get("outs", ())}


def _within(path: str, output: str) -> bool:
    """Whether a dependency is an output, a part of one, or a folder of such."""
    return path == output or path.startswith(f"{output}/") or output.startswith(f"{path}/")


def _largest(figures: pd.DataFrame) -> pd.DataFrame:
    rows = figures.groupby(["table", "figure"], sort=False)["difference"].apply(lambda group: group.abs().idxmax())
    return figures.loc[rows]


def _table(frame: pd.DataFrame) -> str:
    return frame.to_string(index=False, float_format="{:.4f}".format, na_rep="interval")
