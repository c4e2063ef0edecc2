"""Run the smoke profile twice, from fresh clones under different circumstances, and compare every hash: `make verify`.

The clones differ in folder name, locale, time zone, hash seed, home and in what else the machine does meanwhile. Each
has a DVC cache of its own, so that both really run. dvc.lock holds the hash of every parameter, dependency and output,
executed notebooks and pages included. A third clone runs with another number of threads, which may change the last
bits: its held-out figures have to be within the tolerance of `python -m dskd verify`, and go to docs/threads.csv.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import yaml

from dskd.infra import artifacts
from dskd.verify.compare import compare_figures, differences

ROOT = Path(__file__).resolve().parents[2]
CIRCUMSTANCES = {
    "one": {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1"},
    "the other": {"LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "2"},
}


def run_in(folder: Path, circumstances: dict[str, str], threads: int = 2) -> dict:
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
    subprocess.run(["python", "-m", "dskd", "profile", "smoke"], cwd=folder, env=env, check=True)
    before, _, after = (folder / "params.yaml").read_text(encoding="utf-8").partition("threads: 2\n")
    (folder / "params.yaml").write_text(f"{before}threads: {threads}\n{after}", encoding="utf-8")
    subprocess.run(["dvc", "repro", "--force"], cwd=folder, env=env, check=True)
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
        clones = [Path(folder) / name for name in (*CIRCUMSTANCES, "one thread")]
        for clone in clones:  # all before any runs: HEAD may move meanwhile
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        quiet, busy = CIRCUMSTANCES.values()
        one = run_in(clones[0], quiet)
        with load():
            other = run_in(clones[1], busy)
        third = run_in(clones[2], quiet, threads=1)
        figures = compare_figures(*(artifacts.read_json(clones[i] / artifacts.METRICS) for i in (0, 2)))
    found = differences(one, other)
    if len(found):
        print(found.to_string(index=False))
        return 1
    outputs = sum(len(stage.get("outs", [])) for stage in one["stages"].values())
    print(f"verified: {outputs} outputs of {len(one['stages'])} stages are the same bytes")
    parted = differences(one, third)
    print(f"with 1 thread instead of 2, {int((parted['kind'] == 'outs').sum())} of them are other bytes")
    # The smoke profile has 16 items a lexical task: one of them is more than any tolerance.
    heldout = figures[figures["table"] == "heldout"].drop(columns=["table", "within"])
    heldout = heldout.rename(columns={"committed": "2 threads", "here": "1 thread"})
    heldout.round(6).to_csv(ROOT / "docs" / "threads.csv", index=False)
    print(heldout.to_string(index=False))
    return int((heldout["difference"].abs() > heldout["allowed"]).any())


if __name__ == "__main__":
    sys.exit(main())
