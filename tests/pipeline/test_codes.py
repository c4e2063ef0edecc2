"""The stage `codes` and students that are trained from codes, in the project in miniature."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny.models import make_teacher
from tiny.project import files, run

from dskd.infra import artifacts
from dskd.model.tokenizer import load_tokenizer
from dskd.params import load_params
from dskd.pipeline.given import read_given
from dskd.pipeline.inputs import labels
from dskd.states.store import take_blocks

STUDENT = Path("artifacts/students/dskd-0")


def change(**groups) -> None:
    """Other values in some groups of params.yaml."""
    path = Path("params.yaml")
    values = yaml.safe_load(path.read_text())
    for group, changes in groups.items():
        values[group] |= changes
    path.write_text(yaml.safe_dump(values, sort_keys=False))


def must(stage: str) -> None:
    code, text = run(stage)
    assert code == 0, text


def train_again() -> dict[str, str]:
    """The files of the student and its curves, trained from the start."""
    for folder in (STUDENT.parent, Path(artifacts.CURVES)):
        shutil.rmtree(folder, ignore_errors=True)
    must("distill")
    return {name: digest for name, digest in files(Path()).items() if name.startswith((str(STUDENT), "reports/curves"))}


@pytest.fixture
def coded(project):
    """The project with the codes of `senses+2`, as its working folder."""
    change(harvest={"codec": "senses+2"})
    must("codes")
    return project


def test_by_default_there_are_no_codes_and_none_are_read(project):
    assert json.loads(Path("artifacts/codes/codes.json").read_text()) == {"codec": "exact"}
    assert sorted(path.name for path in Path("artifacts/codes").iterdir()) == ["SHA256SUMS", "codes.json"]
    before = train_again()
    shutil.rmtree("artifacts/codes")
    assert train_again() == before
    assert "codec" not in (STUDENT / "README.md").read_text()


def test_the_stage_writes_the_same_bytes_again_and_says_what_they_take(coded):
    before = files(Path("artifacts/codes"))
    must("codes")
    assert files(Path("artifacts/codes")) == before
    about = json.loads(Path("artifacts/codes/codes.json").read_text())
    assert about["codec"] == "senses+2" and about["teacher_layers"] == 6
    assert about["positions"] == labels("train").numel()
    tensors = load_file("artifacts/codes/codes.safetensors")
    assert [name for name in sorted(tensors) if "column" in name] == ["column_00", "column_01", "column_02"]
    assert about["bytes"]["codes"] == sum(t.nbytes for name, t in tensors.items() if "column" in name)


def test_the_held_out_text_has_the_teacher_s_own_states_and_the_training_text_those_of_the_codes(coded):
    params = load_params()
    given = read_given(params)
    change(harvest={"codec": "exact"})
    exact = read_given(load_params())
    blocks = torch.arange(len(exact.heldout.labels))
    for name in ("hidden_states", "split_states"):
        own, true = (take_blocks(getattr(of.heldout.states, name), blocks) for of in (given, exact))
        assert torch.equal(own, true)
    blocks = torch.arange(len(exact.train.labels))
    own, true = (take_blocks(of.train.states.hidden_states, blocks) for of in (given, exact))
    assert own.shape == true.shape and own.dtype == true.dtype and given.train.states.blocks == len(blocks)
    spread = float((true - true.flatten(0, 1).mean(dim=0)).square().mean())
    assert 0 < float((own - true).square().mean()) < 0.5 * spread
    assert torch.equal(given.train.labels, exact.train.labels) and torch.equal(given.train.ids, exact.train.ids)


def test_a_student_needs_neither_the_teacher_nor_its_states(coded):
    """What is left of the teacher are the layers that the student has; and the student has the same bytes."""
    before = train_again()
    assert '"codec": "senses+2"' in (STUDENT / "README.md").read_text()
    layers = json.loads(Path("artifacts/codes/cut/config.json").read_text())["num_hidden_layers"]
    assert layers == 4 and "a teacher of\n6: " in (STUDENT / "README.md").read_text()
    for name in ("teacher", "states", "reservoir", "senses", "lexicon.parquet"):
        path = Path("artifacts") / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert train_again() == before
    assert Path(artifacts.SPLIT_STATES).is_dir()  # made again, and there for the next student
    assert train_again() == before


def test_students_of_another_code_differ(coded):
    seen = [train_again()]
    for codec in ("residual+2", "exact"):
        change(harvest={"codec": codec})
        must("codes")
        seen.append(train_again())
    assert len({found[f"{STUDENT}/model.safetensors"] for found in seen}) == 3


@pytest.mark.parametrize("codec", ["token_mean", "random_sense", "context", "context+1", "context+senses"])
def test_every_codec_trains(project, codec):
    change(harvest={"codec": codec})
    must("codes")
    must("distill")


def test_a_student_of_another_number_format_trains_from_codes(coded):
    change(runtime={"dtype": "bfloat16"})
    for stage in ("sources", "harvest", "senses", "codes", "targets"):
        must(stage)
    before = train_again()
    for name in ("teacher", "states"):
        shutil.rmtree(f"artifacts/{name}")
    assert train_again() == before


def said(stage: str) -> str:
    code, text = run(stage)
    assert code == 1 and "\n" not in text
    return text


def test_codes_of_another_codec_are_refused(coded):
    change(harvest={"codec": "senses"})
    text = said("distill")
    assert text == (
        "dskd: artifacts/codes has 'senses+2' and harvest.codec is 'senses': run `dvc repro codes`, or write the former"
        " into params.yaml"
    )


def test_codes_that_are_not_there_are_named_with_their_stage(project):
    change(harvest={"codec": "senses"})
    assert "artifacts/codes has 'exact' and harvest.codec is 'senses'" in said("distill")
    shutil.rmtree("artifacts/codes")
    assert said("distill").startswith("dskd: artifacts/codes/codes.json is missing: make it with `dvc repro codes`")


def test_codes_of_another_teacher_are_refused(coded):
    tokenizer, note = load_tokenizer("artifacts/teacher"), Path("artifacts/teacher/origin.json").read_text()
    shutil.rmtree("artifacts/teacher")
    make_teacher(vocabulary=len(tokenizer), seed=1).save_pretrained("artifacts/teacher")
    Path("artifacts/teacher/origin.json").write_text(note)
    tokenizer.save_pretrained("artifacts/teacher")
    assert "artifacts/codes was made with another teacher than artifacts/teacher: run `dvc repro codes`" in said(
        "distill"
    )


def test_codes_of_other_senses_are_refused(coded):
    of_kd = yaml.safe_load(Path("params.yaml").read_text())["objectives"]["kd"]
    change(objectives={"dskd": of_kd}, senses={"k": 1})  # a sense loss would be refused for its dictionary's sake
    text = said("distill")
    assert "artifacts/codes was made with senses.k = 2, and params.yaml has 1: run `dvc repro codes`" in text


def test_codes_of_another_text_are_refused(coded):
    change(corpus={"train_tokens": 320})
    must("corpus")
    assert "artifacts/codes was made of another text than artifacts/corpus: run `dvc repro codes`" in said("distill")


def test_without_the_teacher_the_student_is_the_one_that_the_codes_were_made_for(coded):
    shutil.rmtree("artifacts/teacher")
    change(student={"layers": 3, "trained": 1})
    text = said("distill")
    assert "artifacts/codes/cut has the layers of a student with cut: lower_last, layers: 4, trained: 2" in text
    assert "params.yaml has cut: lower_last, layers: 3, trained: 1" in text and "dvc repro codes" in text


def test_codes_that_guess_from_the_split_are_of_one_split(project):
    change(harvest={"codec": "context"})
    must("codes")
    change(student={"trained": 3})
    must("harvest")
    text = said("distill")
    assert "artifacts/codes has the layers of a student with cut: lower_last, layers: 4, trained: 2" in text


@pytest.mark.parametrize("codec", ["residual+2", "exact"])
def test_states_of_another_split_are_refused_and_those_of_this_one_make_another_student(project, codec):
    change(harvest={"codec": codec})
    must("codes")
    must("distill")
    before = files(STUDENT)
    change(student={"trained": 3})
    assert said("distill") == (
        "dskd: artifacts/states was made with another split (student.layers - student.trained): run `dvc repro "
        "harvest`, or get both of one run"
    )
    must("harvest")
    must("distill")
    assert files(STUDENT)["model.safetensors"] != before["model.safetensors"]


def test_states_of_another_text_are_refused(project):
    change(corpus={"train_tokens": 320})
    must("corpus")
    wanted = "dskd: artifacts/states was made with another text: run `dvc repro harvest`, or get both of one run"
    assert said("distill") == wanted


@pytest.mark.parametrize("name", ["codes.safetensors", "heldout.safetensors", "codes.json", "cut/model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut off"])
def test_a_damaged_file_is_named_with_its_stage(coded, name, damage):
    shutil.rmtree("artifacts/teacher")
    path = Path("artifacts/codes") / name
    content = path.read_bytes()
    path.unlink()
    if damage == "cut off":
        path.write_bytes(content[: len(content) // 2])
    text = said("distill")
    assert text.startswith(f"dskd: artifacts/codes/{name}") and "`dvc repro codes`" in text
