"""Push and pull, by the real client, to and from a hub on this machine."""

import hashlib
import os
import subprocess
import sys

import pytest
import yaml
from huggingface_hub import constants
from tiny.hub import TOKEN, Repository, hub
from tiny.project import files

from dskd.__main__ import main
from dskd.errors import UserError
from dskd.infra.artifacts import require
from dskd.infra.hashes import SUMS, remove
from dskd.lexicon.store import load_lexicon, save_lexicon
from dskd.share.bundle import check_names

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the hub's client, to httpx

PLACES = {"dskd-0": "artifacts/students/dskd-0", "senses": "artifacts/senses", "lexicon": "artifacts/lexicon.parquet"}
KINDS = {"dskd-0": "models", "senses": "models", "lexicon": "datasets"}
HEARTS = {"dskd-0": "config.json", "senses": "senses.safetensors", "lexicon": "lexicon.parquet"}


@pytest.fixture
def server(monkeypatch):
    """A hub that this process's client takes for the real one, which knows its token."""
    with hub() as found:
        template = f"{found.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # there is no such storage here
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield found


@pytest.fixture
def ask(capsys):
    """Runs a command; gives its exit code, what it prints, and its message. No secret is in either."""

    def asked(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(arguments))
        out, err = capsys.readouterr()
        print(out, err)  # for who reads a failure
        assert TOKEN not in out + err and "signature" not in out + err and "Traceback" not in err
        return code, out, err.rpartition("dskd: ")[2].rstrip("\n") if code else ""

    return asked


@pytest.fixture
def pushed(project, server, ask):
    """A hub with the student dskd-0, which is no longer here."""
    assert ask("push", "dskd-0", "o/n")[0] == 0
    remove(PLACES["dskd-0"])
    return server.repositories["models/o/n"].files


def sums(stored: dict[str, bytes]) -> bytes:
    lines = [f"{hashlib.sha256(stored[name]).hexdigest()}  {name}\n" for name in sorted(stored)]
    return "".join(line for line in lines if not line.endswith(f"  {SUMS}\n") and ".gitattr" not in line).encode()


@pytest.mark.parametrize("name", PLACES)
def test_what_was_pushed_is_pulled_as_it_was(project, server, ask, name):
    before = files(project / "artifacts")
    code, out, _ = ask("push", name, "o/n")
    assert code == 0 and out.splitlines()[-1] == f"sent as revision {1:040x}"
    repository = server.repositories[f"{KINDS[name]}/o/n"]
    assert repository.private and repository.commits == 1
    assert {"README.md", "LICENSE.md", SUMS, HEARTS[name]} <= repository.files.keys()
    assert repository.files[SUMS] == sums(repository.files)
    assert files(project / "artifacts") == before  # card and licences are made beside it

    remove(PLACES[name])
    assert ask("pull", name, "o/n")[:2] == (0, f"wrote {PLACES[name]}\n")
    after = files(project / "artifacts")
    if name == "senses":  # which has a card, licences, a tokenizer, and the checksums of these now
        beside = {"README.md", "LICENSE.md", SUMS, "tokenizer.json", "tokenizer_config.json"}
        assert beside <= repository.files.keys()
        for file in beside:
            assert after.pop(f"senses/{file}") == hashlib.sha256(repository.files[file]).hexdigest()
            before.pop(f"senses/{file}", None)
    assert after == before
    require(PLACES[name], "x")
    if name == "senses":  # with the card that came with it
        assert ask("push", name, "o/again")[0] == 0
        assert server.repositories["models/o/again"].files == repository.files


def test_it_is_said_what_is_sent_and_how_large_before_anything_is_asked(project, server, ask):
    code, out, _ = ask("push", "lexicon", "o/n", "--dry-run")
    assert code == 0 and server.asked == []
    first, *table, total, last = out.splitlines()
    assert first == f"lexicon, to the private dataset o/n at {server.address}:" and last == "nothing was sent"
    size = (project / PLACES["lexicon"]).stat().st_size / 1000
    assert f"{size:,.1f} kB  lexicon.parquet" in [line.strip() for line in table]
    assert [line.split()[-1] for line in table] == ["LICENSE.md", "README.md", SUMS, "lexicon.parquet"]
    shown = sum(float(line.split()[0]) for line in table)
    assert float(total.split()[0]) == pytest.approx(shown, abs=0.3) and "in 4 files" in total


