import errno
import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

import dskd
from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra import output as output_module
from dskd.infra.artifacts import load_tensors, project_root, require
from dskd.infra.hashes import SUMS, fingerprint, read_checksums, remove, sha256_file, sha256_tree, size_mb
from dskd.infra.output import output


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(name, path, text):
    """A file or, where the name has no point, a folder with one."""
    if "." in name:
        path.write_text(text)
    else:
        path.mkdir()
        (path / "file").write_text(text)


def read(path):
    return path.read_text() if path.is_file() else (path / "file").read_text()


KINDS = pytest.mark.parametrize("name", ["result.txt", "folder"])


@KINDS
def test_an_output_appears_under_its_name_when_it_is_whole(tmp_path, name):
    folder = tmp_path / "far" / "below"
    with output(folder / name) as partial:
        write(name, partial, "new")
        assert not (folder / name).exists()
    assert read(folder / name) == "new"
    assert names(folder) == [name]


@KINDS
def test_an_output_takes_the_place_of_an_earlier_one(tmp_path, name):
    for text in ("old", "new"):
        with output(tmp_path / name) as partial:
            write(name, partial, text)
    assert read(tmp_path / name) == "new"
    assert names(tmp_path) == [name]


@KINDS
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_earlier_result_untouched_and_nothing_behind(tmp_path, name, error):
    with output(tmp_path / name) as partial:
        write(name, partial, "old")
    with pytest.raises(error), output(tmp_path / name) as partial:
        write(name, partial, "half")
        raise error
    assert read(tmp_path / name) == "old"
    assert names(tmp_path) == [name]


def test_a_block_that_writes_nothing_is_an_error_and_leaves_the_earlier_result(tmp_path):
    (tmp_path / "result.txt").write_text("old")
    with pytest.raises(FileNotFoundError), output(tmp_path / "result.txt"):
        pass
    assert names(tmp_path) == ["result.txt"] and read(tmp_path / "result.txt") == "old"


def test_what_a_killed_run_left_is_cleared_before_the_next(tmp_path):
    (tmp_path / ".folder.partial").mkdir()
    (tmp_path / ".folder.partial" / "stale").write_text("half")
    with output(tmp_path / "folder") as partial:
        write("folder", partial, "new")
    assert names(tmp_path / "folder") == ["file"] and names(tmp_path) == ["folder"]


def stop(folder, made_from, name):
    with pytest.raises(RuntimeError), output(folder, made_from) as partial:
        found = names(partial)
        (partial / name).write_text(name)
        raise RuntimeError
    return found


def test_with_one_fingerprint_a_stopped_output_goes_on_from_what_it_has(tmp_path):
    folder = tmp_path / "folder"
    assert stop(folder, "one", "a") == []
    assert stop(folder, "one", "b") == ["a"]
    assert not folder.exists()
    with output(folder, "one") as partial:
        assert names(partial) == ["a", "b"]
    assert names(folder) == ["a", "b"] and names(tmp_path) == [".folder.fingerprint", "folder"]


def test_a_finished_output_is_gone_on_from_unless_it_has_changed(tmp_path):
    """A run may be killed after its output is there and before DVC has recorded it."""
    folder = tmp_path / "folder"
    for _ in range(2):
        with output(folder, "one", checksums=True) as partial:
            (partial / "a").write_text("a")
    assert stop(folder, "one", "b") == ["SHA256SUMS", "a"]
    with output(folder, "one", checksums=True) as partial:
        assert names(partial) == ["SHA256SUMS", "a", "b"]
    (folder / "a").write_text("of another run, brought here by dvc checkout")
    assert stop(folder, "one", "c") == []
    assert names(folder) == ["SHA256SUMS", "a", "b"]


