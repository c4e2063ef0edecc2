"""Kill the pipeline at seeded moments, let the next `dvc repro` go on, and compare every hash: `make kill`.

A clone of HEAD runs with the real teacher on a small text: once undisturbed, then once for every kill. Of harvest,
senses and distill one is made to run again; at a moment drawn from all its seconds (DVC's start, the kernel's, the
work, notebook and page, DVC's recording), or as it writes a shard or a checkpoint, these processes get SIGKILL
(seconds are the processor's, so that the moments and what is lost are the same on a machine that does more):

    all     DVC, the stage's process, its kernel and their children, as when the machine is reset
    kernel  the kernel alone, as when memory runs out
    dvc     DVC alone; what it started is left behind as the next `dvc repro` begins at once
    Ctrl-C  (SIGINT, to the foreground group) must also leave one line of ours and no traceback

The next `dvc repro` must end well, in the hashes of the undisturbed run, do nothing again that was done at the last
safe point, and leave no process behind. Each kill is a row of the CSV file `--out`; rows that are there are not done
again. What a kill costs is the time of both runs less that of the undisturbed one: the start of DVC, kernel and
teacher once more, and the work since the last safe point.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[2]
SIZES = {  # 7 shards; 7 steps of which the fifth, a smaller batch, ends the first epoch; 4 checkpoints
    "runtime": {"threads": 1},  # so that what else the machine does matters least
    "corpus": {"heldout_tokens": 512},
    "harvest": {"batch_size": 2, "shard_blocks": 4},
    "distill": {"objectives": ["dskd"], "epochs": 1.4, "batch_size": 5, "checkpoint_steps": 2, "log_steps": 3},
}
GOAL = "distill@dskd-0"
STAGES = {"harvest": 4, "senses": 1, GOAL: 5}  # with their shares of the kills
STATES, STUDENT = "artifacts/.states.partial", "artifacts/students/.dskd-0.partial"
COLUMNS = (
    "seed,kill,stage,killed,when,second,safe_point,done_again,next_run_seconds,seconds_lost,same_hashes,passed,says"
)
ENV = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "true",
}


def prepare(folder: Path) -> None:
    """A clone of HEAD in `folder`, with parameters of its own."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    (folder / "profiles/killing.yaml").write_text(yaml.safe_dump(SIZES), encoding="utf-8")
    for profile in ("smoke", "killing"):
        subprocess.run(["python", "-m", "dskd", "profile", profile], cwd=folder, env=ENV, check=True)


def start(folder: Path) -> subprocess.Popen:
    """`dvc repro` in a session of its own; what it says goes to a file."""
    command = ["dvc", "repro", GOAL]
    with open(folder / ".git/says", "w", encoding="utf-8") as says:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=ENV,
            stdout=says,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )


def said(folder: Path) -> str:
    """What the last run said, without progress bars."""
    text = (folder / ".git/says").read_text(encoding="utf-8", errors="replace")
    return "\n".join(line.rpartition("\r")[2] for line in text.splitlines())


class Watch(threading.Thread):
    """Counts the processor's seconds of a run and notes after how many of them which safe points appear."""

    def __init__(self, folder: Path, stage: str, pid: int):
        super().__init__(daemon=True)
        self.folder, self.stage, self.root = folder, stage, psutil.Process(pid)
        self.points, self.used, self.ended = [(safe_point(folder, stage), 0.0)], {}, threading.Event()
        self.start()

    @property
    def seconds(self) -> float:
        return sum(self.used.copy().values())

    def run(self):
        while not self.ended.wait(0.1):
            for process in family(self.root):
                try:
                    self.used[process.pid] = sum(process.cpu_times()[:2])  # user and system
                except psutil.Error:
                    pass
            point = safe_point(self.folder, self.stage)
            if point != self.points[-1][0]:
                self.points.append((point, self.seconds))

    def end(self) -> None:
        self.ended.set()
        self.join()


def safe_point(folder: Path, stage: str) -> int:
    """Shards that are whole, or training steps in the checkpoint; a stage without either begins anew."""
    try:
        if stage == "harvest":
            return len(shards(folder))
        if stage == GOAL:
            return max(int(path.name.rpartition("-")[2]) for path in (folder / STUDENT / ".work").glob("checkpoint-*"))
    except (OSError, ValueError):  # what is just being deleted; none
        pass
    return 0


