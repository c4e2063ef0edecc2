"""Sharing results as docs/sharing.md tells: a small project of this one's shape, two people, and real servers."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from urllib.request import Request, urlopen

import pandas as pd
import pytest
from whole.test_pipeline import ENV, ROOT, run

STUDENT = "artifacts/students/dskd-0"
FILES = {
    "params.yaml": "objectives:\n  dskd: {sense: 0.1}\n",
    "dvc.yaml": """
stages:
  harvest:
    cmd: python step.py harvest
    deps: [step.py]
    outs:
      - artifacts/states: {push: false}
  distill:
    cmd: python step.py distill
    deps: [step.py, artifacts/states]
    params: [objectives.dskd.sense]
    outs:
      - artifacts/students/dskd-0
      - reports/curves: {cache: false}
  report:
    cmd: python step.py report
    deps: [step.py, artifacts/students/dskd-0]
    metrics:
      - reports/metrics.json: {cache: false}
plots:
  - reports/curves:
      x: step
""",
    "step.py": """
import json, sys
from pathlib import Path
student, stage = Path("artifacts/students/dskd-0"), sys.argv[1]
print("ran", stage)
if stage == "harvest":
    Path("artifacts/states").mkdir(parents=True)
    Path("artifacts/states/0.bin").write_bytes(b"state" * 1000)
if stage == "distill":
    sense = float(Path("params.yaml").read_text().split("sense:")[1].strip(" }\\n"))
    student.mkdir(parents=True)
    (student / "config.json").write_text(json.dumps({"sense": sense}))
    (student / "model.bin").write_bytes(Path("artifacts/states/0.bin").read_bytes() + str(sense).encode())
    Path("reports/curves").mkdir(parents=True)
    rows = [f"{step}\\t{sense * step}\\n" for step in (1, 2)]
    Path("reports/curves/sense.tsv").write_text("step\\tsense\\n" + "".join(rows))
if stage == "report":
    sense = json.loads((student / "config.json").read_text())["sense"]
    Path("reports/metrics.json").write_text(json.dumps({"kl": 1 + sense}))
""",
    ".gitignore": "/artifacts/\n",
}


def name_author(folder: Path) -> None:
    run(folder, "git", "config", "user.name", "test")
    run(folder, "git", "config", "user.email", "test@localhost")


def commit(folder: Path, message: str) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "-m", message)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The small project after its first run; tests take copies, as a run takes seconds."""
    folder = tmp_path_factory.mktemp("finished")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    name_author(folder)
    run(folder, "dvc", "init", "--quiet")
    run(folder, "dvc", "repro", "--quiet")
    commit(folder, "the first run")
    return folder


@pytest.fixture
def first(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "first"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def start():
    """Start a server, wait until its port answers, and end it after the test."""
    servers = []

    def launch(port: int, *command: str, log: Path) -> None:
        with open(log, "w") as out:
            server = subprocess.Popen(command, env=ENV, stdout=out, stderr=subprocess.STDOUT)
        servers.append(server)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and server.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        pytest.fail(f"{command[0]} did not start: {log.read_text()[-2000:]}")

    yield launch
    for server in servers:
        server.terminate()
        server.wait(timeout=20)


def folder_remote(tmp_path, start) -> tuple[str, dict[str, str]]:
    return str(tmp_path / "storage"), {}


def ssh_remote(tmp_path, start) -> tuple[str, dict[str, str]]:
    sshd = Path("/usr/sbin/sshd")  # it wants to be started by its absolute path
    if not sshd.exists():
        pytest.skip("no sshd here: apt-get install openssh-server")
    port = free_port()
    for name in ("host", "user"):
        run(tmp_path, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name))
    shutil.copy(tmp_path / "user.pub", tmp_path / "authorized_keys")
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {tmp_path}/authorized_keys\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd, started by root, locks its helper in
    start(port, str(sshd), "-D", "-e", "-f", str(tmp_path / "sshd_config"), log=tmp_path / "sshd.log")
    user = run(tmp_path, "id", "-un").strip()
    return f"ssh://{user}@127.0.0.1:{port}{tmp_path}/storage", {"keyfile": str(tmp_path / "user")}


