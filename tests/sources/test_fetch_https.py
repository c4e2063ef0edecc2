"""A file from a web server, as a source: servers on this machine."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from sources.test_fetch import DATA, SHA, WRONG, cache, fails, spec  # noqa: F401 (a fixture for all)
from sources.test_fetch_hub import server

from dskd.errors import UserError
from dskd.sources import download, readers
from dskd.sources.fetch import fetch
from dskd.sources.grammar import parse

WAY_OUT = "write file:PATH as the source in params.yaml, with the same sha256"


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


def test_a_file_is_fetched_once(tmp_path):
    with server({"/a/b.bin": (200, {}, DATA)}) as (address, asked):
        for name in ("one", "two"):
            fetch(spec(f"{address}/a/b.bin"), tmp_path / name)
            assert (tmp_path / name).read_bytes() == DATA
    assert asked == ["/a/b.bin"]
    fetch(spec("https://nowhere.invalid/b.bin"), tmp_path / "three")  # its content is in the cache
    assert (tmp_path / "three").read_bytes() == DATA


def test_a_redirect_is_followed_and_never_to_plain_http_elsewhere(tmp_path):
    answers = {"/a": (302, {"Location": "/b"}, b""), "/b": (200, {}, DATA), "/loop": (302, {"Location": "/loop"}, b"")}
    answers |= {f"/{code}": (code, {"Location": f"http://example.org/{code}"}, b"") for code in (301, 302, 307, 308)}
    answers["/ftp"] = (302, {"Location": "ftp://example.org/x"}, b"")
    with server(answers) as (address, _):
        for code in (301, 302, 307, 308):
            message = fails(f"{address}/{code}", tmp_path / "out/x")
            assert f"answered {code} and leads to http://example.org/{code}, which is no https" in message
        assert "ftp://example.org/x" in fails(f"{address}/ftp", tmp_path / "out/x")
        assert "answered 302" in fails(f"{address}/loop", tmp_path / "out/x")
        fetch(spec(f"{address}/a"), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA


@pytest.mark.parametrize("source", ["http://example.org/a", "http://localhost.example.org/a", "http://127.0.0.11/a"])
def test_plain_http_is_refused_unless_it_stays_on_this_machine(tmp_path, source):
    assert f"{source}: what comes over http can be changed on its way" in fails(source, tmp_path / "out/x")


MALFORMED = ["https:", "https://h", "https://h/", "https:///a", "https://h/a?b", "https://h/a#b", "https:h/a"]
MALFORMED += ["https://h:x/a", "https://h/a b", "https://h/é", "http://", "https://h/a.zip!../b", "https://h/a.zip!"]


@pytest.mark.parametrize("source", MALFORMED)
def test_malformed(tmp_path, source):
    message = fails(source, tmp_path / "out/x")
    assert "malformed" in message and "https://HOST/PATH" in message


@pytest.mark.parametrize("address", ["https://me@h/a", "https://me:s3cret@h/a", "https://me:s3/cret@h/a"])
def test_an_address_with_a_password_is_refused_without_telling_it(address):
    """params.yaml, reports and students' cards would tell it."""
    with pytest.raises(UserError, match="malformed") as caught:
        parse(address)
    assert "s3" not in str(caught.value) and "me" not in str(caught.value).split(" is malformed")[0]


