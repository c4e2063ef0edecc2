"""Whether a run is the committed one: the same bytes on its platform, within a tolerance on another.

First what lies in the folder is hashed and compared with its dvc.lock, then this with the committed one. What hangs on
benchmarks that one of the two runs could not get is not compared.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dskd.errors import UserError, one_line
from dskd.infra import artifacts
from dskd.infra.artifacts import LOCK, read_lock, reading, require

# What two kinds of processor may differ by (docs/REPRODUCING.md has what was measured). A benchmark of a hundred items
# or less is not here: it has to lie in the interval of the committed figure.
TOLERANCES = {
    ("heldout", "ce"): 0.015,  # nats per token, as the next
    ("heldout", "kl"): 0.015,
    ("heldout", "agreement"): 0.01,
    ("heldout", "bits_per_byte"): 0.01,
    ("similarity", "simlex"): 0.02,
    **{("lexical", task): 0.03 for task in ("synonym", "antonym", "definition")},
    **{("lexical", task): 0.03 for task in ("wic_states", "antonym_cosine", "antonym_probe")},
    **{(table, "all"): 0.02 for table in ("cloze", "cloze_norm", "cloze_probability")},
}

_ROUNDING = 1e-6  # the teacher's KL from itself is 0 on one processor and -4e-10 on another, each without an interval
_JSON = (artifacts.METRICS, artifacts.PROVENANCE, artifacts.QUALITY)
_NOT_PUSHED = "not here, and not pushed"


class Run(NamedTuple):
    """What a run left."""

    lock: dict  # dvc.lock: the hash of every parameter, dependency and output
    metrics: dict
    provenance: dict
    quality: dict  # of the lexicon


def read_run(root: Path) -> Run:
    """The run whose files are below `root`; UserError where there is none."""
    lock = read_lock(require(root / LOCK, ""))
    return Run(lock, *(artifacts.read_json(require(root / name, "report")) for name in _JSON))


def committed_run(root: Path, revision: str, destination: Path) -> Run:
    """The run that is committed at a Git revision; its files are written below the folder `destination`.

    Raises:
        UserError: there is no such revision, or no run in it.
    """
    try:
        commit = _git(root, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
        files = {name: _git(root, "show", f"{commit}:./{name}") for name in (LOCK, *_JSON)}
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", None) or one_line(error).encode()).decode(errors="replace")
        raise UserError(
            f"no committed run at {revision!r} ({said.splitlines()[0]}): name a commit of this clone"
        ) from None
    for name, content in files.items():
        (destination / name).parent.mkdir(parents=True, exist_ok=True)
        (destination / name).write_bytes(content)
    return read_run(destination)


def _git(root: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True).stdout


def changed_on_disk(root: Path) -> pd.DataFrame:
    """What lies below `root` otherwise than its dvc.lock says; columns stage, kind (cmd, params, deps, outs), what, how
    ("changed", "missing", …).

    Every file is hashed, by DVC.

    Raises:
        UserError: DVC cannot read the project.
    """
    from dvc.exceptions import DvcException  # a second
    from dvc.repo import Repo
    from dvc.scm import SCMError

    found = []
    try:
        with (
            tempfile.TemporaryDirectory() as state,
            Repo(str(root), config={"core": {"site_cache_dir": state}}) as repo,
        ):
            stages = [stage for stage in repo.index.stages if stage.path_in_repo == "dvc.yaml"]
            made = {out.def_path for stage in stages for out in stage.outs}
            for stage in stages:
                if stage.changed_stage():
                    found.append((stage.addressing, "cmd", stage.cmd, "changed"))
                for entry in stage.outs:
                    found += [(stage.addressing, *row) for row in _changes("outs", entry)]
                for entry in stage.deps:
                    if entry.def_path not in made:
                        found += [(stage.addressing, *row) for row in _changes("deps", entry)]
    except (DvcException, SCMError) as error:
        raise UserError(f"DVC cannot read {root}: {one_line(error)[:300]}") from None
    return pd.DataFrame(found, columns=["stage", "kind", "what", "how"])


def _changes(kind: str, entry) -> list[tuple[str, str, str]]:
    """(kind, what, how) of a dependency, parameter or output of DVC's."""
    words = {"deleted": "missing", "modified": "changed", "new": "not in dvc.lock"}
    rows = []
    for how in entry.workspace_status().values():
        if isinstance(how, dict):  # of params.yaml
            rows += [("params", key, words.get(value, value)) for key, value in how.items()]
        elif kind == "outs" and how == "deleted" and not entry.can_push:
            rows.append((kind, entry.def_path, _NOT_PUSHED))
        else:
            rows.append((kind, entry.def_path, words.get(how, how)))
    return rows


