import ast
import builtins
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny.models import FIRST, LAYERS, VOCABULARY, make_ids, make_teacher
from tiny.project import files, run

from dskd.errors import UserError
from dskd.infra.hashes import sha256_tree
from dskd.model.cut import student_top
from dskd.model.folder import INDEX, WEIGHTS
from dskd.model.load import import_model, load_decoder
from dskd.model.tokenizer import tokenizer_hash
from dskd.students.store import assemble_student, export_student

IDS = make_ids(2, 12).long()
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n"
CODE = "open('executed', 'w').close()\n"


@pytest.fixture(scope="module")
def whole(teacher, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    teacher.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    """A whole model, to be spoiled. Nobody answers what transformers may ask."""
    shutil.copytree(whole, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("transformers asks"))
    return tmp_path / "model"


def change(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def weights(folder: Path, change) -> None:
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, {"format": "pt"})


def refused(folder: Path, says: str) -> None:
    """It is refused in one line, under the name of its source, and no Python of it has run."""
    with pytest.raises(UserError, match=says) as error:
        load_decoder(folder, "float32", "sources.teacher")
    line = str(error.value)
    assert line.startswith("sources.teacher") and len(line.splitlines()) == 1 and len(line) < 700
    assert not Path("executed").exists()


# --- weights that are not all there ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda w: {f"_orig_mod.{key}": v for key, v in w.items()}, r"tensors begin with _orig_mod\. "),
        (lambda w: {f"module.{key}": v for key, v in w.items()}, r"tensors begin with module\. "),
        (lambda w: {key: v for key, v in w.items() if ".3." not in key}, r"layers\.3\.\S+ is missing \(and 8 more"),
        (lambda w: {key: v for key, v in w.items() if key != "model.norm.weight"}, r"model\.norm\.weight is missing;"),
        (lambda w: w | {"model.layers.0.self_attn.q_proj.bias": torch.ones(32)}, r"q_proj\.bias is not part of it"),
        (lambda w: w | {"model.norm.weight": torch.ones(3)}, r"model\.norm\.weight has the shape \[3\], not \[32\]"),
        (lambda w: w | {"model.norm.weight": torch.full((32,), torch.inf)}, r"norm\.weight holds numbers that are inf"),
        (lambda w: w | {"model.norm.weight": torch.ones(32, dtype=torch.int8)}, "stored as I8, as if quantised"),
        (lambda w: {}, "holds no tensor"),
    ],
)
def test_weights_that_are_not_the_model_s_are_an_error(folder, spoil, says):
    weights(folder, spoil)
    refused(folder, says)


@pytest.mark.parametrize(
    "values, says",
    [
        ({"num_hidden_layers": LAYERS + 2}, r"layers\.6\.\S+ is missing \(and 17 more"),
        ({"num_hidden_layers": LAYERS - 2}, r"layers\.4\.\S+ is not part of it \(and 17 more"),
        ({"vocab_size": VOCABULARY + 10}, r"embed_tokens\.weight has the shape \[120, 32\], not \[130, 32\]"),
        ({"tie_word_embeddings": False}, r"lm_head\.weight is missing"),
    ],
)
def test_a_configuration_that_does_not_fit_the_weights_is_an_error(folder, values, says):
    change(folder / "config.json", **values)
    refused(folder, says)


def test_rotations_in_an_old_folder_must_be_those_of_its_configuration(folder):
    key = "model.layers.0.self_attn.rotary_emb.inv_freq"
    made = 10000.0 ** (-torch.arange(0, 8, 2) / 8)
    weights(folder, lambda w: w | {key: made})
    load_decoder(folder, "float32")
    weights(folder, lambda w: w | {key: made / 4})
    refused(folder, f"{key} is not what config.json says")


