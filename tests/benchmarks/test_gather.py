"""Benchmarks from a mirror and from the network: invented rows in the published files' own schemas."""

import copy
import os
from pathlib import Path

import pytest
from huggingface_hub import constants
from sources.test_fetch_hub import server
from tiny.benchmarks import (
    SIMLEX,
    exam_rows,
    hub_answers,
    jsonl,
    lines,
    mirror_files,
    move_hosts,
    pin,
    write,
)
from whole.test_pipeline import ROOT

from dskd.benchmarks import catalogue, files
from dskd.benchmarks.catalogue import BENCHMARKS, CHAT, read_benchmark
from dskd.benchmarks.gather import gather
from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.made_of import save_made_of, values_of
from dskd.params import load_params
from dskd.pipeline import stages
from dskd.sources import fetch as fetch_module
from dskd.sources.download import DownloadError


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror of the invented rows, whose canonical files are the pinned ones in this test."""
    root = write(tmp_path / "mirror", mirror_files())
    pin(root, monkeypatch)
    return root


@pytest.fixture
def network(monkeypatch):
    """A function that sends all requests to an address; nothing else can be reached."""

    def fetch(spec, target, quick):  # SimLex-999 as gensim has it; pip is tested in test_sources.py
        Path(target).write_text("# The data\n# Word 1\tWord 2\tHuman (mean)\n" + lines("\t".join(r) for r in SIMLEX))

    def point(address, simlex=fetch):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(fetch_module, "fetch", simlex)
        for name, value in {"NO_PROXY": "127.0.0.1", "PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "1"}.items():
            monkeypatch.setenv(name, value)
        move_hosts(address, monkeypatch)

    return point


def gather_one(name, destination, mirror, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "BENCHMARKS", {name: BENCHMARKS[name]})
        return gather(destination, mirror)[name]


def test_both_places_give_the_same_bytes(tmp_path, mirror, network, capsys):
    from_mirror = gather(tmp_path / "a", mirror)
    assert capsys.readouterr().err.count("from the mirror (DSKD_MIRROR)") == len(BENCHMARKS)
    with server(hub_answers()) as (address, asked):
        network(address)
        from_hub = gather(tmp_path / "b", None)
        assert asked.count("/wic/package/WiC_dataset.zip") == 1
        said = capsys.readouterr().err
        assert "rows from the hub (allenai/ai2_arc@210d" in said
        assert f"rows from {address}/nguyenkh/AntSynNET/raw/5aa75747fd50/dataset\n" in said
    assert from_hub == from_mirror  # the summary does not tell the place
    assert from_hub["squad_v2"] == {
        "available": True,
        "rows": {"test": 3},
        "faults": {"label_outside": 0, "empty_choice": 0},
    }
    written = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert written == sorted(path.name for path in (tmp_path / "a").iterdir())
    for name in written:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert [row["answers"] for row in read_benchmark(tmp_path / "b", "squad_v2", "test")].count([]) == 1
    with pytest.raises(UserError, match="dvc repro benchmarks"):
        read_benchmark(tmp_path / "b", "squad_v2", "train")


def test_damaged_parquet_is_named(tmp_path, mirror, network, monkeypatch):
    answers = {path: (200, {}, b"<html>") for path in hub_answers()}
    with server(answers) as (address, _):
        network(address)
        found = gather_one("piqa", tmp_path / "out", None, monkeypatch)
    assert found["available"] is False and "gave something else: baber/piqa@" in found["how"]
    assert "piqa_validation.parquet is damaged" in found["how"] and "/tmp" not in found["how"]


def test_order_and_ids_do_not_depend_on_the_order_in_the_file(tmp_path, mirror):
    before = gather(tmp_path / "a", mirror)
    for name in ["arc/ARC-Easy-Test.jsonl", "piqa/valid.jsonl", "piqa/valid-labels.lst", "mmlu/test/virology_test.csv"]:
        path = mirror / name
        path.write_text(lines(reversed(path.read_text().splitlines())))
    assert gather(tmp_path / "b", mirror) == before  # and the pinned hashes hold


def test_faults_are_reported(tmp_path, mirror, monkeypatch, capsys):
    path = mirror / "arc/ARC-Easy-Test.jsonl"
    extra = {**next(exam_rows(True)), "id": "Q_9", "answerKey": "E"}
    path.write_text(path.read_text() + jsonl([extra]))
    found = gather_one("arc_easy", tmp_path / "out", mirror, monkeypatch)
    assert found["faults"] == {"label_outside": 1, "empty_choice": 0} and found["rows"]["test"] == 3
    assert "1 left out: label_outside" in capsys.readouterr().err


def test_another_hash_is_an_error(tmp_path, mirror, network, monkeypatch):
    def fails(place):
        with pytest.raises(UserError) as error:
            gather_one("arc_easy", tmp_path / "out", place, monkeypatch)
        assert not (tmp_path / "out/arc_easy.test.jsonl").exists()
        return str(error.value)

    benchmark = BENCHMARKS["arc_easy"]
    monkeypatch.setitem(BENCHMARKS, "arc_easy", benchmark._replace(sha256={"test": "0" * 64, "train": ""}))
    message = fails(mirror)
    assert (
        "arc_easy (test) from the mirror (DSKD_MIRROR)" in message
        and str(mirror) not in message
        and "0" * 64 in message
    )
    assert benchmark.sha256["test"] in message and "\n" not in message
    with server(hub_answers()) as (address, _):  # what the hub has is not the user's to mend: the run goes on
        network(address)
        found = gather_one("arc_easy", tmp_path / "out", None, monkeypatch)
        assert not found["available"] and "from the hub (allenai/ai2_arc@" in found["how"]
        assert benchmark.sha256["test"] in found["how"]
        assert not (tmp_path / "out/arc_easy.test.jsonl").exists()


def test_neither_place(tmp_path, mirror, network, monkeypatch):
    def no_pip(spec, target, quick):
        raise UserError(f"{spec.source}: the package index could not be reached")

    (tmp_path / "out").mkdir()
    (tmp_path / "out/wic.test.jsonl").write_text("stale")
    network("http://127.0.0.1:9", simlex=no_pip)  # the port of discard: refused at once
    asked = []

    def unanswered(url, *_):
        asked.append(url)
        raise DownloadError("could not be reached (OSError: no)", answered=False)

    monkeypatch.setattr(files, "download", unanswered)
    for place in [None, tmp_path / "none"]:
        summary = gather(tmp_path / "out", place)
        for name, entry in summary.items():
            assert entry["available"] is False and set(entry) == {"available", "how"}, name
            assert "\n" not in entry["how"] and entry["how"].endswith("benchmarks && dvc repro`")
            assert f"set DSKD_MIRROR to a folder that holds {BENCHMARKS[name].mirror['test'][0]}" in entry["how"]
        assert "or let the hub (allenai/ai2_arc@210d" in summary["arc_easy"]["how"]
        assert "piqa/valid-labels.lst" in summary["piqa"]["how"] and "could not be reached" in summary["piqa"]["how"]
    assert len(asked) == 2  # a host that gave no answer is not asked for the next benchmark
    assert not list((tmp_path / "out").iterdir())


def test_offline_missing_and_gated(tmp_path, mirror, network, monkeypatch):
    answers = hub_answers()
    for path in answers:
        if "cais/mmlu" in path:
            answers[path] = (401, {}, b"gated")
        if "baber/piqa" in path or path.endswith(".zip"):
            answers[path] = (404, {}, b"")
    with server(answers) as (address, asked):
        network(address)
        summary = gather(tmp_path / "out", None)
        assert {name for name, entry in summary.items() if not entry["available"]} == {"mmlu", "piqa", "wic"}
        assert "answered 401" in summary["mmlu"]["how"] and "answered 404" in summary["piqa"]["how"]
        asked.clear()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert "HF_HUB_OFFLINE" in gather(tmp_path / "out", None)["arc_easy"]["how"]
        assert asked == []


def test_neither_a_password_nor_the_mirror_s_path_is_told(tmp_path, mirror, network, monkeypatch, capsys):
    """The summary goes into a notebook and a report that Git keeps."""
    (mirror / "arc/ARC-Easy-Train.jsonl").unlink()  # a half
    for path in (mirror / "openbookqa").iterdir():  # a whole one
        path.unlink()
    answers = {**hub_answers(), **dict.fromkeys([p for p in hub_answers() if "obqa" in p or "openbookqa" in p])}
    answers = {path: answer or (404, {}, b"") for path, answer in answers.items()}
    with server(answers, password="me:s3cret") as (address, _):
        network(address)
        monkeypatch.setattr(constants, "ENDPOINT", address.replace("//", "//me:s3cret@"))
        summary = gather(tmp_path / "out", mirror)
        monkeypatch.setattr(constants, "ENDPOINT", "http://me:s3cret@127.0.0.1:9")
        refused = gather(tmp_path / "out", None)
    assert "answered 404" in summary["openbookqa"]["how"] and "could not be reached" in refused["piqa"]["how"]
    assert "the mirror (DSKD_MIRROR) lacks arc/ARC-Easy-Train.jsonl" in summary["arc_easy"]["how"]
    (mirror / "piqa/valid.jsonl").write_text("[1")
    with pytest.raises(UserError, match=r"^the mirror \(DSKD_MIRROR\): piqa/valid.jsonl") as caught:
        gather_one("piqa", tmp_path / "out", mirror, monkeypatch)
    said = str(caught.value) + "".join(capsys.readouterr()) + repr((summary, refused))
    assert "s3cret" not in said and str(tmp_path) not in said


def test_half_a_mirror(tmp_path, mirror, network):
    for name in ["arc/ARC-Easy-Train.jsonl", "piqa/valid-labels.lst"]:
        (mirror / name).unlink()
    for path in (mirror / "openbookqa").iterdir():
        path.unlink()
    with server(hub_answers()) as (address, asked):
        network(address)
        summary = gather(tmp_path / "out", mirror)
        assert all("openbookqa" in path for path in asked)
    assert summary["openbookqa"]["available"]
    for name, missing in [("arc_easy", "arc/ARC-Easy-Train.jsonl"), ("piqa", "piqa/valid-labels.lst")]:
        assert f"lacks {missing}, but" in summary[name]["how"]
        assert not (tmp_path / f"out/{name}.test.jsonl").exists()


@pytest.mark.skipif(not os.environ.get("DSKD_MIRROR"), reason="DSKD_MIRROR names no mirror")
def test_real_mirror(tmp_path):
    summary = gather(tmp_path, Path(os.environ["DSKD_MIRROR"]))
    rows = {name: tuple(entry["rows"].values()) for name, entry in summary.items() if entry["available"]}
    assert rows == {
        "arc_easy": (2376, 2251),
        "arc_challenge": (1172, 1119),
        "commonsense_qa": (1221, 9741),
        "piqa": (1838, 16113),
        "mmlu": (14042, 285),
        "openbookqa": (500, 4957),
        "wic": (638, 5428),
        "squad_v2": (11873,),
        "simlex": (999,),
        "antsynnet": (786, 10932),
        "ppdb": (54447,),
        "roget": (37239,),
    }
    assert not any(count for entry in summary.values() for count in entry["faults"].values())
    squad = read_benchmark(tmp_path, "squad_v2", "test")
    assert sum(not row["answers"] for row in squad) == 5945
    # The order is a fair sample: nearly as many paragraphs as drawing 500 of the 11873 questions would give.
    assert len({row["context"] for row in squad[:500]}) > 380
    assert len({row["subject"] for row in read_benchmark(tmp_path, "mmlu", "test")[:500]}) > 50
    for row in read_benchmark(tmp_path, "wic", "test"):
        for i in ("1", "2"):
            assert (
                row[f"sentence{i}"][slice(*row[f"span{i}"])].isprintable() and row[f"span{i}"][0] < row[f"span{i}"][1]
            )


@pytest.mark.parametrize("template", [None, "{% for message in messages %}{{ message.content }}{% endfor %}"])
def test_a_teacher_without_a_chat_template_leaves_out_the_chat_prompts_alone(
    template, tokenizer, mirror, tmp_path, monkeypatch, capsys
):
    teacher = copy.deepcopy(tokenizer)
    teacher.chat_template = template
    teacher.add_tokens(list("ABCDE01"))  # the labels, which it does not know
    teacher.save_pretrained(tmp_path / artifacts.TEACHER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DSKD_MIRROR", str(mirror))
    params = load_params(ROOT / "params.yaml")
    save_made_of(Path(artifacts.TEACHER), {}, values_of(params, "sources.teacher"))
    summary = stages.benchmarks(params)
    reasons = {name for name, value in summary.items() if "no chat template" in value.get("no_chat", "")}
    prompts = {path.name.partition(".")[0] for path in Path(artifacts.BENCHMARKS).glob("*.chat.jsonl")}
    assert (prompts, reasons) == ((set(CHAT), set()) if template else (set(), set(CHAT)))
    assert artifacts.read_json(f"{artifacts.BENCHMARKS}/summary.json") == summary
    assert all(summary[name]["available"] for name in CHAT)
    assert ("no chat prompts" in capsys.readouterr().err) == (template is None)
