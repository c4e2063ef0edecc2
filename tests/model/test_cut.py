import json
import subprocess
import sys

import pytest
import torch
from tiny.models import FIRST, LAYERS, LOWER_LAST, VOCABULARY, make_ids, make_teacher, make_tokenizer, trained
from transformers import AutoTokenizer

from dskd.errors import UserError
from dskd.infra import arithmetic
from dskd.infra.arithmetic import fast_bfloat16
from dskd.infra.hashes import sha256_tree
from dskd.model.cut import split_depth, student_layers, student_top, teacher_top, trunk
from dskd.model.load import load_decoder
from dskd.model.parts import run_part
from dskd.model.tokenizer import load_tokenizer, save_tokenizer
from dskd.params import StudentParams
from dskd.students.store import assemble_student, export_student, load_student_top

IDS = make_ids(3, 12)[:, :-1].long()


@torch.no_grad()
def part_wise_logits(teacher, top, student):
    return teacher.get_output_embeddings()(run_part(top, states=run_part(trunk(teacher, student), ids=IDS)))


@pytest.mark.parametrize("student", [LOWER_LAST, FIRST, StudentParams(cut="first", layers=1, trained=1)])
@torch.no_grad()
def test_trunk_and_top_together_are_the_whole_teacher_bit_by_bit(teacher, student):
    split_states = run_part(trunk(teacher, student), ids=IDS)
    whole = teacher(input_ids=IDS, output_hidden_states=True)
    assert torch.equal(split_states, whole.hidden_states[split_depth(student)])
    hidden_states = run_part(teacher_top(teacher, student), states=split_states)
    assert torch.equal(hidden_states, whole.hidden_states[-1])
    assert torch.equal(teacher.get_output_embeddings()(hidden_states), whole.logits)


def test_both_cuts_take_the_layers_that_the_method_says():
    assert student_layers(FIRST, 6) == [0, 1, 2, 3]
    assert student_layers(LOWER_LAST, 6) == [0, 1, 4, 5]
    assert student_layers(StudentParams(cut="lower_last", layers=6, trained=3), 6) == [0, 1, 2, 3, 4, 5]
    assert student_layers(StudentParams(cut="first", layers=2, trained=2), 6) == [0, 1]
    assert student_layers(StudentParams(cut="lower_last", layers=2, trained=2), 6) == [4, 5]


@pytest.mark.parametrize("student, sources", [(FIRST, (2, 3)), (LOWER_LAST, (4, 5))])
def test_the_trained_layers_start_as_copies_of_the_teacher_s(teacher, student, sources):
    top = student_top(teacher, student)
    assert len(top.layers) == 2
    for layer, source in zip(top.layers, sources):
        for (name, weight), original in zip(layer.named_parameters(), teacher.base_model.layers[source].parameters()):
            assert torch.equal(weight, original), name
            assert weight.data_ptr() != original.data_ptr() and weight.requires_grad and not original.requires_grad


def test_only_the_trained_layers_train_and_in_float32(bf16_teacher):
    top = student_top(bf16_teacher, LOWER_LAST)
    training = {name for name, weight in top.named_parameters() if weight.requires_grad}
    assert training == {f"layers.{name}" for name, _ in top.layers.named_parameters()}
    assert {weight.dtype for weight in top.layers.parameters()} == {torch.float32}
    assert top.norm.weight is bf16_teacher.base_model.norm.weight
    assert top.embed_tokens.weight is bf16_teacher.base_model.embed_tokens.weight
    assert {weight.dtype for weight in bf16_teacher.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("tied", [True, False])
def test_the_assembled_student_shares_everything_frozen_with_the_teacher(tied):
    teacher = make_teacher(tied=tied)
    top = trained(teacher, LOWER_LAST)
    model = assemble_student(teacher, top, LOWER_LAST)
    base = model.base_model
    assert type(model) is type(teacher)
    assert model.get_output_embeddings().weight is teacher.get_output_embeddings().weight
    assert base.embed_tokens.weight is teacher.base_model.embed_tokens.weight
    assert base.norm.weight is teacher.base_model.norm.weight
    assert list(base.layers) == [*teacher.base_model.layers[:2], *top.layers]
    assert [layer.self_attn.layer_idx for layer in base.layers] == [0, 1, 2, 3]
    assert [layer.self_attn.layer_idx for layer in teacher.base_model.layers] == list(range(LAYERS))
    assert teacher.config.num_hidden_layers == LAYERS and model.config.num_hidden_layers == 4


@pytest.mark.parametrize("cut", [FIRST, LOWER_LAST])
@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_an_exported_student_gives_the_logits_of_its_parts(tokenizer, tmp_path, cut, tied):
    teacher = make_teacher(tied=tied)
    top = trained(teacher, cut)
    logits = part_wise_logits(teacher, top, cut)
    export_student(teacher, top, cut, tokenizer, tmp_path, torch.float32)
    model, _ = load_decoder(tmp_path, "float32")
    assert torch.equal(model(input_ids=IDS).logits, logits)
    assert torch.equal(part_wise_logits(teacher, load_student_top(tmp_path, teacher, cut), cut), logits)
    untrained = part_wise_logits(teacher, student_top(teacher, cut), cut)
    assert not torch.allclose(logits, untrained)


@pytest.mark.parametrize("kind", ["teacher", "bf16_teacher"])
def test_an_exported_student_has_the_dtype_asked_for_and_no_pickle(kind, tokenizer, tmp_path, request, monkeypatch):
    monkeypatch.setattr(arithmetic, "fast_bfloat16", lambda: True)
    teacher = request.getfixturevalue(kind)
    before = {name: weight.clone() for name, weight in teacher.named_parameters()}
    export_student(teacher, trained(teacher, LOWER_LAST), LOWER_LAST, tokenizer, tmp_path, torch.bfloat16)
    assert all(torch.equal(weight, before[name]) for name, weight in teacher.named_parameters())
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["dtype"], config["num_hidden_layers"]) == ("bfloat16", 4)
    assert not {path.suffix for path in tmp_path.rglob("*")} & {".bin", ".pt", ".pkl", ".py"}
    model, _ = load_decoder(tmp_path, "bfloat16")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