@torch.no_grad()
def test_a_head_of_its_own_beside_a_configuration_that_says_tied_stays_it_s_own(folder):
    weights(folder, lambda w: w | {"lm_head.weight": torch.arange(VOCABULARY * 32).reshape(VOCABULARY, 32) / 4e3})
    model, tokenizer = load_decoder(folder, "float32")
    assert not torch.equal(model.get_output_embeddings().weight, model.get_input_embeddings().weight)
    top = student_top(model, FIRST)
    export_student(model, top, FIRST, tokenizer, folder / "student", torch.float32)
    written, _ = load_decoder(folder / "student", "float32")
    assert torch.equal(written(input_ids=IDS).logits, assemble_student(model, top, FIRST)(input_ids=IDS).logits)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, content, says",
    [
        (WEIGHTS, b"", "empty, cut off or damaged"),
        (WEIGHTS, POINTER.encode(), "Git LFS pointer"),
        (WEIGHTS, None, "no model.safetensors"),
        ("config.json", b"{", "config.json is no JSON"),
        ("config.json", b"[]", "config.json holds no JSON object"),
        ("config.json", POINTER.encode(), "Git LFS pointer"),
        ("config.json", None, "no config.json"),
        ("generation_config.json", b"{", "generation_config.json is no JSON"),
        ("generation_config.json", POINTER.encode(), "Git LFS pointer"),
        ("tokenizer.json", POINTER.encode(), "Git LFS pointer"),
        ("tokenizer.json", b'{"model"', "no tokenizer that transformers can read"),
        ("tokenizer_config.json", b"[]", "tokenizer_config.json holds no JSON object"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_an_error(folder, name, content, says):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    refused(folder, says)


def test_the_folder_of_a_gguf_file_is_an_error_that_says_what_to_name(folder):
    (folder / "config.json").rename(folder / "model.gguf")
    refused(folder, r"it has no config\.json; name the GGUF file itself")


def test_weights_that_are_cut_off_are_an_error(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9])
    refused(folder, "model.safetensors is empty, cut off or damaged")


def test_pickled_weights_are_never_read(folder, monkeypatch):
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle is read"))
    refused(folder, "pytorch_model.bin may be pickled")


def shards(folder: Path) -> dict:
    """Cut the weights into two files; returns their index."""
    every = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(every)
    parts = {"model-00001-of-00002.safetensors": names[:20], "model-00002-of-00002.safetensors": names[20:]}
    for file, keys in parts.items():
        save_file({key: every[key] for key in keys}, folder / file, {"format": "pt"})
    return {"metadata": {}, "weight_map": {key: file for file, keys in parts.items() for key in keys}}


@torch.no_grad()
def test_weights_in_several_files_are_read(folder, teacher):
    (folder / INDEX).write_text(json.dumps(shards(folder)))
    assert torch.equal(load_decoder(folder, "float32")[0](input_ids=IDS).logits, teacher(input_ids=IDS).logits)


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda index: {}, "no index of weights"),
        (lambda index: index | {"weight_map": {}}, "is empty"),
        (lambda index: {"weight_map": index["weight_map"]}, "no index of weights"),
        (lambda index: index | {"weight_map": dict.fromkeys(index["weight_map"], "../model/x.safetensors")}, "'../mod"),
        (lambda index: index | {"weight_map": dict.fromkeys(index["weight_map"], "x.bin")}, r"'x\.bin', which is no"),
        (lambda index: index | {"weight_map": dict.fromkeys(index["weight_map"], "x.safetensors")}, "x.saf.* missing"),
        (lambda index: index | {"weight_map": {f"{k}s": v for k, v in index["weight_map"].items()}}, "differ in 112"),
        (lambda index: index | {"weight_map": dict(list(index["weight_map"].items())[:-1])}, "differ in 1 tensors"),
    ],
)
def test_an_index_that_does_not_fit_its_files_is_an_error(folder, spoil, says):
    (folder / INDEX).write_text(json.dumps(spoil(shards(folder))))
    refused(folder, says)


