"""Sources and parameters from a hostile hand: readers return, or raise a UserError of one line."""

import io
import re
import shutil
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from tools.hostile import ROOT, bounded_memory, damaged, fuzz, in_folder, survives  # noqa: F401 (a fixture for all)

from dskd.benchmarks import files as benchmark_files
from dskd.errors import UserError
from dskd.infra.hashes import sha256_file
from dskd.infra.profiles import apply_profile
from dskd.params import Source, load_params
from dskd.sources import archives, package_index, readers
from dskd.sources import fetch as fetch_module
from dskd.sources.fetch import fetch

# --- sources ---------------------------------------------------------------------------------------------------------

NAMES = [
    "d/x",
    "d/e/y",
    "d/../../z",
    "d//etc/z",
    "/d/z",
    "d/./z",
    "d/..",
    "d/e",
    "d/" + "n" * 300,
    "d/a\\b",
    "d",
    "d/é\n",
]


def zipped(members, compression) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", compression) as archive:
        warnings.simplefilter("ignore")  # names that come twice
        for name, content, mode in members:
            item = zipfile.ZipInfo(name)
            item.external_attr, item.compress_type = mode << 16, compression
            archive.writestr(item, content)
    return out.getvalue()


def tarred(members, mode) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content, kind in members:
            item = tarfile.TarInfo(f"top/{name}")
            item.type, item.linkname, item.size = kind, "../../z", len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(item, io.BytesIO(content))
    return out.getvalue()


def members(kinds):
    return st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=30), st.sampled_from(kinds)), max_size=5)


LINK, FILE = 0o120777, 0o100644
zips = st.builds(zipped, members([FILE, FILE, LINK]), st.sampled_from([0, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]))
TYPES = [tarfile.REGTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
tars = st.builds(tarred, members(TYPES), st.sampled_from(["w:gz", "w:bz2", "w:xz", "w"]))


@fuzz(st.data(), zips | tars, st.sampled_from(["wheel", "sdist"]), st.sampled_from(["d/", "d/x", "top/d/"]))
def test_an_archive_may_be_anything_and_writes_only_where_it_belongs(tmp_path, data, archive, kind, path):
    shutil.rmtree(tmp_path, ignore_errors=True)
    (tmp_path / "in").mkdir(parents=True)
    (tmp_path / "in/archive").write_bytes(data.draw(damaged(archive)) if data.draw(st.booleans()) else archive)
    pins = {"archive_sha256": sha256_file(tmp_path / "in/archive"), "sha256": "0" * 64}
    spec = Source(source=f"pypi:tiny==1!{path}", archive=kind, licence="none", **pins)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of names that come twice
        patch.setattr(package_index, "download_archive", lambda *_: tmp_path / "in/archive")
        patch.setenv("DSKD_CACHE", str(tmp_path / "cache"))
        with survives(spec.source):
            fetch(spec, tmp_path / "out/there")
            pytest.fail("an archive with another hash was taken")
    left = [name for name in in_folder(tmp_path) if not name.endswith(".lock")]
    assert left in (["cache", "in", "in/archive", "out"], ["cache", "in", "in/archive"])


@fuzz(st.data(), zips | tars, st.booleans())
def test_members_of_an_archive_stay_below_their_folder(tmp_path, data, archive, unwrap):
    shutil.rmtree(tmp_path, ignore_errors=True)
    tmp_path.mkdir()
    (tmp_path / "archive").write_bytes(archive)
    with warnings.catch_warnings(), survives("tiny", "archive"):
        warnings.simplefilter("ignore")
        try:
            archives.extract(tmp_path / "archive", "d/", tmp_path / "a/b/target", "tiny", unwrap)
        except OSError as error:
            assert error.filename is None or str(error.filename).startswith(str(tmp_path / "a/b/target"))
    assert all(name in ("archive", "a", "a/b") or name.startswith("a/b/target") for name in in_folder(tmp_path))
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert not Path("/etc/z").exists()


@fuzz(zips.flatmap(damaged))
def test_the_archive_of_a_benchmark_may_be_anything(tmp_path, content):
    (tmp_path / "archives").mkdir(exist_ok=True)
    (tmp_path / "archives/_x.zip").write_bytes(content)
    with warnings.catch_warnings(), survives():
        warnings.simplefilter("ignore")
        try:
            benchmark_files.fetch("https://nowhere.example/x.zip!d/x", tmp_path, set())
        except benchmark_files.Unavailable as error:
            assert len(str(error).splitlines()) == 1


FORMS = [
    "pypi:",
    "hf:",
    "nltk:",
    "https://",
    "https://h/",
    "http://localhost:9/",
    "http://h/",
    "file:/nowhere/",
    "file:~nobody-",
    "ftp:",
    "",
    "file:/nowhere/" + "n" * 300,
    "file:/dev/zero",
]
REST = [
    "-r==x!b",
    "://me:s3cret@h/",
    " + pypi:",
    "a==1!b",
    "a/b@c!d",
    "../",
    "!",
    "@",
    "==",
    "\0",
    "\n",
    "\ud800",
    "\u2028",
    "x",
    "n" * 300,
    "~",
]


@fuzz(st.sampled_from(FORMS), st.lists(st.sampled_from(REST) | st.text(max_size=5), max_size=4).map("".join))
def test_a_source_may_be_any_text(tmp_path, form, rest):
    sums = " + ".join(["0" * 64] * (form + rest).count("pypi:"))
    try:
        spec = Source(source=form + rest, sha256="0" * 64, archive_sha256=sums or None, licence="none")
    except ValueError:  # pydantic: half a surrogate pair, or a password
        return

    def reached(place, *_):
        raise UserError(f"{place.text} was read")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSKD_CACHE", str(tmp_path / "cache"))
        for name in ("read_pypi", "read_hub", "read_nltk", "read_https"):
            patch.setattr(fetch_module, name, reached)
        for module in (fetch_module, readers):
            patch.setattr(module, "copy", lambda path, _: pytest.fail(f"{path} was copied"))
        texts = [spec.source, *spec.parts()]
        texts += [re.sub("//.*@", "//", text) for text in texts]  # what could be a password
        names = [show(text) for text in texts for show in (str, ascii, repr)]
        with survives(*names):
            fetch(spec, tmp_path / "out/x")
    assert not [name for name in in_folder(tmp_path) if not name.startswith("cache") and name != "out"]


# --- parameters ------------------------------------------------------------------------------------------------------

PARAMS = (ROOT / "params.yaml").read_bytes()
YAML = [
    b"&a [*a]",
    b"!!binary x",
    b"2001-99-99",
    b"0x" + b"f" * 5000,
    b"? [a]\n: b",
    b"*b",
    b"!!timestamp x",
    b"- &b [x]",
]
YAML += [
    b"{" * 3000,
    b"!!set {a}",
    b"<<: [1]",
    b"!!omap [a]",
    b".nan",
    b"1_0",
    b"---\n...\n---",
    b"%YAML 9.9\n---\n",
    b"'",
]


@st.composite
def hostile_yaml(draw, whole: bytes):
    text = draw(damaged(whole, most=2))
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.sampled_from([b"", *YAML])) + text[at:]


