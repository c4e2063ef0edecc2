"""Files and archives of package indexes, as sources: small ones of the real forms, and no network."""

import errno
import hashlib
import io
import os
import tarfile
import zipfile

import pytest

from dskd.errors import UserError
from dskd.infra.hashes import sha256_tree
from dskd.params import Source
from dskd.sources import archives
from dskd.sources import fetch as fetch_module
from dskd.sources.fetch import fetch

DATA = b"0123456789" * 100
WRONG = "0" * 64
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DSKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def spec(source, sha256=SHA, archive="wheel"):
    return Source(source=source, archive=archive, sha256=sha256, licence="none")


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


@pytest.mark.parametrize("source", MALFORMED)
def test_malformed(tmp_path, source):
    message = fails(source, tmp_path / "out/x")
    assert "malformed" in message and "pypi:NAME==VERSION!PATH" in message


# ---- pypi


META = "Metadata-Version: 2.1\nName: tiny\nVersion: {}\n"
SETUP = "from setuptools import setup\nsetup(name='tiny', version='1.0', packages=[])\n"


def make_wheel(folder, version, files, links=()):
    info = f"tiny-{version}.dist-info"
    members = {f"{info}/METADATA": META.format(version).encode(), **files}
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{info}/RECORD"] = b""
    with zipfile.ZipFile(folder / f"tiny-{version}-py3-none-any.whl", "w") as archive:
        for name, content in members.items():
            item = zipfile.ZipInfo(name)
            item.external_attr = (0o120777 if name in links else 0o100644) << 16
            archive.writestr(item, content)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for its index, with a wheel and a source archive; there is no network."""
    folder = tmp_path / "index"
    folder.mkdir()
    make_wheel(folder, "1.0", {"tiny/a.bin": DATA, "tiny/d/x": b"x", "tiny/d/e/y": b"y"})
    with tarfile.open(folder / "tiny-1.0.tar.gz", "w:gz") as archive:
        for name, content in {
            "PKG-INFO": META.format("1.0").encode(),
            "setup.py": SETUP.encode(),
            "tiny/d/x": b"x",
            "tiny/d/e/y": b"y",
        }.items():
            item = tarfile.TarInfo(f"tiny-1.0/{name}")
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    return folder


FOLDER = tree_hash({"x": b"x", "e/y": b"y"})


def test_wheel_file_and_cache(tmp_path, index, cache):
    source = spec("pypi:tiny==1.0!tiny/a.bin")
    fetch(source, tmp_path / "out/a")
    assert (tmp_path / "out/a").read_bytes() == DATA
    assert sorted(p.name for p in cache.iterdir() if not p.name.endswith(".lock")) == [SHA]
    wheel = index / "tiny-1.0-py3-none-any.whl"
    wheel.rename(tmp_path / "away")
    fetch(source, tmp_path / "out/b")  # from the cache
    assert (tmp_path / "out/b").read_bytes() == DATA
    (cache / SHA).write_bytes(b"damaged")
    with pytest.raises(UserError):  # never the damaged copy
        fetch(source, tmp_path / "out/c")
    (tmp_path / "away").rename(wheel)
    fetch(source, tmp_path / "out/c")
    assert (tmp_path / "out/c").read_bytes() == (cache / SHA).read_bytes() == DATA


def test_wheel_folder(tmp_path, index):
    fetch(spec("pypi:tiny==1.0!tiny/d/", FOLDER), tmp_path / "out/d")
    assert sha256_tree(tmp_path / "out/d") == FOLDER


@pytest.mark.parametrize("path", ["tiny/d/", "tiny-1.0/tiny/d/"])
def test_sdist_folder_with_and_without_top(tmp_path, index, path):
    fetch(spec(f"pypi:tiny==1.0!{path}", FOLDER, "sdist"), tmp_path / "out/d")
    assert (tmp_path / "out/d/e/y").read_bytes() == b"y"


def test_pypi_errors(tmp_path, index, cache):
    out = tmp_path / "out/x"
    assert "tiny/none is not in tiny-1.0" in fails("pypi:tiny==1.0!tiny/none", out)
    assert "end PATH with /" in fails("pypi:tiny==1.0!tiny/d", out)
    assert SHA in fails("pypi:tiny==1.0!tiny/a.bin", out, sha256=WRONG)
    message = fails("pypi:tiny==9.0!tiny/a.bin", out)
    assert "pypi:tiny==9.0" in message and "no such wheel" in message and "No matching distribution" in message
    assert not [p for p in cache.iterdir() if not p.name.endswith(".lock")]


@pytest.mark.parametrize("name, links", [("tiny/d/../../../evil", ()), ("tiny/d/link", ("tiny/d/link",))])
def test_members_that_lead_out_are_refused(tmp_path, index, name, links):
    make_wheel(index, "2.0", {"tiny/d/x": b"x", name: b"/etc/passwd"}, links)
    assert "leads out of its folder" in fails("pypi:tiny==2.0!tiny/d/", tmp_path / "out/d")
    assert not list(tmp_path.rglob("evil"))


def test_an_archive_of_another_hash_is_not_opened(tmp_path, index, monkeypatch):
    known = spec("pypi:tiny==1.0!tiny/a.bin").model_copy(update={"archive_sha256": WRONG})
    monkeypatch.setattr(fetch_module, "extract", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(UserError, match=f"tiny-1.0.*whl has SHA-256 .*, expected {WRONG}"):
        fetch(known, tmp_path / "out/a")


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


def test_index_out_of_reach(tmp_path, monkeypatch):
    for name, value in {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1", "PIP_TIMEOUT": "2"}.items():
        monkeypatch.setenv(name, value)
    for name in ["PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert "could not be reached" in fails("pypi:tiny==1.0!tiny/a.bin", tmp_path / "out/a")


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DSKD_CACHE", str(tmp_path / "file"))
    assert "set DSKD_CACHE" in fails("pypi:tiny==1.0!tiny/a.bin", tmp_path / "out/a")


def test_disk_full_names_the_file(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(DATA)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch_module, "_copy", full)
    assert "disk full while writing" in fails(f"file:{tmp_path}/a", tmp_path / "out/b")