def webdav_remote(tmp_path, start) -> tuple[str, dict[str, str]]:
    port = free_port()
    (tmp_path / "storage/dskd").mkdir(parents=True)  # DVC does not make the folder that a remote begins with
    config = {
        "host": "127.0.0.1",
        "port": port,
        "provider_mapping": {"/": str(tmp_path / "storage")},
        "simple_dc": {"user_mapping": {"*": {"me": {"password": "secret"}}}},
    }
    (tmp_path / "wsgidav.json").write_text(json.dumps(config))
    server = [sys.executable, "-m", "wsgidav.server.server_cli", "--config", str(tmp_path / "wsgidav.json")]
    start(port, *server, log=tmp_path / "wsgidav.log")
    return f"webdav://127.0.0.1:{port}/dskd", {"user": "me", "password": "secret"}


def s3_remote(tmp_path, start) -> tuple[str, dict[str, str]]:
    for module in ("dvc_s3", "moto", "flask", "flask_cors"):
        pytest.importorskip(module, reason="pip install dvc-s3 moto flask flask-cors")
    port = free_port()
    start(port, sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), log=tmp_path / "moto.log")
    # DVC does not make buckets. The signature is not checked by this server; its parts name service and region.
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=me/20260101/us-east-1/s3/aws4_request"}
    request = Request(f"http://127.0.0.1:{port}/results", method="PUT", headers=signed)
    with urlopen(request, timeout=20) as answer:
        assert answer.status == 200
    secrets = {"access_key_id": "me", "secret_access_key": "secret", "region": "us-east-1"}
    return "s3://results/dskd", {"endpointurl": f"http://127.0.0.1:{port}", **secrets}


REMOTES = {"folder": folder_remote, "ssh": ssh_remote, "webdav": webdav_remote, "s3": s3_remote}


def add_secrets(folder: Path, secrets: dict[str, str]) -> None:
    for option, value in secrets.items():
        run(folder, "dvc", "remote", "modify", "--local", "storage", option, value)


def stages_to_run(folder: Path) -> list[str]:
    lines = run(folder, "dvc", "repro", "--dry", "--allow-missing").splitlines()
    return [line.split("'")[1] for line in lines if line.startswith("Running stage")]