def platform(run: Run) -> dict[str, str]:
    """What decides about the last bits of a result: processor, arithmetic, threads and versions."""
    machine, versions = run.provenance["machine"], run.provenance["versions"]
    parameters = [_flat(stage.get("params", {})) for stage in run.lock["stages"].values()]
    threads = {str(value) for flat in parameters for key, value in flat.items() if key.endswith("runtime.threads")}
    return {
        "processor": str(machine["processor"]),
        "fast_bfloat16": str(machine["fast_bfloat16"]),
        "threads": ", ".join(sorted(threads)),
        **{
            package: versions[package]
            for package in ("python", "torch", "transformers", "numpy")
            if package in versions
        },
    }


def differences(one: dict, other: dict) -> pd.DataFrame:
    """What differs between two dvc.lock files; columns stage, kind (cmd, params, deps, outs) and what."""
    found = []
    for stage in sorted(one["stages"].keys() | other["stages"].keys()):
        sides = [lock["stages"].get(stage, {}) for lock in (one, other)]
        entries = [
            {"cmd": {side.get("cmd", "no such stage"): ""}, "params": _flat(side.get("params", {}))}
            | {kind: {entry["path"]: entry.get("md5") for entry in side.get(kind, ())} for kind in ("deps", "outs")}
            for side in sides
        ]
        for kind in entries[0]:
            here, there = (side[kind] for side in entries)
            found += [
                (stage, kind, key) for key in sorted(here.keys() | there.keys()) if here.get(key) != there.get(key)
            ]
    return pd.DataFrame(found, columns=["stage", "kind", "what"])


def compare_figures(reference: dict, found: dict) -> pd.DataFrame:
    """Every figure of every model that both metrics have, and whether it is near enough.

    A mean over all benchmarks is left out where the two are not of the same ones.

    Columns: model, table, figure, committed, here, difference, allowed (NaN: the interval decides), within.
    """
    rows = []
    for model, tables in reference["models"].items():
        for table, figures in tables.items():
            others = found["models"].get(model, {}).get(table, {})
            for name, figure in figures.items() if isinstance(figures, dict) else ():
                other = others.get(name)
                if other is not None and (name != "all" or figures.keys() == others.keys()):
                    difference, allowed = other["mean"] - figure["mean"], TOLERANCES.get((table, name))
                    low, high = (figure["mean"] if figure[end] is None else figure[end] for end in ("low", "high"))
                    inside = low - _ROUNDING <= other["mean"] <= high + _ROUNDING
                    within = inside if allowed is None else abs(difference) <= allowed
                    rows.append((model, table, name, figure["mean"], other["mean"], difference, allowed, within))
    columns = ["model", "table", "figure", "committed", "here", "difference", "allowed", "within"]
    return pd.DataFrame(rows, columns=columns).astype({"allowed": float})


