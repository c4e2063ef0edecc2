"""Run the smoke profile twice, from fresh clones under different circumstances, and compare every hash: `make verify`.

The clones differ in folder name, locale, time zone, hash seed, home and in what else the machine does meanwhile. Each
has a DVC cache of its own, so that both really run. dvc.lock holds the hash of every parameter, dependency and output,
executed notebooks and pages included.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import yaml

from dskd.verify import differences

ROOT = Path(__file__).resolve().parents[1]
CIRCUMSTANCES = {
    "one": {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1"},
    "the other": {"LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "2"},
}


def run_in(folder: Path, circumstances: dict[str, str]) -> dict:
    """dvc.lock of a run of the clone in `folder`."""
    home = folder.parent / f"home of {folder.name}"
    home.mkdir()
    env = {
        "PIP_CONFIG_FILE": str(Path.home() / ".config/pip/pip.conf"),  # where the user's package index may be named
        **os.environ,
        **circumstances,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "true",
    }
    for command in ("python -m dskd profile smoke", "dvc repro --force"):
        subprocess.run(command.split(), cwd=folder, env=env, check=True)
    return yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))


@contextmanager
def load():
    """Something else that keeps a core busy."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        clones = [Path(folder) / name for name in CIRCUMSTANCES]
        for clone in clones:  # both before either runs: HEAD may move meanwhile
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        quiet, busy = CIRCUMSTANCES.values()
        one = run_in(clones[0], quiet)
        with load():
            other = run_in(clones[1], busy)
    found = differences(one, other)
    if len(found):
        print(found.to_string(index=False))
        return 1
    outputs = sum(len(stage.get("outs", [])) for stage in one["stages"].values())
    print(f"verified: {outputs} outputs of {len(one['stages'])} stages are the same bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
