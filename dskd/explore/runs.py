"""Runs side by side, and their curves."""

import json
from pathlib import Path

import dvc.api
import pandas as pd
from dvc.exceptions import DvcException
from dvc.scm import SCMError
from matplotlib.figure import Figure

from dskd.errors import UserError, one_line
from dskd.infra import artifacts
from dskd.params import Params
from dskd.report import figures
from dskd.report.tables import MAIN_MEASURES, measure_name


def runs() -> pd.DataFrame:
    """The runs that `dvc exp show` knows, one row a run and model: its main measures, which are in each revision's
    reports/metrics.json, and the parameters in which the runs differ.

    Raises:
        UserError: this folder is no clone of a repository with DVC, so that it has no runs.
    """
    try:
        found = dvc.api.exp_show()
    except (DvcException, SCMError) as error:
        raise UserError(f"no runs to compare ({one_line(error)}): clone the repository with git") from None
    groups = set(Params.model_fields)
    parameters = [key for key in dict.fromkeys(k for run in found for k in run) if key.split(".")[0] in groups]
    differing = [key for key in parameters if len({repr(run.get(key)) for run in found}) > 1]
    table = []
    for run in found:
        for model, tables in _metrics(run["rev"]).get("models", {}).items():
            values = {
                measure_name(table, key): tables.get(table, {}).get(key, {}).get("mean") for table, key in MAIN_MEASURES
            }
            name = {"run": run.get("Experiment") or run["rev"], "created": run.get("Created") or "", "model": model}
            table.append({**name, **values, **{key: run.get(key) for key in differing}})
    if not table:
        raise UserError("no run has metrics: make them with `dvc repro`")
    return pd.DataFrame(table).round(4).set_index(["run", "created", "model"])


def _metrics(revision: str) -> dict:
    """The metrics of a revision, or of the working folder ("workspace"); nothing where there are none."""
    try:
        return json.loads(dvc.api.read(artifacts.METRICS, rev=None if revision == "workspace" else revision))
    except (DvcException, OSError, ValueError):
        return {}


def curves(names: list[str]) -> Figure:
    """The training curves of those of the names that are students (`figures.curves`)."""
    there = [name for name in names if (Path(artifacts.CURVES) / name).is_dir()]
    if not there:
        known = sorted(path.name for path in Path(artifacts.CURVES).glob("*"))
        raise UserError(f"{artifacts.CURVES} has no curves of {' and '.join(names)}; it has: {', '.join(known)}")
    return figures.curves(there)