def test_a_kill_at_any_step_of_the_end_loses_nothing(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    folder, real = tmp_path / "folder", os.replace
    for kill_at in (1, 2, 3):  # the mark, its finished form, the output
        remove(folder)
        for leftover in tmp_path.iterdir():
            remove(leftover)
        calls = []

        def replace(source, target, kill_at=kill_at, calls=calls):
            calls.append(target)
            if len(calls) == kill_at:
                raise Killed
            real(source, target)

        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(Killed), output(folder, "one") as partial:
            (partial / "a").write_text("a")
        monkeypatch.setattr(os, "replace", real)
        assert stop(folder, "one", "b") == ([] if kill_at == 1 else ["a"])  # before 1 nothing was done


def test_a_second_writer_is_told_and_the_first_unharmed(tmp_path, monkeypatch):
    monkeypatch.setattr(output_module, "_PATIENCE", 0.1)
    code = "import sys; from dskd.infra.output import output\n"
    code += "with output(sys.argv[1]) as place: place.mkdir(); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "made"], stdin=-1, stdout=-1) as first:
        first.stdout.readline()
        says = rf"another run is writing .*made \(process {first.pid} on "
        with pytest.raises(UserError, match=says), output(tmp_path / "made"):
            pytest.fail("two writers")
        with output(tmp_path / "other") as partial:
            partial.mkdir()
        first.communicate(b"\n")
    assert first.returncode == 0 and names(tmp_path) == ["made", "other"]


def test_a_killed_writer_leaves_no_lock(tmp_path):
    code = "import os, sys; from dskd.infra.output import output\nwith output(sys.argv[1]): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "made"]).returncode == -9
    with output(tmp_path / "made") as partial:
        partial.mkdir()
    assert names(tmp_path) == ["made"]


def test_another_fingerprint_begins_anew(tmp_path):
    folder = tmp_path / "folder"
    stop(folder, "one", "a")
    assert stop(folder, "two", "b") == []
    assert stop(folder, "one", "c") == []
    assert stop(folder, "one", "d") == ["c"]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left"), SafetensorError("I/O error: No space left on device (os error 28)")],
)
def test_a_full_disk_is_an_error_that_names_the_output(tmp_path, error):
    with (
        pytest.raises(UserError, match=rf"disk full while writing {tmp_path / 'x'} \(\d+ MB free\)"),
        output(tmp_path / "x") as partial,
    ):
        partial.write_text("half")
        raise error
    assert names(tmp_path) == []


def test_another_error_of_the_system_is_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(PermissionError), output(tmp_path / "x"):
        raise PermissionError(errno.EACCES, "no")


def test_remove_takes_files_folders_links_and_nothing(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").write_text("kept")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "file").write_text("")
    for name in ("link", "file", "absent"):
        remove(tmp_path / name)
    assert names(tmp_path) == ["target"] and names(target) == ["file"]
    remove(target)
    assert names(tmp_path) == []


def test_hashes_are_those_of_sha256sum(tmp_path):
    (tmp_path / "tree" / "b").mkdir(parents=True)
    (tmp_path / "tree" / "b" / "abc").write_bytes(b"abc")
    (tmp_path / "tree" / "a").write_bytes(b"")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "tree" / "b" / "abc") == abc
    assert sha256_tree(tmp_path / "tree" / "b" / "abc") == abc
    # (cd tree; sha256sum a b/abc | sha256sum)
    assert sha256_tree(tmp_path / "tree") == "1f714cd54bab2291788a7f17405cc1050b0a3dada73b5408aff5590a3f226164"


@pytest.mark.parametrize("fails", [False, True])
def test_tensors_are_of_one_file_where_another_takes_its_place_meanwhile(tmp_path, monkeypatch, fails):
    """safetensors reads the header, and opens the file once more by its name: the numbers would be the other's."""
    path, opened = tmp_path / "a.safetensors", []
    save_file({"x": torch.arange(5)}, path)

    @contextmanager
    def opening(place, framework):
        opened.append(place)
        with safe_open(place, framework) as file:
            if len(opened) == 1:
                save_file({"x": torch.arange(100, 120)}, tmp_path / "b")
                (tmp_path / "b").replace(path)
                if fails:
                    raise RuntimeError("its size is smaller than the required mapping size")
            yield file

    monkeypatch.setattr(artifacts, "safe_open", opening)
    assert load_tensors(path, "harvest")["x"].tolist() == list(range(100, 120)) and len(opened) == 2