WITHOUT_DSKD = """
import importlib.util, sys
sys.modules["dskd"] = None
try:
    import dskd
    sys.exit("dskd can be imported")
except ImportError:
    pass
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)
model, tokenizer = AutoModelForCausalLM.from_pretrained("student"), AutoTokenizer.from_pretrained("student")
ids = tokenizer("the quick brown fox", return_tensors="pt").input_ids
options = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False, "attention_mask": torch.ones_like(ids)}
cached, plain = (model.generate(ids, use_cache=cache, **options) for cache in (True, False))
longer = ids
for _ in range(12):
    logits = model(longer).logits[:, -1]
    logits[:, model.config.eos_token_id] = -torch.inf
    longer = torch.cat([longer, logits.argmax(dim=1, keepdim=True)], dim=1)
new = cached[0, ids.shape[1] :].tolist()
print(cached.tolist() == plain.tolist() == longer.tolist(), len(new), len(set(new)))
"""


def test_the_bytes_of_a_tokenizer_do_not_tell_how_it_was_loaded(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "given")
    for offline in (False, True):
        loaded = AutoTokenizer.from_pretrained(tmp_path / "given", local_files_only=offline)
        save_tokenizer(loaded, tmp_path / str(offline))
    assert sha256_tree(tmp_path / "True") == sha256_tree(tmp_path / "False")


def test_an_exported_student_generates_where_dskd_is_not_installed(teacher, tokenizer, tmp_path):
    top = trained(teacher, LOWER_LAST)
    export_student(teacher, top, LOWER_LAST, tokenizer, tmp_path / "student", torch.float32)
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_DSKD], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    same, number, distinct = done.stdout.split()
    assert (same, number) == ("True", "12") and int(distinct) > 1


def test_a_student_deeper_than_its_teacher_is_an_error_that_names_both(teacher):
    with pytest.raises(UserError, match=r"student\.layers = 7.*6"):
        student_top(teacher, StudentParams(cut="first", layers=7, trained=2))


def test_a_tokenizer_with_more_ids_than_the_model_is_an_error_that_names_both(teacher, tmp_path):
    teacher.save_pretrained(tmp_path)
    large = make_tokenizer()
    large.add_tokens([f"word{i}" for i in range(VOCABULARY)])
    large.save_pretrained(tmp_path)
    largest = max(large.get_vocab().values())
    with pytest.raises(UserError, match=f"ids up to {largest}.*{VOCABULARY - 1}"):
        load_decoder(tmp_path, "float32")


@pytest.mark.parametrize("has, fast", [("avx512_bf16", True), ("amx_bf16", True), ("avx512_f", False)])
def test_emulated_bfloat16_is_not_fast(monkeypatch, has, fast):
    found = {"architecture": "x86_64", "avx512_f": False, "avx512_bf16": False, "amx_bf16": False} | {has: True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert fast_bfloat16() is fast


@pytest.mark.parametrize("fast", [True, False])
def test_a_loaded_decoder_is_frozen_and_evaluates(teacher, tokenizer, tmp_path, monkeypatch, fast):
    monkeypatch.setattr(arithmetic, "fast_bfloat16", lambda: fast)
    teacher.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, loaded = load_decoder(tmp_path, "bfloat16")
    assert not model.training and not any(weight.requires_grad for weight in model.parameters())
    # Without a fast product the weights are the rounded ones, held in float32.
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16 if fast else torch.float32}
    for name, weight in teacher.named_parameters():
        assert torch.equal(model.get_parameter(name).float(), weight.bfloat16().float())
    assert loaded("the lazy dog").input_ids == tokenizer("the lazy dog").input_ids


def test_a_folder_without_model_or_tokenizer_is_an_error_that_names_it(teacher, tokenizer, tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path} has no tokenizer"):
        load_tokenizer(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=f"{tmp_path} is no Hugging Face decoder"):
        load_decoder(tmp_path, "float32")


def test_a_student_of_another_depth_than_the_parameters_say_is_an_error(teacher, tokenizer, tmp_path):
    export_student(teacher, student_top(teacher, LOWER_LAST), LOWER_LAST, tokenizer, tmp_path, torch.float32)
    with pytest.raises(UserError, match=r"has 4 layers, student\.layers = 5"):
        load_student_top(tmp_path, teacher, StudentParams(cut="first", layers=5, trained=2))


def test_a_student_of_a_teacher_with_another_vocabulary_is_an_error_that_names_both(teacher, tokenizer, tmp_path):
    other = make_teacher(vocabulary=VOCABULARY + 8)
    export_student(other, student_top(other, LOWER_LAST), LOWER_LAST, tokenizer, tmp_path, torch.float32)
    with pytest.raises(UserError, match=f"it has {VOCABULARY + 8} tokens.*the teacher has {VOCABULARY}"):
        load_student_top(tmp_path, teacher, LOWER_LAST)
