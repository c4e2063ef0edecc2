"""What a run left: its dvc.lock and its figures, and whether the files that lie in the folder are those it tells of."""

import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dskd.errors import UserError, one_line
from dskd.infra import artifacts
from dskd.infra.artifacts import LOCK, read_lock, require
from dskd.infra.made_of import flat

FIGURES = (artifacts.METRICS, artifacts.PROVENANCE, artifacts.QUALITY)  # the files that hold them
NOT_PUSHED = "not here, and not pushed"


class Run(NamedTuple):
    """What a run left."""

    lock: dict  # dvc.lock: the hash of every parameter, dependency and output
    metrics: dict
    provenance: dict
    quality: dict  # of the lexicon


def read_run(root: Path) -> Run:
    """The run whose files are below `root`; UserError where there is none."""
    lock = read_lock(require(root / LOCK, ""))
    return Run(lock, *(artifacts.read_json(require(root / name, "report")) for name in FIGURES))


def committed_run(root: Path, revision: str, destination: Path) -> Run:
    """The run that is committed at a Git revision; its files are written below the folder `destination`.

    Raises:
        UserError: there is no such revision, or no run in it.
    """
    try:
        commit = _git(root, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
        files = {name: _git(root, "show", f"{commit}:./{name}") for name in (LOCK, *FIGURES)}
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
            rows.append((kind, entry.def_path, NOT_PUSHED))
        else:
            rows.append((kind, entry.def_path, words.get(how, how)))
    return rows


def platform(run: Run) -> dict[str, str]:
    """What decides about the last bits of a result: processor, arithmetic, threads and versions."""
    machine, versions = run.provenance["machine"], run.provenance["versions"]
    parameters = [flat(stage.get("params", {})) for stage in run.lock["stages"].values()]
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