def shards(folder: Path) -> dict[str, int]:
    """When each whole shard was written."""
    places = [path for place in (STATES, "artifacts/states") for path in (folder / place).glob("[!.]*.safetensors")]
    return {path.name: path.stat().st_mtime_ns for path in places}


def reset(folder: Path, stage: str) -> None:
    """Make DVC run `stage` again from nothing."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    forgotten = lock["stages"].pop(stage)
    for path in (folder / ".dvc/cache/runs").glob("*/*/*"):
        if yaml.safe_load(path.read_text(encoding="utf-8"))["cmd"] == forgotten["cmd"]:
            path.unlink()
    for entry in forgotten["outs"]:
        path = folder / entry["path"]
        for found in [path, *path.parent.glob(f".{path.name}.*")]:
            shutil.rmtree(found) if found.is_dir() else found.unlink(missing_ok=True)
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")


def hashes(folder: Path) -> dict:
    """dvc.lock, and the SHA-256 of every file that it names as an output."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    found = {}
    for stage in ("sources", "lexicon", "corpus", "targets@dskd", *STAGES):
        for entry in lock[stage]["outs"]:
            path = folder / entry["path"]
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file():
                    found[str(file.relative_to(folder))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"lock": {stage: lock[stage] for stage in (*STAGES, "targets@dskd")}, "files": found}


def run(folder: Path, stage: str) -> tuple[int, Watch]:
    """Run to the end: exit code, and what was watched."""
    process = start(folder)
    watch = Watch(folder, stage, process.pid)
    code = process.wait()
    watch.end()
    return code, watch


def undisturbed(folder: Path) -> dict:
    """Hashes, and for each stage its seconds, those before its first work, and the longest between safe points."""
    path = folder / ".git/undisturbed.json"
    if path.exists():
        run(folder, GOAL)  # what a stopped trial left
        return json.loads(path.read_text(encoding="utf-8"))
    code, watch = run(folder, GOAL)
    if code:
        sys.exit(said(folder))
    print(f"first run: {watch.seconds:.0f} s", flush=True)
    found, stages = hashes(folder), {}
    for stage in STAGES:
        reset(folder, stage)
        code, watch = run(folder, stage)
        if code or hashes(folder) != found:
            sys.exit(f"{stage} did not end in the same hashes undisturbed\n{said(folder)}")
        times = [second for _, second in watch.points[1:]]
        gaps = [b - a for a, b in zip(times, [*times[1:], watch.seconds])]
        stages[stage] = {
            "seconds": watch.seconds,
            "begin": max(0, times[0] - min(gaps)) if times else 0,
            "gap": max(gaps, default=watch.seconds),
        }
        print(f"{stage}: {stages[stage]}", flush=True)
    path.write_text(json.dumps({"hashes": found, "stages": stages}), encoding="utf-8")
    return undisturbed(folder)