def test_nothing_is_shown_to_more_people_than_was_asked_for(project, server, ask):
    assert ask("push", "lexicon", "o/open", "--public")[0] == 0
    assert not server.repositories["datasets/o/open"].private
    code, _, message = ask("push", "lexicon", "o/open")
    assert code == 1 and message.startswith("o/open is public, and push was called without --public")
    server.repositories["datasets/o/shut"] = Repository(private=True)
    code, _, message = ask("push", "lexicon", "o/shut", "--public")
    assert code == 1 and message.startswith("o/shut is private, and push was called with --public")
    assert server.repositories["datasets/o/open"].commits == 1 and server.repositories["datasets/o/shut"].commits == 0


def test_a_repository_of_something_else_is_left_alone(project, server, ask):
    assert ask("push", "dskd-0", "o/n")[0] == 0
    code, _, message = ask("push", "senses", "o/n")
    assert code == 1 and message.startswith("o/n has config.json, which is no part of this")
    assert server.repositories["models/o/n"].commits == 1
    assert ask("push", "dskd-0", "o/n")[0] == 0  # the same again is no fault


def test_a_licence_that_was_corrected_goes_with_a_student_that_was_trained_before(project, server, ask):
    before = files(project / "artifacts")
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["sources"]["wikipedia"]["licence"] = "CC BY-NC 4.0"
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    assert ask("push", "dskd-0", "o/n")[0] == 0
    sent = server.repositories["models/o/n"].files
    for name in ("README.md", "LICENSE.md"):
        text = sent[name].decode()
        assert "| wikipedia | `file:given/wikipedia` | CC BY-NC 4.0 |\n" in text
        assert "| teacher | `file:given/teacher` | none |\n" in text
        assert text.count("Not for commercial use: the licence of wikipedia forbids it.\n") == 1
    assert sent[SUMS] == sums(sent)
    assert files(project / "artifacts") == before
    values["sources"]["wikipedia"]["source"] = "file:given/another"  # of which the student is not made
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    assert ask("push", "dskd-0", "o/n")[0] == 0
    assert b"commercial" not in sent["LICENSE.md"]


def test_a_pulled_student_keeps_the_licence_of_a_text_that_is_another_here(project, pushed, server, ask):
    """Both are called file:given/wikipedia."""
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["sources"]["wikipedia"] |= {"licence": "mine", "sha256": "1" * 64}
    values["sources"]["teacher"]["licence"] = "corrected"
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    assert ask("pull", "dskd-0", "o/n")[0] == 0
    assert ask("push", "dskd-0", "o/onward")[0] == 0
    sent = server.repositories["models/o/onward"].files
    for name in ("README.md", "LICENSE.md"):
        assert "| wikipedia | `file:given/wikipedia` | none |\n" in sent[name].decode()
        assert "| teacher | `file:given/teacher` | corrected |\n" in sent[name].decode()


def test_a_lexicon_that_was_pulled_gets_no_card_of_the_run_that_is_here(project, server, ask):
    """It was made with other parameters, perhaps, and comes without its card."""
    lexicon = project / PLACES["lexicon"]
    here = {"path": "artifacts/lexicon.parquet", "md5": hashlib.md5(lexicon.read_bytes()).hexdigest()}
    lock = {"schema": "2.0", "stages": {"lexicon": {"cmd": "x", "outs": [here]}}}
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert ask("push", "lexicon", "o/mine")[0] == 0
    save_lexicon(lexicon, load_lexicon(lexicon).iloc[1:])
    code, _, message = ask("push", "lexicon", "o/onward")
    assert code == 1 and message.startswith("artifacts/lexicon.parquet is not the one that dvc.lock tells of")
    assert list(server.repositories) == ["datasets/o/mine"]


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("README.md", "has no README.md, without which it is not shared"),
        ("LICENSE.md", "has no LICENSE.md, without which it is not shared"),
        ("config.json", "has no config.json, without which it is not shared"),
        ("modeling.py", "holds modeling.py; only json, md, parquet, safetensors, txt are shared"),
    ],
)
def test_a_student_goes_with_its_card_and_licences_and_without_code(project, server, ask, file, says):
    place = project / PLACES["dskd-0"]
    (place / file).write_text("x") if file.endswith(".py") else (place / file).unlink()
    (place / SUMS).unlink()
    stored = {path.name: path.read_bytes() for path in place.iterdir()}
    (place / SUMS).write_bytes(sums(stored))
    code, _, message = ask("push", "dskd-0", "o/n")
    assert code == 1 and says in message and server.asked == []


def test_a_changed_artifact_is_not_sent(project, server, ask):
    with (project / PLACES["senses"] / "contexts.parquet").open("ab") as file:
        file.write(b"x")
    code, _, message = ask("push", "senses", "o/n")
    assert code == 1 and "contexts.parquet has changed since it was written" in message and server.asked == []