def lacking_figures(reference: dict, found: dict, other_benchmarks: bool) -> list[str]:
    """Models, tables and figures, and differences of these, that only one of two metrics has: nothing of them could be
    compared. Groups of the ladder are left out, since they follow the teacher's single answers.

    Args:
        other_benchmarks: the two are of other benchmarks, so that only the held-out text has to be in both.
    """

    def asked(table: str) -> bool:
        return table == "heldout" or not (other_benchmarks or table.startswith("ladder"))

    alone = []
    for part in ("models", "differences"):
        here, there = (
            {
                name: {table: of for table, of in tables.items() if asked(table)}
                for name, tables in metrics[part].items()
            }
            for metrics in (reference, found)
        )
        alone += _alone(here, there)
    return sorted(alone)


def _alone(one: Mapping, other: Mapping, depth: int = 2, prefix: str = "") -> list[str]:
    """The names, as "kd.heldout.kl", of what only one of two nested mappings has, down to a depth."""
    found = [f"{prefix}{name}" for name in one.keys() ^ other.keys()]
    for name in one.keys() & other.keys() if depth else ():
        if isinstance(one[name], dict) and isinstance(other[name], dict):
            found += _alone(one[name], other[name], depth - 1, f"{prefix}{name}.")
    return found


def odd_differences(metrics: dict) -> list[str]:
    """Differences between objectives that are not those of the two means: on another platform they change as the means
    may, by more than their own intervals (docs/REPRODUCING.md), so that these could not decide."""
    found = []
    for pair, tables in metrics["differences"].items():
        second, _, first = pair.partition(" - ")
        for table, figures in tables.items():
            for name, figure in figures.items():
                one, other = (metrics["models"][model][table][name]["mean"] for model in (first, second))
                if not abs(figure["mean"] - (other - one)) <= _ROUNDING:
                    found.append(f"{pair}.{table}.{name}")
    return found


def made_from(lock: dict, stage: str) -> set[str]:
    """The outputs of a stage, and of every stage that reads one of these."""
    found = {entry["path"] for entry in lock["stages"].get(stage, {}).get("outs", ())}
    while True:
        more = set(found)
        for other in lock["stages"].values():
            deps = [entry["path"] for entry in other.get("deps", ())]
            if any(out == dep or out.startswith(f"{dep}/") for dep in deps for out in found):
                more |= {entry["path"] for entry in other.get("outs", ())}
        if more == found:
            return found
        found = more


def unlike_benchmarks(reference: Run, found: Run) -> dict[str, str]:
    """What one of two runs could measure on and the other could not, each with the reason."""
    unlike = {}
    for name in reference.metrics["benchmarks"].keys() | found.metrics["benchmarks"].keys():
        there, here = (run.metrics["benchmarks"].get(name, {}) for run in (reference, found))
        if bool(there.get("available")) != bool(here.get("available")):
            unlike[name] = "the committed run lacks it" if here.get("available") else here.get("how", "not here")
    there, here = ({row["gold"] for row in run.quality.get("gold", ())} for run in (reference, found))
    unlike |= dict.fromkeys(there - here, "not here") | dict.fromkeys(here - there, "the committed run lacks it")
    return dict(sorted(unlike.items()))


def verify(root: Path, revision: str) -> int:
    """Compare the run in `root` with the one committed at `revision` and print the result; 0 if it repeats it."""
    with tempfile.TemporaryDirectory() as folder:
        reference = committed_run(root, revision, Path(folder))
    found, changed = read_run(root), changed_on_disk(root)
    absent = changed["how"] == _NOT_PUSHED  # as after `dvc pull`
    if not absent.all():
        print(
            "not verified: this folder does not hold the run that its dvc.lock tells of. Run `dvc repro`, or take back "
            f"what was changed, and verify again. What differs:\n{_table(changed[~absent])}"
        )
        return 1
    with reading(" or ".join(_JSON), "report"):
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


def _flat(value: dict, prefix: str = "") -> dict[str, object]:
    flat = {}
    for key, inner in value.items():
        name = f"{prefix}{key}"
        flat |= _flat(inner, f"{name}.") if isinstance(inner, dict) else {name: inner}
    return flat


def _table(frame: pd.DataFrame) -> str:
    return frame.to_string(index=False, float_format="{:.4f}".format, na_rep="interval")
