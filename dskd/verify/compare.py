"""Where two runs differ: in their dvc.lock files, and in their figures."""

from collections.abc import Mapping

import pandas as pd

from dskd.infra.made_of import flat
from dskd.verify.runs import Run

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


def differences(one: dict, other: dict) -> pd.DataFrame:
    """What differs between two dvc.lock files; columns stage, kind (cmd, params, deps, outs) and what."""
    found = []
    for stage in sorted(one["stages"].keys() | other["stages"].keys()):
        sides = [lock["stages"].get(stage, {}) for lock in (one, other)]
        entries = [
            {"cmd": {side.get("cmd", "no such stage"): ""}, "params": flat(side.get("params", {}))}
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
