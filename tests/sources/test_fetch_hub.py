"""The hub and NLTK as sources: local servers answer as the real ones do."""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sources.test_fetch import DATA, SHA, fails, spec, tree_hash

from dskd.infra.hashes import sha256_tree
from dskd.sources.fetch import fetch

COMMIT = "c" * 40


@contextmanager
def server(answers, password=None):
    """Serve {path: (status, headers, body)}; yields its address and the list of paths asked for.

    For a status of "silent" there is no answer, for "cut" it ends in the middle, for "slow" it waits there. With a
    password, "user:password", others are turned away.
    """
    asked, ended = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            asked.append(path)
            status, headers, body = answers.get(path, (404, {}, b"not here"))
            if password and self.headers["Authorization"] != f"Basic {base64.b64encode(password.encode()).decode()}":
                status, headers, body = 401, {"WWW-Authenticate": 'Basic realm="x"'}, b"who are you?"
            if status == "silent":
                ended.wait(20)
                return
            self.send_response(200 if status in ("cut", "slow") else status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                half = len(body) // 2 if status in ("cut", "slow") else len(body)
                self.wfile.write(body[:half])
                if status == "slow":
                    ended.wait(1.2)
                    self.wfile.write(body[half:])

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}", asked
    finally:
        ended.set()
        httpd.shutdown()
        httpd.server_close()
        thread.join()


# ---- Hugging Face hub: its client reads the environment at import, hence another process

HUB_FILES = {"config.json": b'{"a": 1}\n', "sub/w.bin": DATA}
FETCH = """
import sys
from dskd.errors import UserError
from dskd.params import Source
from dskd.sources.fetch import fetch
try:
    fetch(Source(source=sys.argv[1], sha256=sys.argv[2], licence="none"), sys.argv[3])
except UserError as error:
    print(error)
    sys.exit(3)
"""


def hub_answers():
    git = {n: hashlib.sha1(b"blob %d\0" % len(c) + c).hexdigest() for n, c in HUB_FILES.items()}
    info = {"_id": "1", "id": "o/m", "sha": COMMIT, "siblings": [{"rfilename": n} for n in HUB_FILES]}
    tree = [{"type": "file", "path": n, "size": len(c), "oid": git[n]} for n, c in HUB_FILES.items()]
    json_type = {"Content-Type": "application/json"}
    answers = {f"/api/models/o/m/revision/{rev}": (200, json_type, json.dumps(info).encode()) for rev in ("v1", COMMIT)}
    answers |= {f"/api/models/o/m/tree/{rev}": (200, json_type, json.dumps(tree).encode()) for rev in ("v1", COMMIT)}
    for name, content in HUB_FILES.items():
        head = {"ETag": f'"{git[name]}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        answers |= {f"/o/m/resolve/{rev}/{name}": (200, head, content) for rev in ("v1", COMMIT)}
    return answers


def hub_fetch(tmp_path, address, source, sha, **env):
    env = {
        **os.environ,
        "HF_ENDPOINT": address,
        "HF_HOME": str(tmp_path / "hf"),
        "DSKD_CACHE": str(tmp_path / "cache"),
        "NO_PROXY": "127.0.0.1",
        **env,
    }
    for name in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]:
        env[name] = env.get(f"TEST_{name}", "0")
    command = [sys.executable, "-c", FETCH, source, sha, str(tmp_path / "out/m")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 3), done.stderr
    return done.stdout


def test_hub_repository_and_file(tmp_path):
    with server(hub_answers()) as (address, asked):
        assert hub_fetch(tmp_path, address, "hf:o/m@v1", tree_hash(HUB_FILES)) == ""
        assert sha256_tree(tmp_path / "out/m") == tree_hash(HUB_FILES)
        assert sorted(p.name for p in (tmp_path / "out/m").iterdir()) == ["config.json", "sub"]
        assert f"/o/m/resolve/{COMMIT}/config.json" in asked
        shutil.rmtree(tmp_path / "out/m")
        assert hub_fetch(tmp_path, address, "hf:o/m@v1!sub/w.bin", SHA) == ""
        assert (tmp_path / "out/m").read_bytes() == DATA


def test_hub_errors(tmp_path):
    with server({"/api/models/o/m/revision/v1": (500, {}, b"broken")}) as (address, _):
        for source in ["hf:o/m@v1", "hf:o/none@v1!a"]:
            message = hub_fetch(tmp_path, address, source, SHA)
            assert source in message and address in message and message.count("\n") == 1
        message = hub_fetch(tmp_path, address, "hf:o/m@v1", SHA, TEST_HF_HUB_OFFLINE="1")
        assert "HF_HUB_OFFLINE" in message and message.count("\n") == 1
    assert not (tmp_path / "out/m").exists()


# ---- NLTK


@pytest.fixture
def nltk_server(tmp_path, monkeypatch):
    import nltk.downloader

    def urlopen(*args, **kwargs):
        try:
            return urllib.request.urlopen(*args, **kwargs)
        except urllib.error.HTTPError as error:
            error.close()  # NLTK leaves its socket open
            raise

    # NLTK's own refuses addresses of the machine that it runs on; here the server is one.
    monkeypatch.setattr(nltk.downloader, "urlopen", urlopen)
    monkeypatch.setattr(nltk.data, "path", list(nltk.data.path))
    monkeypatch.setenv("DSKD_CACHE", str(tmp_path / "cache"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("toy/", "")
        archive.writestr("toy/words", DATA)
    packed = packed.getvalue()
    answers = {"/toy.zip": (200, {}, packed), "/broken.xml": (200, {}, b"<nltk"), "/500.xml": (500, {}, b"")}
    with server(answers) as (address, asked):
        digests = f'checksum="{hashlib.md5(packed).hexdigest()}" sha256_checksum="{hashlib.sha256(packed).hexdigest()}"'
        package = f'<package id="toy" name="Toy" subdir="corpora" unzip="0" size="{len(packed)}" unzipped_size="1000"'
        index = f'<?xml version="1.0"?><nltk_data><packages>{package} {digests} url="{address}/toy.zip"/>'
        index += f'{package.replace("toy", "lost")} {digests} url="{address}/lost.zip"/></packages></nltk_data>'
        answers["/index.xml"] = (200, {}, index.encode())
        monkeypatch.setenv("NLTK_DOWNLOAD_URL", f"{address}/index.xml")
        yield address, asked


def test_nltk(tmp_path, nltk_server):
    _, asked = nltk_server
    for name in ["one", "two"]:
        fetch(spec("nltk:corpora/toy", tree_hash({"words": DATA})), tmp_path / name)
        assert (tmp_path / name / "words").read_bytes() == DATA
    assert asked.count("/toy.zip") == 1


def test_nltk_errors(tmp_path, nltk_server, monkeypatch):
    out = tmp_path / "out/x"
    assert "nltk:corpora/none" in fails("nltk:corpora/none", out)
    assert "NLTK has corpora/toy" in fails("nltk:models/toy", out)
    assert "404" in fails("nltk:corpora/lost", out)
    for page in ["broken", "500", "404"]:
        monkeypatch.setenv("NLTK_DOWNLOAD_URL", f"{nltk_server[0]}/{page}.xml")
        assert "NLTK's downloader could not fetch it" in fails("nltk:corpora/toy", out)
