"""How a result came about: machine, versions, commit, time and memory. No stage hashes this file."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from dskd.errors import UserError
from dskd.infra.arithmetic import fast_bfloat16
from dskd.infra.artifacts import PROVENANCE, read_json, write_json
from dskd.infra.hashes import size_mb

PACKAGES = [
    "torch",
    "transformers",
    "accelerate",
    "numpy",
    "scipy",
    "pandas",
    "nltk",
    "scikit-learn",
    "matplotlib",
    "lm-eval",
]
PACKAGES += ["papermill", "nbconvert", "dvc", "safetensors", "tokenizers"]


def record(root: Path, name: str, seconds: float, peak_memory_mb: int, went_on: bool = False) -> None:
    """Merge one stage's time and memory into `reports/provenance.json`, with what it ran on.

    Args:
        went_on: the stage went on from what an earlier run had made, so that its time is not that of the whole.
    """
    path = root / PROVENANCE
    try:
        earlier = dict(read_json(path).get("stages", {}))
    except (OSError, TypeError, ValueError, UserError):  # none yet, or damaged by hand: it can be made again
        earlier = {}
    cost = {"seconds": round(seconds, 1), "peak_memory_mb": peak_memory_mb}
    stages = {**earlier, name: cost | ({"went_on": True} if went_on else {})}
    write_json(
        path,
        {
            "stages": stages,
            "artifacts_mb": artifacts_mb(root),
            "machine": machine(),
            "versions": versions(),
            "commit": commit(root),
        },
    )


def artifacts_mb(root: Path) -> dict[str, int]:
    """Megabytes on disk of everything directly below artifacts/."""
    return {path.name: round(size_mb(path)) for path in sorted((root / "artifacts").glob("[!.]*"))}


def machine() -> dict[str, str | int | float]:
    """Processor model, cores that this process may use, whether it is fast at bfloat16, memory (GB) and system."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux, or a processor that names itself elsewhere
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "processor": model,
        "cores": cores,
        "fast_bfloat16": fast_bfloat16(),  # without it bfloat16 is computed in float32
        "memory_gb": round(memory, 1),
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result; those not installed are left out."""
    found = {"python": platform.python_version(), "implementation": sys.implementation.name}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit(root: Path) -> str | None:
    """The Git commit, with `-dirty` if the tree has changes; None where no Git repository has this project."""
    git = ["git", "-C", str(root)]
    try:
        # A tarball may lie in a folder of another repository.
        subprocess.run([*git, "ls-files", "--error-unmatch", "dvc.yaml"], capture_output=True, check=True)
        command = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
