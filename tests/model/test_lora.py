import pytest
import torch
from students.test_train import OBJECTIVES, assert_same, fresh_accelerator, make_data, stop_at, uncompiled, weights_of
from tiny.families import make_decoder
from tiny.models import LOWER_LAST, distill_settings

from dskd.errors import UserError
from dskd.model.cut import student_top
from dskd.model.logits import head_of
from dskd.model.lora import add_lora, merge_lora
from dskd.model.parts import run_part
from dskd.params import Lora, StudentParams
from dskd.students.store import export_student, load_student_top, new_student
from dskd.students.train import Recipe, train

__all__ = ["fresh_accelerator", "uncompiled"]
LORA = Lora(rank=4, alpha=8.0)


@pytest.fixture(scope="module")
def data(teacher):
    return make_data(teacher)


def run(teacher, data, folder, student=LOWER_LAST, seed=0, lora=LORA):
    made, (text, _) = new_student(teacher, teacher, student), data
    add_lora(made.top, lora, seed)
    train(made, head_of(teacher), text, None, Recipe(OBJECTIVES["kd"], distill_settings(), seed), folder / "work")
    return made.top


def test_a_student_starts_as_without_lora_and_trains_the_thin_matrices_alone(teacher):
    states = torch.randn(2, 9, 32)
    plain, top = student_top(teacher, LOWER_LAST), student_top(teacher, LOWER_LAST)
    add_lora(top, LORA, seed=0)
    assert torch.equal(run_part(top, states=states), run_part(plain, states=states))
    training = {name: weight.shape for name, weight in top.named_parameters() if weight.requires_grad}
    assert len(training) == 2 * 7 * 2 and all("lora_" in name and 4 in shape for name, shape in training.items())
    merge_lora(top)
    assert_same(weights_of(top), weights_of(plain))


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe"])
def test_experts_that_would_not_train_are_an_error(family):
    options = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    top = student_top(make_decoder(family, **options), LOWER_LAST)
    with pytest.raises(UserError, match=r"student\.lora puts no matrices beside 0\.mlp\..* set student\.lora to null"):
        add_lora(top, LORA, seed=0)
    assert all(weight.requires_grad for weight in top.layers.parameters())


def test_merged_weights_give_the_trained_student_and_a_plain_folder(teacher, data, tokenizer, tmp_path):
    top = run(teacher, data, tmp_path)
    states = torch.cat(data[0].states.split_states)
    with torch.no_grad():
        trained, start = run_part(top, states=states), run_part(student_top(teacher, LOWER_LAST), states=states)
    assert not torch.allclose(trained, start, atol=1e-2)
    merge_lora(top)
    assert weights_of(top).keys() == weights_of(student_top(teacher, LOWER_LAST)).keys()
    with torch.no_grad():
        torch.testing.assert_close(run_part(top, states=states), trained, rtol=1e-4, atol=1e-4)
    export_student(teacher, top, LOWER_LAST, tokenizer, tmp_path / "student", torch.float32)
    assert not [path.name for path in (tmp_path / "student").iterdir() if "adapter" in path.name]
    loaded = load_student_top(tmp_path / "student", teacher, LOWER_LAST)
    with torch.no_grad():
        torch.testing.assert_close(run_part(loaded, states=states), trained, rtol=1e-4, atol=1e-4)


def test_a_stopped_run_goes_on_and_a_seed_alone_decides(teacher, data, tmp_path, monkeypatch):
    whole = weights_of(run(teacher, data, tmp_path / "whole"))
    stop_at(monkeypatch, 9)
    with pytest.raises(RuntimeError, match="power"):
        run(teacher, data, tmp_path / "stopped")
    calls = stop_at(monkeypatch, 99)
    assert_same(whole, weights_of(run(teacher, data, tmp_path / "stopped")))
    assert len(calls) == 18 - 8
    other = weights_of(run(teacher, data, tmp_path / "other", seed=1))
    name = "layers.0.mlp.up_proj.lora_A.default.weight"
    assert not torch.equal(whole[name], other[name])


def test_all_layers_train_where_as_many_are_asked_for(teacher):
    student = StudentParams(cut="first", layers=4, trained=4)
    top = student_top(teacher, student)
    assert len(top.layers) == 4 and all(weight.requires_grad for weight in top.layers.parameters())
