"""What another busy process does to the teacher's reading, with threads that wait as they do by default, and asleep.

How OpenMP's threads wait is settled when the library is loaded, so each speed comes from a process of its own.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from speed.measure import line
from speed.training import run_harvest

from dskd.corpus.store import load_corpus
from dskd.infra import artifacts
from dskd.pipeline import stages
from dskd.pipeline.inputs import load_teacher

BLOCKS, WARM = 48, 8


def bench_busy(rounds: int = 3) -> list[dict]:
    speeds = {(passive, busy): [] for passive in (False, True) for busy in (False, True)}
    for _ in range(rounds):
        for (passive, busy), measured in speeds.items():
            measured.append(_speed(passive, busy))
    speed = {setting: statistics.median(measured) for setting, measured in speeds.items()}
    shape = f"harvest of {BLOCKS} blocks, one other process that computes without end"
    alone, beside = speed[True, False], speed[True, True]
    shares = [
        ("beside a busy process, of the speed alone", beside / alone, 0.6),
        ("the same without passive waiting", speed[False, True] / speed[False, False], 0.6),
        ("alone, with passive waiting against without", alone / speed[False, False], 0.98),
    ]
    return [line(name, shape, round(share, 3), "of the speed", least, share >= least) for name, share, least in shares]


def _speed(passive: bool, busy: bool) -> float:
    """Tokens a second of a process of its own."""
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    if not passive:
        del environment["OMP_WAIT_POLICY"]
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        done = subprocess.run([sys.executable, __file__], env=environment, check=True, capture_output=True, text=True)
    finally:
        if other:
            other.kill()
            other.wait()
    return float(done.stdout.split()[-1])


def main() -> None:
    params = stages.begin()
    teacher, _ = load_teacher(params)
    blocks = load_corpus(Path(artifacts.CORPUS))[0]["train"][: WARM + BLOCKS]
    run_harvest(teacher, params, blocks[:WARM])
    start = time.perf_counter()
    run_harvest(teacher, params, blocks[WARM:])
    print(BLOCKS * (blocks.shape[1] - 1) / (time.perf_counter() - start))


if __name__ == "__main__":
    main()