def test_two_sets_of_weights_are_an_error(folder):
    shutil.copy(folder / WEIGHTS, folder / "other")
    (folder / INDEX).write_text(json.dumps(shards(folder)))
    (folder / "other").rename(folder / WEIGHTS)
    refused(folder, r"two sets of weights, model\.safetensors and model-00001-of-00002\.safetensors")


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file, values, says",
    [
        *(
            ("config.json", {"quantization_config": {"quant_method": kind}}, f"is quantised .*: {kind}")
            for kind in ("awq", "gptq", "bitsandbytes", "compressed-tensors", "fp8")
        ),
        ("config.json", {"num_hidden_layers": "6"}, 'num_hidden_layers in config.json is the text "6"'),
        ("config.json", {"rope_parameters": {"rope_type": "default", "rope_theta": "1e4"}}, 'is the text "1e4"'),
        ("config.json", {"rope_theta": 5e5}, "rope_theta stands twice .*, as 10000.0 and 500000.0"),
        ("config.json", {"rope_parameters": {"factor": 4.0, "rope_theta": 1e4}}, "of which kind the scaling"),
        (
            "config.json",
            {"rope_parameters": {"type": "linear", "rope_type": "default", "rope_theta": 1e4, "factor": 4.0}},
            "of which kind the scaling",
        ),
        ("generation_config.json", {"eos_token_id": ["0"]}, 'eos_token_id in generation_config.json is the text "0"'),
        ("config.json", {"hidden_size": None}, "cannot read config.json: .*hidden_size"),
        ("config.json", {"rope_parameters": {"rope_type": "none", "rope_theta": 1e4}}, "no Hugging Face decoder"),
        ("config.json", {"rope_parameters": {"rope_type": [], "rope_theta": 1e4}}, "no Hugging Face decoder"),
        ("config.json", {"attn_implementation": "kernels-community/flash-attn"}, "kernels-community/flash-attn"),
        ("config.json", {"text": {"_attn_implementation": "flash_attention_2"}}, "flash_attention_2"),
        ("config.json", {"experts_implementation": "owner/experts"}, "owner/experts, a kernel"),
        ("config.json", {"transformers_weights": "other.safetensors"}, "names other weights"),
        ("config.json", {"model_type": "zzz"}, "no decoder of the type 'zzz': take"),
        ("config.json", {"model_type": "vit"}, "no decoder of the type 'vit': take"),
        ("config.json", {"model_type": None}, "no decoder of the type 'None'"),
        ("tokenizer_config.json", {"tokenizer_class": "ByT5Tokenizer"}, "ByT5Tokenizer has no fast form"),
    ],
)
def test_settings_that_cannot_be_carried_out_are_an_error(folder, file, values, says):
    change(folder / file, **values)
    refused(folder, says)


@pytest.mark.parametrize("whole_too", [True, False])
def test_an_adapter_is_an_error_and_its_base_is_not_fetched(folder, whole_too):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}')
    if not whole_too:
        (folder / "config.json").unlink()
    refused(folder, "LoRA adapter")


def test_a_tokenizer_that_gives_nothing_is_an_error(folder):
    """transformers makes a Llama tokenizer of three tokens of a folder without any."""
    (folder / "tokenizer.json").unlink()
    change(folder / "tokenizer_config.json", tokenizer_class="LlamaTokenizer")
    refused(folder, 'the tokenizer gives nothing for "the"')


# --- code in the folder ----------------------------------------------------------------------------------------------

OF_MODEL = {"auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model", "AutoTokenizer": "own.Toks"}}
OF_TOKENIZER = {"auto_map": {"AutoTokenizer": ["own.Toks", "own.Toks"]}}


def test_a_model_that_only_its_own_code_can_load_is_an_error(folder):
    (folder / "own.py").write_text(CODE)
    change(folder / "config.json", model_type="zzz", **OF_MODEL)
    refused(folder, r"'zzz'; its own code \(auto_map in config\.json\) is never run")


