"""A disk that is really full, and one that may not be written: a small tmpfs below the project."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tiny.project import ROOT, STAGES, files, run, said

from dskd.__main__ import main

PAGE = 4096


class Disk:
    """A file system of 4 MB that holds `folder`."""

    def __init__(self, folder: Path):
        self.folder, self.filler = folder, folder / ".filler"

    def leave(self, kilobytes: int) -> None:
        """Fill it up to so many free kilobytes."""
        free = os.statvfs(self.folder).f_bavail * PAGE
        self.filler.write_bytes(bytes(free - kilobytes * 1024))

    def make_room(self) -> None:
        self.filler.unlink()

    def forbid_writing(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", self.folder], check=True)


@pytest.fixture
def disk(project):
    """A function that moves a folder of the project to a disk of its own."""
    mounted = []

    def move(name: str) -> Disk:
        folder, kept = project / name, project / "kept"
        folder.rename(kept)
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("no right to mount a tmpfs here (root has it)")
        mounted.append(folder)
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        shutil.rmtree(kept)
        return Disk(folder)

    yield move
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


FULL = [  # a stage, free kilobytes, and what it was writing when there were no more
    ("sources", 100, ".sources.partial/.fetched/teacher"),
    ("sources", 400, "teacher"),
    ("lexicon", 0, "lexicon.parquet"),
    ("corpus", 0, "corpus"),
    ("corpus", 4, "corpus"),
    ("harvest", 0, "states"),
    ("harvest", 20, ".states.partial/train-00000.safetensors"),
    ("harvest", 60, ".states.partial/train-00001.safetensors"),
    ("harvest", 200, "states"),  # what they were made of, after the last shard
    ("senses", 8, "senses"),
    ("targets", 20, "targets/dskd"),
    ("distill", 0, "students/dskd-0"),
    ("distill", 200, "students/.dskd-0.partial/.work/checkpoint-000000002"),
    ("distill", 380, "students/.dskd-0.partial/.work/checkpoint-000000004"),
    ("benchmarks", 0, "benchmarks"),
]


@pytest.mark.parametrize(("stage", "kilobytes", "name"), FULL)
def test_on_a_full_disk_a_stage_says_so_and_goes_on_when_there_is_room(project, disk, stage, kilobytes, name):
    before = files(project)
    small = disk("artifacts")
    small.leave(kilobytes)
    code, text = run(stage)
    print(text)
    assert (code, text) == (1, f"dskd: disk full while writing artifacts/{name} (0 MB free): make room and run again")
    small.make_room()
    after = files(project)
    assert {path: after.get(path) for path in before} == before
    left = after.keys() - before.keys()
    # What the next run goes on from.
    assert all(any(name in path for name in (".states.", ".reservoir.", ".dskd-0.")) for path in left)
    assert run(stage)[0] == 0
    assert files(project) == before


PLACES = {
    "lexicon": "lexicon.parquet",
    "harvest": "states",
    "targets": "targets/dskd",
    "distill": "students/dskd-0",
}


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in ("quality", "evaluate")])
def test_in_a_folder_that_may_not_be_written_a_stage_says_so(project, disk, stage):
    before = files(project)
    disk("artifacts").forbid_writing()
    code, text = run(stage)
    print(text)
    place = Path("artifacts") / PLACES.get(stage, stage)
    assert (code, text) == (1, f"dskd: cannot write {place} (Read-only file system): allow writing in {place.parent}")
    assert files(project) == before


def test_curves_that_find_no_room_are_the_same_error(project, disk):
    before = files(project)
    small = disk("reports")
    small.leave(0)
    message = "dskd: disk full while writing reports/curves/dskd-0 (0 MB free): make room and run again"
    assert run("distill") == (1, message)
    small.make_room()
    assert run("distill")[0] == 0
    assert files(project) == before


@pytest.mark.parametrize(
    ("kilobytes", "name"), [(0, ".lexicon.failed.ipynb"), (48, "lexicon.ipynb")]
)  # before the first cell; after the last
def test_a_notebook_that_finds_no_room_is_one_line(project, disk, kilobytes, name, capfd):
    shutil.copytree(ROOT / "notebooks", project / "notebooks")
    folder = project / "reports/notebooks"
    folder.mkdir()
    (folder / "lexicon.ipynb").write_text("earlier")
    before = files(project)
    small = disk("reports")
    small.leave(kilobytes)
    assert main(["notebook", "lexicon"]) == 1
    text = said(capfd.readouterr().err)
    assert text == f"dskd: disk full while writing {folder / name} (0 MB free): make room and run again"
    small.make_room()
    after = files(project)
    assert {path: after.get(path) for path in before} == before