@fuzz(hostile_yaml(PARAMS))
def test_a_file_of_parameters_may_be_anything(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with warnings.catch_warnings(), survives(path):
        warnings.simplefilter("ignore")  # ruamel's, of anchors
        load_params(path)


def test_aliases_of_aliases_in_parameters_make_no_endless_message(tmp_path):
    laughs = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10) if i else 'x'}]\n" for i in range(30))
    (tmp_path / "params.yaml").write_text(laughs + "senses: *a29\n")
    with pytest.raises(UserError, match="senses = ") as caught:
        load_params(tmp_path / "params.yaml")
    assert len(str(caught.value)) < 5000


@fuzz(st.data(), st.booleans(), share=8)
def test_a_profile_may_be_anything_and_never_half_changes_the_parameters(tmp_path, data, first):
    (tmp_path / "profiles").mkdir(exist_ok=True)
    profile, target = tmp_path / "profiles/x.yaml", tmp_path / "params.yaml"
    small = b"runtime:\n  threads: 2\ncorpus:\n  train_tokens: 32\n"
    profile.write_bytes(data.draw(hostile_yaml(small)) if first else small)
    target.write_bytes(PARAMS if first else data.draw(hostile_yaml(PARAMS)))
    before = target.read_bytes()
    with warnings.catch_warnings(), survives(tmp_path):
        warnings.simplefilter("ignore")
        apply_profile("x", tmp_path)
        load_params(target)
        before = target.read_bytes()
    assert target.read_bytes() == before and in_folder(tmp_path) == ["params.yaml", "profiles", "profiles/x.yaml"]


@fuzz(st.text() | st.sampled_from(["../x", "/etc/passwd", "n" * 300, "\0", "..", ".", ""]))
def test_the_name_of_a_profile_may_be_any_text(tmp_path, name):
    (tmp_path / "profiles").mkdir(exist_ok=True)
    (tmp_path / "x.yaml").write_text("{}")
    with survives("no profile"):
        apply_profile(name, tmp_path)
        pytest.fail("there is none")
