"""Archives of a package index as sources: a folder or a server on this machine, asked by pip's own code."""

import io
import os
import tarfile
import zipfile

import pytest
from sources.test_fetch import DATA, SHA, WRONG, cache, fails, spec, tree_hash  # noqa: F401 (a fixture for all)
from sources.test_fetch_hub import server

from dskd.errors import UserError
from dskd.infra.hashes import sha256_file, sha256_tree
from dskd.sources import package_index
from dskd.sources.fetch import fetch

META = "Metadata-Version: 2.1\nName: tiny\nVersion: {}\n"
RUNS = "open({!r}, 'a').write('ran\\n')\n"  # code of an archive that must not run
HOOKS = ["build_wheel", "build_sdist", "get_requires_for_build_wheel", "prepare_metadata_for_build_wheel"]
FOLDER = tree_hash({"x": b"x", "e/y": b"y"})
WHEEL, SDIST = "tiny-1.0-py3-none-any.whl", "tiny-1.0.tar.gz"


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


def make_sdist(folder, ran):
    """A source archive whose code, wherever a build could start it, writes to `ran`."""
    code = RUNS.format(str(ran)).encode()
    hooks = "".join(f"def {hook}(*_): raise SystemExit\n" for hook in HOOKS).encode()
    files = {
        "PKG-INFO": META.format("1.0").encode(),
        "setup.py": code + b"from setuptools import setup\nsetup(name='tiny', version='1.0', packages=[])\n",
        "pyproject.toml": b"[build-system]\nrequires = []\nbuild-backend = 'own'\nbackend-path = ['.']\n",
        "own.py": code + hooks,
        "tiny/d/x": b"x",
        "tiny/d/e/y": b"y",
    }
    with tarfile.open(folder / SDIST, "w:gz") as archive:
        for name, content in files.items():
            item = tarfile.TarInfo(f"tiny-1.0/{name}")
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for its index, with a wheel and a source archive; there is no network."""
    folder = tmp_path / "index"
    folder.mkdir()
    make_wheel(folder, "1.0", {"tiny/a.bin": DATA, "tiny/d/x": b"x", "tiny/d/e/y": b"y"})
    make_sdist(folder, tmp_path / "ran")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    return folder


def pinned(folder, path, sha256=SHA, name=WHEEL):
    """The source of a file or folder in an archive of the folder."""
    kind = "sdist" if name == SDIST else "wheel"
    version = name.split("-")[1].removesuffix(".tar.gz")
    return spec(f"pypi:tiny=={version}!{path}", sha256, kind, sha256_file(folder / name))


def test_wheel_file_and_cache(tmp_path, index, cache):  # noqa: F811
    source = pinned(index, "tiny/a.bin")
    fetch(source, tmp_path / "out/a")
    assert (tmp_path / "out/a").read_bytes() == DATA
    assert sorted(p.name for p in cache.iterdir() if not p.name.endswith(".lock")) == [SHA]
    wheel = index / WHEEL
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
    fetch(pinned(index, "tiny/d/", FOLDER), tmp_path / "out/d")
    assert sha256_tree(tmp_path / "out/d") == FOLDER


@pytest.mark.parametrize("path", ["tiny/d/", "tiny-1.0/tiny/d/"])
def test_sdist_folder_with_and_without_top_and_nothing_of_it_runs(tmp_path, index, path):
    fetch(pinned(index, path, FOLDER, SDIST), tmp_path / "out/d")
    assert (tmp_path / "out/d/e/y").read_bytes() == b"y"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("kind", "name"), [("wheel", WHEEL), ("sdist", SDIST)])
def test_an_archive_of_another_hash_is_neither_run_nor_opened(tmp_path, index, monkeypatch, kind, name):
    monkeypatch.setattr(package_index, "extract", lambda *_, **__: pytest.fail("it was opened"))
    message = fails("pypi:tiny==1.0!tiny/d/", tmp_path / "out/d", archive=kind, archive_sha256=WRONG)
    assert f"{name} has SHA-256 {sha256_file(index / name)}, expected {WRONG}" in message
    assert not (tmp_path / "ran").exists()


def test_pypi_errors(tmp_path, index, cache):  # noqa: F811
    out, known = tmp_path / "out/x", {"archive_sha256": sha256_file(index / WHEEL)}
    assert "tiny/none is not in tiny-1.0" in fails("pypi:tiny==1.0!tiny/none", out, **known)
    assert "end PATH with /" in fails("pypi:tiny==1.0!tiny/d", out, **known)
    assert SHA in fails("pypi:tiny==1.0!tiny/a.bin", out, sha256=WRONG, **known)
    message = fails("pypi:tiny==9.0!tiny/a.bin", out)
    assert "pypi:tiny==9.0" in message and "no such wheel" in message and "No matching distribution" in message
    assert "the newest is 1.0" in message
    assert "there is none of this kind" in fails("pypi:other==9.0!tiny/a.bin", out)
    assert not [p for p in cache.iterdir() if not p.name.endswith(".lock")]


@pytest.mark.parametrize("name, links", [("tiny/d/../../../evil", ()), ("tiny/d/link", ("tiny/d/link",))])
def test_members_that_lead_out_are_refused(tmp_path, index, name, links):
    make_wheel(index, "2.0", {"tiny/d/x": b"x", name: b"/etc/passwd"}, links)
    digest = sha256_file(index / "tiny-2.0-py3-none-any.whl")
    assert "leads out" in fails("pypi:tiny==2.0!tiny/d/", tmp_path / "out/d", archive_sha256=digest)
    assert not list(tmp_path.rglob("evil"))


# ---- where pip is told to look


@pytest.fixture
def from_server(index, monkeypatch):
    """The answers of an index with the wheel; nothing else is configured."""
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    for name, value in {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "2", "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    listing = f'<!DOCTYPE html><html><body><a href="/files/{WHEEL}">{WHEEL}</a></body></html>'.encode()
    html = {"Content-Type": "text/html"}
    return {"/simple/tiny/": (200, html, listing), f"/files/{WHEEL}": (200, {}, (index / WHEEL).read_bytes())}


def test_a_configuration_file_names_the_index_and_its_credentials(tmp_path, index, from_server, monkeypatch, capfd):
    with server(from_server, password="me:s3cret") as (address, asked):
        private = address.replace("http://", "http://me:s3cret@")
        (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {private}/simple\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        fetch(pinned(index, "tiny/a.bin"), tmp_path / "out/a")
        assert asked[-1] == f"/files/{WHEEL}"
        from_server[f"/files/{WHEEL}"] = (500, {}, b"")
        message = fails("pypi:tiny==1.0!tiny/b", tmp_path / "out/b", sha256=WRONG)
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")  # the environment comes before the file
        assert "no such wheel" in fails("pypi:tiny==1.0!tiny/c", tmp_path / "out/c", sha256=WRONG)
    assert (tmp_path / "out/a").read_bytes() == DATA
    assert "s3cret" not in message + "".join(capfd.readouterr())


def test_a_file_that_breaks_off_is_said_to(tmp_path, index, from_server, monkeypatch):
    whole = from_server[f"/files/{WHEEL}"]
    with server({**from_server, f"/files/{WHEEL}": ("cut", *whole[1:])}) as (address, _):
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
        assert "broken" in fails("pypi:tiny==1.0!tiny/a.bin", tmp_path / "out/a")


def test_an_index_may_be_a_folder(tmp_path, index, from_server, monkeypatch):
    (tmp_path / "simple/tiny").mkdir(parents=True)
    (tmp_path / "simple/tiny/index.html").write_text(f'<a href="../../index/{WHEEL}">{WHEEL}</a>')
    monkeypatch.setenv("PIP_INDEX_URL", f"file://{tmp_path}/simple")
    fetch(pinned(index, "tiny/a.bin"), tmp_path / "out/a")
    assert (tmp_path / "out/a").read_bytes() == DATA


def test_an_index_gives_no_file_a_place_outside(tmp_path, index, from_server, monkeypatch):
    name = f"..%2F..%2F{WHEEL}"
    listing = f'<a href="/files/{name}#egg=tiny-1.0">x</a>'.encode()
    answers = {"/simple/tiny/": (200, {"Content-Type": "text/html"}, listing)}
    answers[f"/files/{name}"] = from_server[f"/files/{WHEEL}"]
    before = {path for path in tmp_path.rglob("*") if path.name == WHEEL}
    with server(answers) as (address, _):
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
        with pytest.raises(UserError):
            fetch(spec("pypi:tiny==1.0!tiny/a.bin"), tmp_path / "out/a")
    assert {path for path in tmp_path.rglob("*") if path.name == WHEEL} == before


def test_no_module_of_the_working_folder_is_taken_for_pip(tmp_path, index, monkeypatch):
    (tmp_path / "work/pip").mkdir(parents=True)
    (tmp_path / "work/pip/__init__.py").write_text(RUNS.format(str(tmp_path / "ran")))
    monkeypatch.chdir(tmp_path / "work")
    fetch(pinned(index, "tiny/a.bin"), tmp_path / "out/a")
    assert not (tmp_path / "ran").exists()


def test_index_out_of_reach(tmp_path, index, from_server, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    assert "could not be reached" in fails("pypi:tiny==1.0!tiny/a.bin", tmp_path / "out/a")
