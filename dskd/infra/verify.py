"""Whether a run is the committed one: the same bytes on its platform, within a tolerance on another."""

import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from ruamel.yaml import YAML

from dskd.errors import UserError, one_line
from dskd.infra import artifacts
from dskd.infra.artifacts import reading, require

LOCK = "dvc.lock"
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

_JSON = (artifacts.METRICS, artifacts.PROVENANCE)


class Run(NamedTuple):
    """What a run left."""

    lock: dict  # dvc.lock: the hash of every parameter, dependency and output
    metrics: dict
    provenance: dict


def read_run(root: Path) -> Run:
    """The run whose files are below `root`; UserError where there is none."""
    lock = YAML(typ="safe")
    with reading(root / LOCK):
        stages = lock.load(require(root / LOCK, ""))
    return Run(stages, *(artifacts.read_json(require(root / name, "report")) for name in _JSON))


def committed_run(root: Path, revision: str, destination: Path) -> Run:
    """The run that is committed at a Git revision; its files are written below the folder `destination`.

    Raises:
        UserError: there is no such revision, or no run in it.
    """
    for name in (LOCK, *_JSON):
        command = ["git", "-C", str(root), "show", f"{revision}:{name}"]
        try:
            done = subprocess.run(command, capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", None) or one_line(error).encode()
            raise UserError(f"no committed run at {revision!r}: {why.decode(errors='replace').strip()}") from None
        (destination / name).parent.mkdir(parents=True, exist_ok=True)
        (destination / name).write_bytes(done.stdout)
    return read_run(destination)


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

    Columns: model, table, figure, committed, here, difference, allowed (NaN: the interval decides), within.
    """
    rows = []
    for model, tables in reference["models"].items():
        for table, figures in tables.items():
            for name, figure in figures.items() if isinstance(figures, dict) else ():
                other = found["models"].get(model, {}).get(table, {}).get(name)
                if other is not None:
                    difference, allowed = other["mean"] - figure["mean"], TOLERANCES.get((table, name))
                    inside = figure["low"] <= other["mean"] <= figure["high"]
                    within = inside if allowed is None else abs(difference) <= allowed
                    rows.append((model, table, name, figure["mean"], other["mean"], difference, allowed, within))
    columns = ["model", "table", "figure", "committed", "here", "difference", "allowed", "within"]
    return pd.DataFrame(rows, columns=columns).astype({"allowed": float})


def verify(root: Path, revision: str) -> int:
    """Compare the run in `root` with the one committed at `revision` and print the result; 0 if it repeats it."""
    with tempfile.TemporaryDirectory() as folder:
        reference = committed_run(root, revision, Path(folder))
    repeated, text = verdict(reference, read_run(root))
    print(text)
    return int(not repeated)


def verdict(reference: Run, found: Run) -> tuple[bool, str]:
    """Whether the run `found` repeats `reference`, and the text that says so or why not."""
    changed = differences(reference.lock, found.lock)
    made = changed["what"].str.match("artifacts|reports")
    threads = changed["what"].str.endswith("runtime.threads")  # part of the platform
    inputs = changed[(changed["kind"].isin(["cmd", "params"]) | (changed["kind"] == "deps") & ~made) & ~threads]
    if len(inputs):
        return False, f"another run than the committed one; what differs:\n{_table(inputs)}"
    outputs = changed[changed["kind"] == "outs"]
    total = sum(len(stage.get("outs", ())) for stage in reference.lock["stages"].values())
    if not len(outputs):
        return True, f"verified: all {total} outputs are the same bytes as the committed ones"
    here, there = platform(found), platform(reference)
    parted = [
        f"{key} {here.get(key)} (committed: {there.get(key)})" for key in there if here.get(key) != there.get(key)
    ]
    lines = [f"{total - len(outputs)} of {total} outputs are the same bytes; these are not:", _table(outputs)]
    if not parted:
        return False, "\n".join([*lines, "not verified: on an equal platform every output should be the same bytes"])
    figures = compare_figures(reference.metrics, found.metrics)
    outside = figures[~figures["within"]]
    lines += [f"another platform: {'; '.join(parted)}", f"largest differences:\n{_table(_largest(figures))}"]
    if len(outside) or not len(figures):
        lines.append(f"not verified: {len(outside)} of {len(figures)} figures are further off than allowed:")
        return False, "\n".join([*lines, _table(outside)])
    return True, "\n".join([*lines, f"verified: all {len(figures)} figures are within the tolerance"])


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