def test_a_file_takes_no_folders_place(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("years of work")
    with (
        pytest.raises(UserError, match="is a folder, which a file would replace"),
        output(tmp_path / "mine") as partial,
    ):
        partial.write_text("one file")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_is_missing_has_no_hash(tmp_path):
    """It would be that of an empty folder, and what was made from nothing would be taken for what was made from
    nothing else."""
    for make in (sha256_tree, fingerprint):
        with pytest.raises(FileNotFoundError, match="is missing"):
            make(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert len(sha256_tree(tmp_path / "empty")) == 64


def test_a_tree_s_hash_changes_with_names_and_bytes_and_not_with_order(tmp_path):
    def tree(name, files):
        for path, text in files:
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)
        return sha256_tree(tmp_path / name)

    first = tree("1", [("a", "x"), ("b/c", "y")])
    assert tree("2", [("b/c", "y"), ("a", "x")]) == first
    others = [tree("3", [("a", "x"), ("b/d", "y")]), tree("4", [("a", "x"), ("b/c", "z")]), tree("5", [("a", "x")])]
    assert len({first, *others}) == 4


def make(folder, files):
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def test_no_two_folders_have_one_hash(tmp_path):
    """A name with a line break could stand for two files, and a file of checksums for nothing."""
    a, b = (sha256_file(make(tmp_path / "f", {name: name}) / name) for name in "ab")
    folders = [
        {"a": "a", "b": "b"},
        {f"a\n{b}  b": "a"},
        {"a": "a", "b": "b", SUMS: "anything"},
        {"a": "a", "b": "b", SUMS: ""},
        {"a": "a", "b": "b", f"sub/{SUMS}": ""},
        {r"a\nb": "a"},
        {"a\nb": "a"},
        {"a\rb": "a"},
        {"a\\": "a"},
    ]
    found = {sha256_tree(make(tmp_path / f"{i}", files)) for i, files in enumerate(folders)}
    assert len(found) == len(folders)
    # Its own checksums are no file of a folder: with them it is the same one.
    text = f"{a}  a\n{b}  b\n"
    assert sha256_tree(make(tmp_path / "own", {"a": "a", "b": "b", SUMS: text})) == sha256_tree(tmp_path / "0")


STRANGE = ["a\nb", "back\\slash", "r\r", "\u2028 \x85", " two  ", "-x", os.fsdecode(b"latin-\xe9"), "\\n"]


def test_checksums_of_strange_names_are_read_back_and_are_sha256sum_s(tmp_path):
    with output(tmp_path / "made", checksums=True) as partial:
        make(partial, dict.fromkeys(STRANGE, "text"))
    assert set(read_checksums(tmp_path / "made")) == set(STRANGE)
    assert artifacts.require(tmp_path / "made", "senses") == tmp_path / "made"
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=tmp_path / "made", check=True)
    for name in STRANGE:
        (tmp_path / "made" / name).write_text("other")
        with pytest.raises(UserError, match="has changed") as caught:
            artifacts.require(tmp_path / "made", "senses")
        assert len(str(caught.value).splitlines()) == 1
        (tmp_path / "made" / name).write_text("text")


def test_what_is_neither_file_nor_folder_is_named(tmp_path):
    for name, made in {
        "pipe": os.mkfifo,
        "lost": lambda p: p.symlink_to("no"),
        "up": lambda p: p.symlink_to(".."),
    }.items():
        (tmp_path / name).mkdir()
        made(tmp_path / name / "x")
        with pytest.raises(UserError, match=f"{name}/x is "):
            sha256_tree(tmp_path / name)
    (tmp_path / "file").write_text("a")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/x").symlink_to(tmp_path / "file")  # as DVC's cache may link files
    assert sha256_tree(tmp_path / "linked") == sha256_tree(make(tmp_path / "plain", {"x": "a"}))


