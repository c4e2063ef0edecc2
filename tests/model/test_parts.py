import copy

import pytest
import torch
from model.test_inference import assert_scored_as_alone, items
from safetensors.torch import load_file
from tiny.families import FAMILIES, make_decoder
from tiny.models import FIRST, LAYERS, LOWER_LAST, generator, make_ids, trained

from dskd.errors import UserError
from dskd.model.architecture import check_architecture
from dskd.model.cut import student_top, teacher_top, trunk
from dskd.model.inference import Models
from dskd.model.load import load_decoder
from dskd.model.logits import head_of, mapped
from dskd.model.parts import cast, check_layers, layered_config, part, run_part
from dskd.params import StudentParams
from dskd.states.harvest import predict
from dskd.students.store import assemble_student, export_student, load_student_top

IDS = make_ids(3, 14)[:, :-1].long()  # longer than the window of 5
ALL = pytest.mark.parametrize("family", FAMILIES)
WINDOWED = [family for family, values in FAMILIES.items() if "sliding_window" in values]


def logits(teacher, top, student):
    states = run_part(top, states=run_part(trunk(teacher, student), ids=IDS))
    return mapped(teacher.get_output_embeddings()(states), head_of(teacher).logit_map)


@ALL
@pytest.mark.parametrize("student", [FIRST, StudentParams(cut="first", layers=1, trained=1)], ids=["middle", "bottom"])
@torch.no_grad()
def test_trunk_and_top_together_give_the_logits_of_the_whole_teacher(family, student):
    teacher = make_decoder(family)
    check_architecture(teacher)
    found = logits(teacher, teacher_top(teacher, student), student)
    torch.testing.assert_close(found, teacher(input_ids=IDS).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", WINDOWED)
@torch.no_grad()
def test_the_window_of_the_tiny_model_matters(family):
    teacher = make_decoder(family)
    wide = make_decoder(family, sliding_window=60)
    assert not torch.allclose(teacher(input_ids=IDS).logits, wide(input_ids=IDS).logits, atol=1e-2)


@ALL
@pytest.mark.parametrize("cut, tied", [(FIRST, True), (LOWER_LAST, True), (LOWER_LAST, False)])
@torch.no_grad()
def test_an_exported_student_gives_the_logits_of_its_parts(family, cut, tied, tokenizer, tmp_path):
    teacher = make_decoder(family, tied)
    top = trained(teacher, cut)
    found = logits(teacher, top, cut)
    export_student(teacher, top, cut, tokenizer, tmp_path, torch.float32)
    model, _ = load_decoder(tmp_path, "float32")
    torch.testing.assert_close(model(input_ids=IDS).logits, found, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits(teacher, load_student_top(tmp_path, teacher, cut), cut), found)
    tied_now = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert type(model) is type(teacher) and tied_now == tied


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bfloat16", "float32"])
@torch.no_grad()
def test_an_exported_student_routes_to_the_experts_that_it_routed_to(dtype, tokenizer, tmp_path, monkeypatch):
    """The routers' correction is kept in float32, and in bfloat16 these values are one number; on some machines all
    is computed in float32."""
    monkeypatch.setattr("dskd.model.load.arithmetic_dtype", lambda _: dtype)
    options = {"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_group": 1}
    model = make_decoder("glm4_moe", head_dim=8, topk_group=1, first_k_dense_replace=0, **options).bfloat16()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if "correction" in name:
            tensor.data = 3 + 0.004 * torch.randn(tensor.shape, generator=generator(1))
        elif name.endswith("gate.weight"):
            tensor.mul_(0.01)
    model.save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    teacher, _ = load_decoder(tmp_path / "teacher", "bfloat16")
    top = student_top(teacher, FIRST)
    cast(top.layers, torch.bfloat16, teacher)
    cast(top.layers, teacher.dtype, teacher)
    found = logits(teacher, top, FIRST)
    export_student(teacher, top, FIRST, tokenizer, tmp_path / "student", torch.bfloat16)
    student, _ = load_decoder(tmp_path / "student", "bfloat16")
    assert torch.equal(found, teacher.lm_head(run_part(part(teacher, [0, 1, 2, 3], norm=True), ids=IDS)))
    assert torch.equal(student(input_ids=IDS).logits, found)
    weights = load_file(tmp_path / "student/model.safetensors")
    wide = {key for key, weight in weights.items() if weight.dtype == torch.float32}
    assert wide == {key for key in weights if ".mlp.gate." in key}


@pytest.mark.parametrize("cut, kinds", [(FIRST, "ssfs"), (LOWER_LAST, "sssf")])
def test_a_cut_keeps_the_kind_of_each_of_its_layers(cut, kinds):
    teacher = make_decoder("gemma3_text")
    assert [kind[0] for kind in teacher.config.layer_types] == list("ssfssf")
    student = assemble_student(teacher, student_top(teacher, cut), cut)
    assert [kind[0] for kind in student.config.layer_types] == list(kinds)
    assert len(teacher.config.layer_types) == LAYERS


@ALL
def test_models_are_scored_as_each_alone_without_a_split(family):
    teacher = make_decoder(family)
    cut = trained(teacher, LOWER_LAST)
    whole = {"teacher": teacher, "cut": assemble_student(teacher, copy.deepcopy(cut), LOWER_LAST)}
    tops = {"teacher": teacher_top(teacher, LOWER_LAST), "cut": cut}
    models = Models(trunk(teacher, LOWER_LAST), tops, head_of(teacher), None, 64)
    asked = [item._replace(context=make_ids(1, 12, seed=i)[0].tolist()) for i, item in enumerate(items(4))]
    assert_scored_as_alone(models, whole, asked)


@pytest.mark.parametrize("family", ["gemma2", "cohere"])
def test_the_predicted_token_is_that_of_the_mapped_logits(family):
    teacher = make_decoder(family)
    states = run_part(teacher.base_model, ids=IDS)
    found = predict(states, teacher.get_output_embeddings().weight)
    assert torch.equal(found.long(), teacher(input_ids=IDS).logits.argmax(dim=2))


def test_the_split_of_a_model_keeps_its_way_of_attention():
    teacher = make_decoder("gemma2")  # its soft cap within attention needs "eager"
    parts = [trunk(teacher, LOWER_LAST), teacher_top(teacher, LOWER_LAST), student_top(teacher, LOWER_LAST)]
    assert {model.config._attn_implementation for model in [teacher, *parts]} == {"eager"}


def test_a_layer_that_no_list_of_the_configuration_describes_cannot_move():
    teacher = make_decoder("gemma3_text")
    check_layers(teacher, [0, 1, 4, 5])
    teacher.base_model.layers[5].mlp.gate_proj = torch.nn.Linear(32, 48)
    with pytest.raises(UserError, match=r"layer 5 of Gemma3ForCausalLM cannot be layer 3.*student\.cut"):
        check_layers(teacher, [0, 1, 4, 5])


def test_lists_of_another_meaning_are_not_cut():
    config = make_decoder("llama").config
    config.eos_token_id = [7] * LAYERS
    assert layered_config(config, [0, 1]).eos_token_id == [7] * LAYERS
    assert part(make_decoder("llama"), [], norm=False).config.num_hidden_layers == 0
