"""A Hugging Face hub in memory that one can push to and pull from: as much of its protocol as the client uses."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

TOKEN = "hf_secretsecretsecret"
_LARGE = (".safetensors", ".parquet")  # which the hub wants by the large-file protocol


class Repository:
    """Files by name; every commit counts on."""

    def __init__(self, private: bool):
        self.files: dict[str, bytes] = {".gitattributes": b"*.safetensors filter=lfs\n"}
        self.private, self.commits = private, 0

    @property
    def revision(self) -> str:
        return f"{self.commits:040x}"


class Hub:
    """Its repositories by "models/OWNER/NAME" and "datasets/OWNER/NAME", and every request as "METHOD path"."""

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        self.large: dict[str, bytes] = {}
        self.refuses = ""  # a request whose path holds this is answered 403

    def answer(self, method: str, path: str, body: bytes, address: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        if path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body), address)
        if path.startswith("/large/"):
            self.large[path.removeprefix("/large/")] = body
            return _json({})
        if path.startswith("/api/"):
            kind, owner, name, *rest = path.removeprefix("/api/").split("/")
            return self._api(f"{kind}/{owner}/{name}", rest, body, address)
        name = path[1:] if path.startswith("/datasets/") else f"models{path}"
        if name.endswith(".git/info/lfs/objects/batch"):
            signed = {"href": f"{address}/large/OID?X-Amz-Signature=signature"}
            objects = [
                {**one, "actions": {"upload": {"href": signed["href"].replace("OID", one["oid"])}}}
                for one in json.loads(body)["objects"]
            ]
            return _json({"transfer": "basic", "objects": objects})
        repository, _, file = name.partition("/resolve/")
        return self._file(repository, unquote(file.partition("/")[2]))

    def _create(self, wanted: dict, address: str) -> tuple[int, dict[str, str], bytes]:
        name = f"{wanted.get('type', 'model')}s/{wanted['organization']}/{wanted['name']}"
        private = wanted.get("visibility") == "private" or wanted.get("private") is True
        self.repositories[name] = Repository(private)
        return _json({"url": f"{address}/{name.removeprefix('models/')}"})

    def _api(self, name: str, rest: list[str], body: bytes, address: str) -> tuple[int, dict[str, str], bytes]:
        if name not in self.repositories:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        repository = self.repositories[name]
        if not rest or rest[0] == "revision":
            siblings = [{"rfilename": file} for file in repository.files]
            known = {"_id": "1", "id": name.partition("/")[2], "sha": repository.revision, "siblings": siblings}
            return _json({**known, "private": repository.private})
        if rest[0] == "tree":
            return _json([_entry(file, content) for file, content in repository.files.items()])
        if rest[0] == "preupload":
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = ["lfs" if file.endswith(_LARGE) else "regular" for file in files]
            found = [{"path": f, "uploadMode": mode, "shouldIgnore": False} for f, mode in zip(files, modes)]
            return _json({"files": found})
        assert rest[0] == "commit", rest
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.large[value["oid"]]
            else:
                assert line["key"] == "header", line
        repository.commits += 1
        place = f"{address}/{name.removeprefix('models/')}/commit/{repository.revision}"
        return _json({"commitUrl": place, "commitOid": repository.revision})

    def _file(self, name: str, file: str) -> tuple[int, dict[str, str], bytes]:
        if name not in self.repositories or file not in self.repositories[name].files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        repository = self.repositories[name]
        content = repository.files[file]
        head = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": repository.revision, "Accept-Ranges": "bytes"}
        return 200, head, content


def _json(value) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _entry(file: str, content: bytes) -> dict:
    return {"type": "file", "path": file, "size": len(content), "oid": _oid(content)}


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def hub():
    """A running hub, with its `address`. Only who shows `TOKEN` may do anything; a refusal repeats what was shown."""
    found = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _any(self):
            path = self.path.partition("?")[0]
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            found.asked.append(f"{self.command} {path}")
            shown = self.headers["Authorization"]
            signed = path.startswith("/large/")  # an address that was signed needs no token
            if (shown != f"Bearer {TOKEN}" and not signed) or (found.refuses and found.refuses in path):
                answer = 403, {"X-Error-Message": f"not for {shown}"}, b"{}"
            else:
                answer = found.answer(self.command, path, body, found.address)
            status, headers, content = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_PUT = _any

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