def stored(folder: Path) -> list[Path]:
    return [path for path in (folder / "files/md5").rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", list(REMOTES))
def test_two_people_share_and_compare_their_runs(kind, first, tmp_path, start):
    url, secrets = REMOTES[kind](tmp_path, start)
    run(first, "dvc", "remote", "add", "--default", "storage", url)
    add_secrets(first, secrets)
    commit(first, "where results are")
    run(first, "dvc", "push", "--run-cache")
    assert "secret" not in (first / ".dvc/config").read_text()
    run(tmp_path, "git", "clone", "--quiet", "--bare", str(first), "hub.git")
    run(first, "git", "remote", "add", "origin", str(tmp_path / "hub.git"))
    run(first, "git", "fetch", "--quiet", "origin")
    run(first, "git", "branch", "--quiet", "--set-upstream-to", "origin/main")

    run(tmp_path, "git", "clone", "--quiet", "hub.git", "second")
    second = tmp_path / "second"
    name_author(second)
    if secrets:  # in the second's own file, as the same commands would write it: each takes a second
        shutil.copy(first / ".dvc/config.local", second / ".dvc/config.local")
    run(second, "dvc", "pull", "--allow-missing")
    for name in ("config.json", "model.bin"):
        assert (second / STUDENT / name).read_bytes() == (first / STUDENT / name).read_bytes()
    assert not (second / "artifacts/states/0.bin").exists()
    assert stages_to_run(second) == []

    params = second / "params.yaml"
    params.write_text(params.read_text().replace("0.1", "0.3"))
    out = run(second, "dvc", "repro")
    assert "ran harvest" in out and "ran distill" in out  # the states, which were not pushed, are made again
    commit(second, "another weight")
    run(second, "dvc", "push", "--run-cache")
    run(second, "git", "push", "--quiet")

    run(first, "git", "pull", "--quiet")
    run(first, "dvc", "pull", "--allow-missing")
    assert json.loads((first / STUDENT / "config.json").read_text()) == {"sense": 0.3}
    assert stages_to_run(first) == []
    (change,) = json.loads(run(first, "dvc", "params", "diff", "HEAD~1", "--json"))["params.yaml"].values()
    assert (change["old"], change["new"]) == (0.1, 0.3)
    change = json.loads(run(first, "dvc", "metrics", "diff", "HEAD~1", "--json"))["reports/metrics.json"]["kl"]
    assert change["diff"] == pytest.approx(0.2)
    run(first, "dvc", "plots", "diff", "HEAD~1", "--out", "plots")
    page = (first / "plots/index.html").read_text()
    assert "sense.tsv" in page and '"rev": "HEAD~1"' in page and '"rev": "workspace"' in page

    # Without a clone of one's own.
    hub = str(tmp_path / "hub.git")
    options = [text for pair in secrets.items() for text in ("--remote-config", "=".join(pair))]
    run(tmp_path, "dvc", "get", hub, STUDENT, "--out", "student", *options)
    assert (tmp_path / "student/model.bin").read_bytes() == (first / STUDENT / "model.bin").read_bytes()
    code = (
        "import json, sys, dvc.api\n"
        "repo, path, secrets = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])\n"
        "with dvc.api.open(path, repo=repo, rev='main~1', remote_config=secrets) as file:\n"
        "    print(json.load(file)['sense'])\n"
    )
    out = run(tmp_path, sys.executable, "-c", code, hub, f"{STUDENT}/config.json", json.dumps(secrets))
    assert out.split()[-1] == "0.1"


@pytest.mark.parametrize("verified", [True, False])
def test_what_a_remote_gives_is_compared_with_its_hash_if_dvc_is_told_so(first, tmp_path, verified):
    storage, other = tmp_path / "storage", b"other" * 1001
    run(first, "dvc", "remote", "add", "--default", "storage", str(storage))
    page = (ROOT / "docs/sharing.md").read_text()
    (command,) = [line for line in page.splitlines() if line.startswith("dvc remote modify storage verify")]
    if verified:
        run(first, *command.split("#")[0].split())
    commit(first, "where results are")
    run(first, "dvc", "push")
    (weights,) = [path for path in stored(storage) if path.read_bytes().startswith(b"state")]
    weights.chmod(0o644)
    weights.write_bytes(other)
    run(tmp_path, "git", "clone", "--quiet", str(first), "second")
    run(tmp_path / "second", "dvc", "pull", "--allow-missing")
    there = tmp_path / "second" / STUDENT / "model.bin"
    assert not there.exists() if verified else there.read_bytes() == other


def test_a_push_that_was_cut_off_goes_on(first, tmp_path):
    storage = tmp_path / "storage"
    run(first, "dvc", "remote", "add", "--default", "storage", str(storage))
    large = first / "large"
    large.mkdir()
    for number in range(200):
        (large / f"{number}.bin").write_bytes(number.to_bytes(2, "big") * 50_000)
    run(first, "dvc", "add", "--quiet", "large")
    push = subprocess.Popen(["dvc", "push", "--jobs", "1"], cwd=first, env=ENV, start_new_session=True)
    while len(stored(storage)) < 5 and push.poll() is None:
        time.sleep(0.005)
    os.killpg(push.pid, signal.SIGKILL)
    assert push.wait() == -signal.SIGKILL
    assert 0 < len(stored(storage)) < 200

    run(first, "dvc", "push")
    assert "Everything is up to date" in run(first, "dvc", "push")
    commit(first, "more")
    run(tmp_path, "git", "clone", "--quiet", str(first), "second")
    run(tmp_path / "second", "dvc", "pull", "large")
    for number in range(200):
        assert (tmp_path / f"second/large/{number}.bin").read_bytes() == number.to_bytes(2, "big") * 50_000


def test_experiments_run_at_once_and_from_the_queue(first):
    run(first, "dvc", "exp", "run", "--name", "now", "-S", "objectives.dskd.sense=0.2")
    assert json.loads((first / "reports/metrics.json").read_text()) == {"kl": 1.2}
    for name, sense in (("half", 0.5), ("all", 1.0)):
        run(first, "dvc", "exp", "run", "--queue", "--name", name, "-S", f"objectives.dskd.sense={sense}")
    run(first, "dvc", "exp", "run", "--run-all")
    table = pd.read_csv(StringIO(run(first, "dvc", "exp", "show", "--csv"))).set_index("Experiment")
    assert table.loc[table.index.dropna(), "kl"].to_dict() == pytest.approx({"now": 1.2, "half": 1.5, "all": 2.0})
    run(first, "dvc", "exp", "apply", "half")
    assert json.loads((first / "reports/metrics.json").read_text()) == {"kl": 1.5}
    assert json.loads((first / STUDENT / "config.json").read_text()) == {"sense": 0.5}
    assert "sense: 0.5" in (first / "params.yaml").read_text()