def change(stored: dict[str, bytes], kind: str) -> None:
    """What somebody else may have done to a repository."""
    if kind in ("weights", "sums too"):
        stored["model.safetensors"] = stored["model.safetensors"][:-1] + b"\x07"
    if kind in ("code", "pickle", "extra"):
        stored[{"code": "sub/modeling.py", "pickle": "model.bin", "extra": "more.json"}[kind]] = b"{}"
    if kind in ("../out", "/out", "sub/../../out"):
        stored[f"{kind}.json"] = b"{}"
        stored[SUMS] = sums(stored)
    if kind == "lost":
        del stored["tokenizer.json"]
    if kind in ("README.md", "LICENSE.md", SUMS, "config.json"):
        del stored[kind]
    if kind == "up":
        stored[SUMS] += f"{'0' * 64}  ../up.json\n".encode()
    if kind == "damaged":
        stored[SUMS] = b"nonsense\n"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("weights", f"o/n: model.safetensors is not what its line in {SUMS} says"),
        ("code", "o/n holds sub/modeling.py; only json,"),
        ("pickle", "o/n holds model.bin; only json,"),
        ("extra", f"o/n: more.json has no line in {SUMS}"),
        ("../out", "o/n holds ../out.json, which leads out of its folder"),
        ("/out", "o/n holds /out.json, which leads out of its folder"),
        ("sub/../../out", "o/n holds sub/../../out.json, which leads out of its folder"),
        ("lost", f"o/n: tokenizer.json is not what its line in {SUMS} says"),
        ("up", f"o/n: ../up.json is not what its line in {SUMS} says"),
        ("README.md", "o/n has no README.md: it is no student dskd-0"),
        ("LICENSE.md", "o/n has no LICENSE.md"),
        (SUMS, f"o/n has no {SUMS}"),
        ("config.json", "o/n has no config.json"),
        ("damaged", f"o/n: {SUMS} is damaged"),
    ],
)
def test_what_is_not_what_was_pushed_leaves_nothing_behind(project, pushed, ask, kind, says):
    change(pushed, kind)
    before = files(project)
    code, _, message = ask("pull", "dskd-0", "o/n")
    assert code == 1 and message.startswith(says) and "\n" not in message
    assert files(project) == before


def test_what_is_there_is_not_replaced_and_names_cannot_leave_the_project(project, server, ask):
    before = files(project)
    for arguments, says in [
        (["pull", "senses", "o/n"], "artifacts/senses is there already"),
        (["pull", "../up", "o/n"], "'../up' is neither senses, lexicon nor a student's name"),
        (["pull", "new", "o/n/m"], "'o/n/m' is no repository"),
        (["pull", "new", "o/n@"], "o/n@ names no revision"),
        (["push", "dskd-1", "o/n"], "artifacts/students/dskd-1 is missing"),
        (["push", "dskd-0", "name"], "'name' is no repository"),
    ]:
        code, _, message = ask(*arguments)
        assert code == 1 and message.startswith(says)
    assert files(project) == before and server.asked == []


@pytest.mark.parametrize("refused", ["/api/repos/create", "/large/", "/commit/", "/api/models/o/n"])
def test_a_refusal_is_one_line_without_token_or_signature(project, server, ask, refused):
    server.refuses = refused
    code, _, message = ask("push", "dskd-0", "o/n")
    assert code == 1 and message.startswith(f"o/n could not be written at {server.address} (check that it answers")
    assert "403" in message and "\n" not in message


def test_the_environment_names_the_hub_and_its_password_is_not_shown(project):
    """In another process, as the client reads the environment when it is imported."""
    settings = {
        "HF_TOKEN": TOKEN,
        "NO_PROXY": "127.0.0.1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "TRANSFORMERS_OFFLINE": "0",
    }
    with hub() as found:
        for address, code in [(found.address, 0), ("http://me:password@127.0.0.1:9", 1)]:
            done = subprocess.run(
                [sys.executable, "-m", "dskd", "push", "lexicon", "o/n"],
                env={**os.environ, **settings, "HF_ENDPOINT": address},
                capture_output=True,
                text=True,
                check=False,
            )
            print(done.stdout, done.stderr)
            assert done.returncode == code and "password" not in done.stdout + done.stderr
        assert found.repositories["datasets/o/n"].commits == 1


def test_the_templates_of_a_tokenizer_that_has_several_are_shared_and_no_others():
    check_names(["chat_template.jinja", "additional_chat_templates/tool_use.jinja"], "x")
    for name in ("tool_use.jinja", "additional_chat_templates/run.py", "other/additional_chat_templates/x.jinja"):
        with pytest.raises(UserError, match="only json, md, parquet, safetensors, txt are shared"):
            check_names([name], "x")