def test_a_tokenizer_that_only_its_own_code_can_load_is_an_error(folder):
    (folder / "own.py").write_text(CODE)
    change(folder / "tokenizer_config.json", tokenizer_class="Toks", **OF_TOKENIZER)
    refused(folder, "code of the model's own .*never run")


@torch.no_grad()
def test_a_known_model_is_loaded_without_its_code_and_passes_none_on(folder, teacher, capsys):
    (folder / "own.py").write_text(CODE)
    change(folder / "config.json", **OF_MODEL)
    change(folder / "tokenizer_config.json", **OF_TOKENIZER, tokenizer_class="PreTrainedTokenizerFast")
    import_model(folder, Path("kept"), "float32", "sources.teacher")
    assert "sources.teacher: config.json names code (auto_map)" in capsys.readouterr().err
    model, tokenizer = load_decoder("kept", "float32")
    assert torch.equal(model(input_ids=IDS).logits, teacher(input_ids=IDS).logits)
    export_student(model, student_top(model, FIRST), FIRST, tokenizer, Path("student"), torch.float32)
    assert not Path("executed").exists()
    assert not [path for path in Path("student").iterdir() if path.suffix == ".py" or b"auto_map" in path.read_bytes()]


def test_no_call_leaves_it_to_transformers_whether_code_is_run():
    calls = [
        (path.name, call)
        for path in (Path(__file__).parents[2] / "dskd").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "from_pretrained"
    ]
    assert len(calls) > 3
    for name, call in calls:
        said = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert (said.get("trust_remote_code"), said.get("local_files_only")) == ("False", "True"), name


def test_a_tokenizer_of_other_files_is_kept_in_the_form_that_the_stages_read(folder, tokenizer):
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, model["merges"])]) + "\n")
    change(folder / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")
    import_model(folder, Path("kept"), "float32", "sources.teacher")
    assert len(tokenizer_hash("kept")) == 64
    _, found = load_decoder("kept", "float32")
    assert found("the lazy dog").input_ids == tokenizer("the lazy dog").input_ids


# --- through the command line ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["teacher", "student"])
def test_a_model_that_is_not_whole_ends_the_stage_sources_in_one_line(project, source, tmp_path, monkeypatch):
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("transformers asks"))
    shutil.copytree("artifacts/teacher", tmp_path / "own")
    weights(tmp_path / "own", lambda w: {key: v for key, v in w.items() if ".3." not in key})
    values = yaml.safe_load(Path("params.yaml").read_text())
    entry = {"source": f"file:{tmp_path}/own", "sha256": sha256_tree(tmp_path / "own"), "licence": "none"}
    values[{"teacher": "sources", "student": "student"}[source]][{"teacher": "teacher"}.get(source, "source")] = entry
    Path("params.yaml").write_text(yaml.safe_dump(values))
    before = files(project / "artifacts")
    code, text = run("sources")
    names = {"teacher": "sources.teacher", "student": "student.source"}
    assert code == 1 and len(text.splitlines()) == 1
    assert text.startswith(f"dskd: {names[source]} is not the whole model of its configuration: model.layers.3.")
    if source == "teacher":
        assert files(project / "artifacts") == before


def test_a_block_longer_than_the_teacher_s_context_is_refused(project):
    values = yaml.safe_load(Path("params.yaml").read_text())
    before = files(project / "artifacts")
    values["corpus"] |= {"block_length": 65, "train_tokens": 650, "heldout_tokens": 65, "heldout_piece": None}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert run("corpus") == (
        1, "dskd: corpus.block_length is 65, but sources.teacher reads at most 64 tokens: set it to 64"
    )  # fmt: skip
    assert files(project / "artifacts") == before
    make_teacher().save_pretrained("artifacts/sources/student")
    change(Path("artifacts/sources/student/config.json"), max_position_embeddings=32)
    values["corpus"]["block_length"] = 64
    Path("params.yaml").write_text(yaml.safe_dump(values))
    code, text = run("corpus")
    assert code == 1 and "block_length is 64, but student.source reads at most 32 tokens" in text