def test_json_has_equal_bytes_for_equal_values(tmp_path):
    artifacts.write_json(tmp_path / "1.json", {"b": [0.1, 1e-300], "a": {"ü": None, "c": 1}})
    artifacts.write_json(tmp_path / "2.json", {"b": [0.1, 1e-300], "a": {"ü": None, "c": 1}})
    text = (tmp_path / "1.json").read_bytes()
    assert text == (tmp_path / "2.json").read_bytes() and text.endswith(b"}\n") and "ü".encode() in text
    assert list(artifacts.read_json(tmp_path / "1.json").items()) == [("b", [0.1, 1e-300]), ("a", {"ü": None, "c": 1})]


def test_json_refuses_what_is_no_number_and_keeps_the_earlier_file(tmp_path):
    artifacts.write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(ValueError):
        artifacts.write_json(tmp_path / "x.json", {"a": float("nan")})
    assert artifacts.read_json(tmp_path / "x.json") == {"a": 1}
    assert names(tmp_path) == ["x.json"]


def test_json_lines_are_read_back_as_they_were_whatever_their_text(tmp_path):
    rows = [{"b": "two\nlines", "a": 0.1}, {"text": "ü\u2028\u2029\x85\x0b\x1c end"}, {}]
    artifacts.write_jsonl(tmp_path / "x.jsonl", rows)
    assert artifacts.read_jsonl(tmp_path / "x.jsonl") == rows
    lines = (tmp_path / "x.jsonl").read_bytes().split(b"\n")
    assert list(json.loads(lines[0])) == ["b", "a"] and len(lines) == 4


def test_a_fingerprint_changes_with_a_file_s_content_and_every_other_part(tmp_path):
    (tmp_path / "x").write_text("one")
    first = fingerprint(tmp_path / "x", 1, "a")
    assert fingerprint(tmp_path / "x", 1, "a") == first
    parts = [(tmp_path / "x", 2, "a"), (tmp_path / "x", "1", "a"), (tmp_path / "x", 1, "b"), (1, tmp_path / "x", "a")]
    found = {first, *(fingerprint(*part) for part in parts)}
    (tmp_path / "y").write_text("one")
    assert fingerprint(tmp_path / "y", 1, "a") == first  # a path stands for its content
    (tmp_path / "x").write_text("two")
    assert len(found | {fingerprint(tmp_path / "x", 1, "a")}) == 6


def test_what_is_missing_names_the_stage_that_makes_it(tmp_path):
    with pytest.raises(UserError, match=r"senses is missing.*dvc repro senses"):
        require(tmp_path / "senses", "senses")
    assert require(str(tmp_path), "senses") == tmp_path


def test_tensors_are_read_back_and_damage_names_the_stage(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.arange(6).view(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}, path)
    found = load_tensors(path, "harvest")
    assert set(found) == {"a", "b"} and torch.equal(found["a"], torch.arange(6).view(2, 3))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"x\.safetensors is damaged.*dvc repro harvest"):
        load_tensors(path, "harvest")
    with pytest.raises(UserError, match=r"y\.safetensors is missing.*dvc repro harvest"):
        load_tensors(tmp_path / "y.safetensors", "harvest")