def family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(pid: int, who: str) -> str:
    """Kill; returns who was killed (where there is no kernel yet, or no more, all)."""
    root = psutil.Process(pid)
    chosen = family(root) if who != "dvc" else [root]
    if who == "kernel":
        chosen = [process for process in chosen if "ipykernel_launcher" in " ".join(command(process))]
        if not chosen:
            return kill(pid, "all")
    if who == "all":  # stop all first, so that none sees another's end
        stopped = set()
        while fresh := set(family(root)) - stopped:
            stopped |= fresh
            signal_all(fresh, signal.SIGSTOP)
        chosen = stopped
    signal_all(chosen, signal.SIGKILL)
    return who


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def signal_all(processes, number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            pass


def left_behind(folder: Path) -> list[psutil.Process]:
    """Processes that still work in `folder`, after some seconds to end."""
    for _ in range(20):
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd().startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                pass
        if not found:
            break
        time.sleep(0.5)
    return found


def writing(folder: Path, stage: str) -> bool:
    """Whether a shard or a checkpoint is just being written."""
    place = folder / STATES if stage == "harvest" else folder / STUDENT / ".work"
    return any(place.glob(".*.partial"))


def wait_for(watch: Watch, process: subprocess.Popen, when: str, second: float, extra: float) -> None:
    """Return at the moment: after so many seconds, or `extra` seconds after the writing that follows."""
    while process.poll() is None and watch.seconds < second:
        time.sleep(0.02)
    if when == "writing":
        while process.poll() is None and not writing(watch.folder, watch.stage):
            time.sleep(0.002)
        time.sleep(extra)


def trial(folder: Path, plain: dict, draw: random.Random, who: str) -> dict:
    """One kill and what came of it: a row."""
    stage = draw.choices(list(STAGES), list(STAGES.values()))[0]
    who = who or draw.choices(["all", "kernel", "dvc"], [3, 1, 1])[0]
    when = draw.choices(["clock", "writing"], [3, 1])[0] if stage != "senses" else "clock"
    second, extra = draw.uniform(0, plain["stages"][stage]["seconds"]), draw.uniform(0, 0.1)
    reset(folder, stage)
    process = start(folder)
    watch = Watch(folder, stage, process.pid)
    wait_for(watch, process, when, second, extra)
    if process.poll() is not None:  # it was quicker this time
        watch.end()
        return {}
    if who == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        who = kill(process.pid, who)
    faults, second, code = [], watch.seconds, process.wait()
    watch.end()
    says = said(folder)
    ours = [line for line in says.splitlines() if line.startswith("dskd: ")]
    if who in ("Ctrl-C", "kernel"):  # what is left ends by itself, with a clear word
        faults += [f"{who}: exit code 0"] * (code == 0) + ["traceback"] * ("Traceback" in says)
        faults += [f"{len(ours)} lines"] * (len(ours) > 1)
    whole, safe = shards(folder), safe_point(folder, stage)
    code, watch = run(folder, stage)
    if code and "dvc.lock" in said(folder):  # DVC was killed as it wrote it: the way out in docs/trust.md
        ours.insert(0, said(folder).strip().replace("\n", " "))
        subprocess.run(["git", "checkout", "--quiet", "dvc.lock"], cwd=folder, check=True)
        code, watch = run(folder, stage)
    if code:
        faults.append(f"exit code {code}: {said(folder)[-1000:]}")
    remaining = left_behind(folder)
    faults += [f"left behind: {' '.join(command(process))}" for process in remaining]
    signal_all(remaining, signal.SIGKILL)
    same = not code and hashes(folder) == plain["hashes"]
    if stage == "harvest":
        now = shards(folder)
        again = sum(now.get(name) != written for name, written in whole.items())
    else:  # steps that are done again show as a checkpoint that comes too early
        later = [point for point, _ in watch.points[1:] if point]  # 0: the checkpoints of a whole student are deleted
        again = max(0, safe + 1 - min(later, default=safe + 1))
    if not same:
        faults.append("other hashes")
    if again:
        faults.append(f"{again} done again")
    return {
        "stage": stage,
        "killed": who,
        "when": when,
        "second": round(second, 1),
        "safe_point": safe,
        "done_again": again,
        "next_run_seconds": round(watch.seconds, 1),
        "seconds_lost": round(second + watch.seconds - plain["stages"][stage]["seconds"], 1),
        "same_hashes": same,
        "passed": not faults,
        "says": " | ".join(faults or ours[:1]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--interrupts", type=int, default=6, help="presses of Ctrl-C after the kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("killing.csv"))
    parser.add_argument("--folder", type=Path, help="where to run; kept and used again (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary) / "project").resolve()
        if not folder.exists():
            prepare(folder)
        plain = undisturbed(folder)
        rows = list(csv.DictReader(options.out.open())) if options.out.exists() else []
        rows = [row for row in rows if row["seed"] == str(options.seed)]
        done = {int(row["kill"]) for row in rows}
        for number in sorted(set(range(options.kills + options.interrupts)) - done):
            draw, row = random.Random(f"{options.seed}-{number}"), {}
            while not row:
                row = trial(folder, plain, draw, "Ctrl-C" if number >= options.kills else "")
            row = {"seed": options.seed, "kill": number, **row}
            new = not options.out.exists()
            with options.out.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS.split(","), lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow(row)
            print(",".join(map(str, row.values())), flush=True)
            rows.append({key: str(value) for key, value in row.items()})
    return summary(rows, plain["stages"])


def summary(rows: list[dict], stages: dict) -> int:
    for stage, of in stages.items():
        lost = sorted(float(row["seconds_lost"]) for row in rows if row["stage"] == stage)
        if lost:
            print(
                f"{stage}: {len(lost)} kills, lost {lost[len(lost) // 2]:.0f} s (median) to {lost[-1]:.0f} s; "
                f"undisturbed {of['seconds']:.0f} s, of which {of['begin']:.0f} s to the first work and "
                f"at most {of['gap']:.0f} s between safe points"
            )
    failed = [row for row in rows if row["passed"] != "True"]
    print(f"{len(rows) - len(failed)} of {len(rows)} kills passed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