def test_one_file_of_an_archive(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("d/b.bin", DATA)
    with server({"/a.zip": (200, {}, packed.getvalue()), "/b.zip": (200, {}, b"no archive")}) as (address, _):
        fetch(spec(f"{address}/a.zip!d/b.bin"), tmp_path / "b")
        assert "d/c is not in a.zip" in fails(f"{address}/a.zip!d/c", tmp_path / "out/x", sha256=WRONG)
        assert "b.zip is damaged" in fails(f"{address}/b.zip!d/b.bin", tmp_path / "out/x", sha256=WRONG)
        assert "a.zip has SHA-256" in fails(
            f"{address}/a.zip!d/b.bin", tmp_path / "out/x", sha256=WRONG, archive_sha256=WRONG
        )
        parts = f"{address}/a.zip!d/b.bin + {address}/a.zip!d/b.bin"
        right = hashlib.sha256(packed.getvalue()).hexdigest()
        for sums in (f"{WRONG} + {right}", f"{right} + {WRONG}"):
            assert "a.zip has SHA-256" in fails(parts, tmp_path / "out/x", sha256=WRONG, archive_sha256=sums)
    assert (tmp_path / "b").read_bytes() == DATA


def test_a_password_goes_to_its_own_host_alone_and_into_no_message(tmp_path):
    """That of HF_ENDPOINT: an address in params.yaml holds none."""
    with server({"/x": (200, {}, DATA)}, password="me:word") as (other, _):
        answers = {"/a": (200, {}, DATA), "/away": (302, {"Location": f"{other}/x"}, b"")}
        with server(answers, password="me:s3cret") as (address, _):
            private = address.replace("//", "//me:s3cret@")
            download.download(f"{private}/a", tmp_path / "x", 1 << 20)
            assert (tmp_path / "x").read_bytes() == DATA
            for path, says in {"/away": "answered 401", "/none": "answered 404"}.items():
                with pytest.raises(download.DownloadError, match=says) as caught:
                    download.download(f"{private}{path}", tmp_path / "y", 1 << 20)
                assert "s3cret" not in str(caught.value)


def test_what_fails_is_one_line_that_names_the_source_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    answers = {"/a": (200, {}, DATA), "/cut": ("cut", {}, DATA), "/silent": ("silent", {}, b""), "/500": (500, {}, b"")}
    out = tmp_path / "out/x"
    with server(answers) as (address, _):
        for path, says in {
            "/none": "answered 404 Not Found",
            "/500": "answered 500 Internal Server Error",
            "/cut": "broke off after 500 of 1000 bytes",
            "/silent": "could not be reached (TimeoutError: timed out)",
        }.items():
            message = fails(f"{address}{path}", out)
            assert message.startswith(f"{address}{path} {says}; ") and message.endswith(WAY_OUT)
        assert f"{address}/a: SHA-256 is {SHA}" in fails(f"{address}/a", out, sha256=WRONG)
        monkeypatch.setattr(readers, "_LARGEST_DOWNLOAD", 999)
        assert "/a is larger than 0 MiB; " in fails(f"{address}/a", out)
    assert "could not be reached (URLError: " in fails(f"{address}/a", out)
    assert "could not be reached (" in fails("http://localhost:99999/a", out)
    assert "could not be reached (URLError: " in fails("https://nowhere.invalid/a", out)


def test_a_server_without_a_certificate_gives_nothing(tmp_path):
    with server({"/a": (200, {}, DATA)}) as (address, asked):
        message = fails(f"{address.replace('http:', 'https:')}/a", tmp_path / "out/x")
    assert "SSL" in message and asked == []


def test_what_takes_longer_than_a_second_has_a_bar_where_the_length_is_known(tmp_path, capsys):
    answers = {"/known": ("slow", {}, DATA), "/unknown": ("slow", {"Content-Length": ""}, DATA), "/a": (200, {}, DATA)}
    with server(answers) as (address, _):
        for name in answers:
            download.download(f"{address}{name}", tmp_path / "x", len(DATA))
            assert (tmp_path / "x").read_bytes() == DATA
    bars = capsys.readouterr().err
    assert "known: 100%" in bars and "1.00k/1.00k" in bars and "unknown" not in bars and "a:" not in bars


def test_a_full_disk_is_no_fault_of_the_network():
    with server({"/a": (200, {}, DATA * 100)}) as (address, _), pytest.raises(OSError, match="No space left"):
        download.download(f"{address}/a", Path("/dev/full"), 1 << 20)