def test_the_project_s_root_is_the_nearest_folder_above_with_a_pipeline(tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    with pytest.raises(UserError, match=r"not inside a dskd project"):
        project_root(deep)
    (tmp_path / "dvc.yaml").write_text("")
    assert project_root(deep) == tmp_path.resolve()
    (tmp_path / "a" / "dvc.yaml").write_text("")
    assert project_root(deep) == (tmp_path / "a").resolve()


@pytest.fixture
def summed(tmp_path):
    """A folder of artifacts with its checksums."""
    with output(tmp_path / "made", checksums=True) as partial:
        (partial / "sub").mkdir(parents=True)
        (partial / "a.bin").write_bytes(b"a" * 100)
        (partial / "sub" / "b c.txt").write_text("text")
    return tmp_path / "made"


def test_checksums_are_what_sha256sum_understands(summed):
    command = ["sha256sum", "--check", "--strict", SUMS]
    assert subprocess.check_output(command, cwd=summed, text=True) == "a.bin: OK\nsub/b c.txt: OK\n"
    assert sha256_tree(summed) == sha256_file(summed / SUMS)


@pytest.mark.parametrize("name", ["a.bin", "sub/b c.txt"])
def test_a_flipped_bit_is_an_error_that_names_file_and_stage(summed, name):
    file, other = summed / name, summed / ({"a.bin", "sub/b c.txt"} - {name}).pop()
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    file.write_bytes(content)
    for asked in (summed, file):
        with pytest.raises(UserError, match=rf"{name} has changed .*delete {summed} and run `dvc repro senses`"):
            artifacts.require(asked, "senses")
    assert artifacts.require(other, "senses") == other  # only what is asked for is read
    (summed / SUMS).unlink()
    assert artifacts.require(summed, "senses") == summed


def test_a_file_that_is_gone_is_named(summed):
    (summed / "a.bin").unlink()
    with pytest.raises(UserError, match=r"a\.bin is missing"):
        artifacts.require(summed, "senses")


@pytest.mark.parametrize(
    "damage", [lambda b: b"\xff no sums\n", lambda b: b[:-1], lambda b: b"\n" + b, lambda b: b[1:]]
)
def test_damaged_checksums_are_no_crash(summed, damage):
    (summed / SUMS).write_bytes(damage((summed / SUMS).read_bytes()))
    with pytest.raises(UserError, match="SHA256SUMS is damaged"):
        artifacts.require(summed, "senses")


def test_a_file_that_no_stage_wrote_is_named(summed):
    """A remote may give more than was pushed, and some readers take all that lies in a folder."""
    (summed / ".ipynb_checkpoints").mkdir()
    (summed / ".ipynb_checkpoints/a.bin").write_text("Jupyter's")
    assert artifacts.require(summed, "senses") == summed
    (summed / "sub/more.bin").write_text("more")
    for asked in (summed, summed / "sub", summed / "sub/more.bin"):
        with pytest.raises(UserError, match=r"more\.bin is no file that the stage wrote: delete it"):
            artifacts.require(asked, "senses")
    assert artifacts.require(summed / "a.bin", "senses") == summed / "a.bin"
    (summed / SUMS).write_text("")
    with pytest.raises(UserError, match="is no file that the stage wrote"):
        artifacts.require(summed / "a.bin", "senses")


def test_checksums_that_were_brought_along_are_a_file_like_any_other(tmp_path):
    """Somebody's text or model may have a SHA256SUMS of its own, and the project may lie beside one."""
    (tmp_path / SUMS).write_text(f"{'0' * 64}  other\n")
    (tmp_path / "dvc.yaml").write_text("")
    with output(tmp_path / "artifacts/sources", checksums=True) as partial:
        make(partial, {f"text/{SUMS}": "theirs, in a form of their own\n", "text/a.txt": "a"})
    text = tmp_path / "artifacts/sources/text"
    assert artifacts.require(text, "sources") == text
    (text / "a.txt").write_text("b")
    with pytest.raises(UserError, match=r"a\.txt has changed"):
        artifacts.require(text, "sources")
    (tmp_path / "lexicon.parquet").write_text("")
    assert artifacts.require(tmp_path / "lexicon.parquet", "lexicon")


def test_a_fingerprint_changes_with_the_code_of_the_package(tmp_path, monkeypatch):
    """Else a stopped run would go on with what other code made."""
    (tmp_path / "room").mkdir()
    for name in ("__init__.py", "room/first.py"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(dskd, "__file__", str(tmp_path / "__init__.py"))
    found = [fingerprint("a")]
    for name, text in (("room/first.py", "x = 1"), ("room/second.py", ""), ("__init__.py", "y = 2"), ("note.txt", "z")):
        (tmp_path / name).write_text(text)
        found.append(fingerprint("a"))
    assert len(set(found)) == 4 and found[-1] == found[-2]  # what is no code is none of it


@pytest.mark.parametrize("kept", [["a"], ["a", "b", "c"], ["a", "c"]])
def test_tensors_must_be_all_that_are_asked_for_and_no_others(tmp_path, kept):
    save_file({name: torch.ones(1) for name in kept}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=rf"it holds {', '.join(kept)}, not a, b\).*dvc repro harvest"):
        load_tensors(tmp_path / "x.safetensors", "harvest", ["a", "b"])
    assert load_tensors(tmp_path / "x.safetensors", "harvest", kept).keys() == set(kept)


def test_new_checksums_leave_those_alone_that_share_their_bytes(tmp_path):
    """DVC's cache may be hard links: what is written through one would damage the cache."""
    folder = tmp_path / "made"
    with output(folder, "one", checksums=True) as partial:
        (partial / "a").write_text("a")
    before = (folder / SUMS).read_bytes()
    os.link(folder / SUMS, tmp_path / "in_the_cache")
    with output(folder, "one", checksums=True) as partial:
        (partial / "b").write_text("b")
    assert (tmp_path / "in_the_cache").read_bytes() == before != (folder / SUMS).read_bytes()
    assert artifacts.require(folder, "senses") == folder


def test_sizes_are_in_millions_of_bytes(tmp_path):
    (tmp_path / "folder/below").mkdir(parents=True)
    (tmp_path / "folder/a").write_bytes(bytes(3000))
    (tmp_path / "folder/below/b").write_bytes(bytes(500))
    assert size_mb(tmp_path / "folder/a") == 0.003 and size_mb(tmp_path / "folder") == 0.0035


def test_an_output_ends_well_where_its_mark_of_a_writer_was_cleared_away(tmp_path):
    with output(tmp_path / "result.txt") as partial:
        partial.write_text("new")
        (tmp_path / ".result.txt.writer").unlink()
    assert names(tmp_path) == ["result.txt"]


def test_parts_of_an_output_lie_in_folders_that_are_made_as_they_are_needed(tmp_path):
    with output(tmp_path / "whole") as whole:
        for name in ("one", "two"):
            with output(whole / "far" / "below" / f"{name}.txt") as partial:
                partial.write_text(name)
                assert not list(whole.rglob("*.writer"))  # the right to write the whole is held already
    assert names(tmp_path) == ["whole"] and names(tmp_path / "whole/far/below") == ["one.txt", "two.txt"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO])
def test_a_place_where_nothing_may_be_written_is_named_and_another_fault_is_none_of_that(tmp_path, monkeypatch, code):
    def acquire(lock, timeout):
        raise OSError(code, "so it is")

    monkeypatch.setattr(output_module.FileLock, "acquire", acquire)
    expected = (
        (OSError, "so it is") if code == errno.EIO else (UserError, r"cannot write .*x \(so it is\): allow writing")
    )
    with pytest.raises(expected[0], match=expected[1]), output(tmp_path / "x"):
        pytest.fail("written")


@pytest.mark.parametrize("what", ["a link to nothing", "a link to a folder", "no file"])
def test_what_is_neither_a_file_nor_a_folder_has_no_hash_and_is_named(tmp_path, what):
    (tmp_path / "tree").mkdir()
    (tmp_path / "other").mkdir()
    if what == "no file":
        os.mkfifo(tmp_path / "tree/odd")
    else:
        (tmp_path / "tree/odd").symlink_to(tmp_path / ("other" if "folder" in what else "absent"))
    with pytest.raises(UserError, match=f"tree/odd is {what}: put a file or a folder in its place"):
        sha256_tree(tmp_path / "tree")
