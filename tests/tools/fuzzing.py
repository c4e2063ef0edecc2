"""What do readers do with hostile input? `make fuzz` gives each many cases and writes docs/fuzz.csv, a row a reader.

fuzzing.py                 what is not in docs/fuzz.csv yet; empty it to begin anew
fuzzing.py --cases 10000   so many cases a reader (default: 1000); a slow one gets a share of them
"""

import argparse
import csv
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs/fuzz.csv"
COLUMNS = ("reader", "cases", "passed", "seconds", "test")


class Recorder:
    """Runs the fuzz tests that the table lacks, and adds a row after each."""

    def __init__(self, rows: list[list[str]]):
        self.rows, self.cases = rows, {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        known = {row[-1] for row in self.rows}
        fuzzed = [item for item in items if hasattr(item.obj, "hypothesis")]
        items[:] = [item for item in fuzzed if item.nodeid not in known]
        self.cases = {item.nodeid: item.obj._hypothesis_internal_use_settings.max_examples for item in items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        reader = report.nodeid.rpartition("::test_")[2].replace("_", " ")
        self.rows.append([reader, self.cases[report.nodeid], report.passed, round(report.duration), report.nodeid])
        with TABLE.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *sorted(self.rows, key=lambda row: row[-1])])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    os.environ["DSKD_FUZZ_CASES"] = str(parser.parse_args().cases)
    os.chdir(ROOT)
    rows = list(csv.reader(TABLE.open()))[1:] if TABLE.exists() else []
    return pytest.main(["-q", "tests/fuzz"], plugins=[Recorder(rows)])


if __name__ == "__main__":
    sys.exit(main())
