import json

import numpy as np
import pytest
import torch
from tiny.families import make_decoder
from tiny.ggufs import CONTROL, NORMAL, USER_DEFINED, gguf_tensors, write_gguf
from tiny.models import make_ids, make_teacher, make_tokenizer
from tiny.wordnet import train_tokenizer
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from dskd.errors import UserError
from dskd.infra.hashes import sha256_tree
from dskd.model.load import import_gguf, load_decoder

IDS = make_ids(2, 12).long()


def imported(source, folder):
    import_gguf(source, folder, "float32")
    return load_decoder(folder, "float32")


def refused(source) -> str:
    """The line of the error that the import ends in; nothing is written."""
    with pytest.raises(UserError) as error:
        import_gguf(source, source.parent / "out", "float32")
    assert {path.name for path in source.parent.iterdir()} == {source.name}
    assert source.name in str(error.value) and len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_a_gguf_file_gives_the_model_that_it_was_made_of(tmp_path, tokenizer, tied):
    teacher = make_teacher(torch.bfloat16, tied=tied).float()
    model, loaded = imported(write_gguf(tmp_path / "x.gguf", teacher, tokenizer), tmp_path / "out")
    torch.testing.assert_close(model(input_ids=IDS).logits, teacher(input_ids=IDS).logits)
    assert loaded("the lazy dog").input_ids == tokenizer("the lazy dog").input_ids


@torch.no_grad()
def test_another_architecture_is_checked_by_its_own_names(tmp_path, tokenizer):
    model = make_decoder("qwen2", use_sliding_window=False)
    for weight in model.parameters():
        weight.copy_(weight.bfloat16())  # as they are kept
    found, _ = imported(write_gguf(tmp_path / "x.gguf", model, tokenizer, architecture="qwen2"), tmp_path / "out")
    torch.testing.assert_close(found(input_ids=IDS).logits, model(input_ids=IDS).logits)
    metadata = {"qwen2.attention.sliding_window": 5}
    source = write_gguf(tmp_path / "y.gguf", model, tokenizer, metadata, architecture="qwen2")
    with pytest.raises(UserError, match=r"qwen2\.attention\.sliding_window = 5"):
        import_gguf(source, tmp_path / "other")


# --- tensors ---------------------------------------------------------------------------------------------------------


def without(tensors, *names):
    return {name: values for name, values in tensors.items() if name not in names}


def test_tensors_that_are_missing_are_an_error(tmp_path, teacher, tokenizer):
    tensors = without(gguf_tensors(teacher), "blk.3.attn_q.weight", "blk.2.attn_norm.weight")
    line = refused(write_gguf(tmp_path / "x.gguf", teacher, tokenizer, tensors=tensors))
    assert "model.layers.2.input_layernorm.weight is missing (and 1 more" in line


@pytest.mark.parametrize("layers, says", [(4, "no place for the tensor blk.4"), (8, r"model.layers.6.\S+ is missing")])
def test_another_number_of_layers_than_it_says_is_an_error(tmp_path, teacher, tokenizer, layers, says):
    source = write_gguf(tmp_path / "x.gguf", teacher, tokenizer, {"llama.block_count": layers})
    with pytest.raises(UserError, match=says):
        import_gguf(source, tmp_path / "out")


@pytest.mark.parametrize("name, size", [("rope_freqs.weight", 4), ("blk.0.attn_q.bias", 32), ("blk.1.new.weight", 3)])
def test_a_tensor_that_transformers_would_drop_is_an_error(tmp_path, teacher, tokenizer, name, size):
    tensors = gguf_tensors(teacher) | {name: np.full(size, 2, np.float32)}
    assert f"no place for the tensor {name}" in refused(
        write_gguf(tmp_path / "x.gguf", teacher, tokenizer, tensors=tensors)
    )


def test_rotations_all_of_which_stay_as_they_are_are_no_fault(tmp_path, teacher, tokenizer):
    tensors = gguf_tensors(teacher) | {"rope_freqs.weight": np.ones(4, np.float32)}
    imported(write_gguf(tmp_path / "x.gguf", teacher, tokenizer, tensors=tensors), tmp_path / "out")


def test_a_weight_that_is_no_number_is_an_error(tmp_path, teacher, tokenizer):
    tensors = gguf_tensors(teacher)
    tensors["blk.2.ffn_up.weight"][3, 4] = np.nan
    line = refused(write_gguf(tmp_path / "x.gguf", teacher, tokenizer, tensors=tensors))
    assert "model.layers.2.mlp.up_proj.weight holds numbers that are infinite or none" in line


# --- metadata --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata, says",
    [
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}, "rope.scaling.factor = 4.0"),
        ({"llama.rope.scaling.factor": 4.0}, "rope.scaling.factor = 4.0"),
        ({"llama.rope.scale_linear": 2.0}, "rope.scale_linear = 2.0"),
        ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0}, "rope.scaling.type = yarn"),
        ({"llama.rope.scaling.attn_factor": 1.2}, "rope.scaling.attn_factor"),
        ({"llama.attention.key_length": 16}, r"attention.key_length = 16 of the file \(its model has 8\)"),
        ({"llama.rope.dimension_count": 4}, "x.gguf"),
        ({"llama.attention.sliding_window": 16}, "attention.sliding_window = 16"),
        ({"llama.attention.scale": 0.5}, "attention.scale = 0.5"),
        ({"llama.rope.scaling.yarn_log_multiplier": 0.1}, "rope.scaling.yarn_log_multiplier"),
        ({"llama.attention.causal": False}, "attention.causal = False"),
        ({"llama.final_logit_softcapping": 3.0}, "final_logit_softcapping = 3.0"),
        ({"llama.expert_count": 8}, "expert_count = 8"),
        ({"split.count": 2, "split.no": 0}, "one of 2 split GGUF files .*llama-gguf-split --merge"),
        ({"split.tensors.count": 99}, "56 of 99 tensors"),
        ({"general.type": "adapter"}, "of the type 'adapter'"),
        ({"tokenizer.ggml.pre": None}, r"does not say how a text is split \(tokenizer\.ggml\.pre\): take a newer"),
        ({"tokenizer.ggml.pre": "default"}, "does not say how a text is split"),
        ({"tokenizer.ggml.pre": "deepseek-llm"}, "tokenizer.ggml.pre = deepseek-llm"),
        ({"tokenizer.ggml.pre": "llama-bpe"}, "add_bos_token is True, but transformers makes it False"),
        ({"tokenizer.ggml.normalizer.lowercase": True}, "tokenizer.ggml.normalizer.lowercase"),
    ],
)
def test_metadata_that_changes_the_numbers_and_is_dropped_is_an_error(tmp_path, teacher, tokenizer, metadata, says):
    source = write_gguf(tmp_path / "x.gguf", teacher, tokenizer, metadata)
    with pytest.raises(UserError, match=says):
        import_gguf(source, tmp_path / "out")


def test_a_file_that_does_not_say_how_many_heads_keys_have_is_an_error(tmp_path, tokenizer):
    """As many as there are heads, by the format; transformers then leaves the rows in the file's order."""
    model = make_decoder("llama", num_key_value_heads=4)
    source = write_gguf(tmp_path / "x.gguf", model, tokenizer, {"llama.attention.head_count_kv": None})
    assert "says nothing of attention.head_count_kv" in refused(source)
    imported(write_gguf(source, model, tokenizer), tmp_path / "out")


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("token, whole", [("<think>", True), ("<｜User｜>", False), ("größe", True), ("    ", False)])
def test_a_token_that_a_text_has_whole_is_found_whole_or_the_file_refused(tmp_path, token, whole, special):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([AddedToken(token, special=special, normalized=False)])
    vocabulary = tokenizer.get_vocab()
    types = [NORMAL] * len(vocabulary)
    types[vocabulary[token]] = CONTROL if special else USER_DEFINED
    types[vocabulary[tokenizer.eos_token]] = CONTROL
    model = make_teacher(vocabulary=len(vocabulary))
    source = write_gguf(tmp_path / "x.gguf", model, tokenizer, {"tokenizer.ggml.token_type": types})
    if whole:
        _, found = imported(source, tmp_path / "out")
        assert found(f"the{token}dog").input_ids.count(vocabulary[token]) == 1
    else:
        assert f"does not find the token {vocabulary[token]}, " in refused(source)


@pytest.mark.parametrize(("split", "together"), [("smollm", True), ("gpt-2", False)])
def test_digits_are_split_off_first_where_llama_cpp_does(tmp_path, split, together):
    """GPT-2 leaves the last of several spaces to the word after them, and no word begins with a digit here."""
    tokenizer = train_tokenizer(["one\n\n two\n\n three\n\n"] * 50)
    pair = tokenizer.convert_tokens_to_ids("\u010a\u010a")
    model = make_teacher(vocabulary=len(tokenizer))
    source = write_gguf(tmp_path / "x.gguf", model, tokenizer, {"tokenizer.ggml.pre": split})
    _, found = imported(source, tmp_path / "out")
    assert (pair in found("in\n\n1984")["input_ids"]) == together
    assert found.decode(found("in\n\n1984")["input_ids"]) == "in\n\n1984"


@pytest.mark.parametrize(("split", "whole"), [("llama-bpe", True), ("gpt-2", False)])
def test_a_word_that_is_a_token_is_one_without_merges_where_llama_cpp_has_it_so(tmp_path, split, whole):
    tokenizer = make_tokenizer()
    raw = json.loads(tokenizer.backend_tokenizer.to_str())
    word, number = next((w, n) for w, n in tokenizer.get_vocab().items() if len(w) > 4 and w[1:].isalpha())
    raw["model"]["merges"] = [pair for pair in raw["model"]["merges"] if "".join(pair) != word]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(raw)), eos_token="<|endoftext|>")
    more = {"tokenizer.ggml.pre": split, "tokenizer.ggml.add_bos_token": False}
    source = write_gguf(tmp_path / "x.gguf", make_teacher(), tokenizer, more)
    _, found = imported(source, tmp_path / "out")
    assert (number in found(word.replace("\u0120", " "))["input_ids"]) == whole


def test_metadata_that_changes_nothing_is_taken(tmp_path, teacher, tokenizer):
    import_gguf(write_gguf(tmp_path / "x.gguf", teacher, tokenizer), tmp_path / "plain")
    harmless = {
        "rope.scaling.type": "none",
        "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 64,
        "rope.dimension_count": 8,
        "attention.key_length": 8,
        "attention.value_length": 8,
        "attention.sliding_window": 4096,
        "attention.causal": True,
        "expert_count": 0,
        "final_logit_softcapping": 0.0,
        "tensor_data_layout": "Meta AI original pth",
    }
    metadata = {f"llama.{key}": value for key, value in harmless.items()}
    metadata |= {"split.count": 0, "general.finetune": "Instruct", "tokenizer.ggml.pre": "mpt"}
    metadata |= {"tokenizer.ggml.add_bos_token": False, "tokenizer.ggml.add_sep_token": False}
    import_gguf(write_gguf(tmp_path / "x.gguf", teacher, tokenizer, metadata), tmp_path / "out")
    assert sha256_tree(tmp_path / "out") == sha256_tree(tmp_path / "plain")


def test_a_rotation_left_to_llama_cpp_s_default_must_be_transformers_own(tmp_path, tokenizer):
    model = make_decoder("mistral", sliding_window=None)
    source = write_gguf(tmp_path / "x.gguf", model, tokenizer)
    import_gguf(source, tmp_path / "out")
    for theta in (1e4, 5e5):  # what the file says is what the model has
        model = make_decoder("llama", rope_parameters={"rope_type": "default", "rope_theta": theta})
        import_gguf(write_gguf(source, model, tokenizer), tmp_path / "out")
        assert load_decoder(tmp_path / "out", "float32")[0].config.rope_parameters["rope_theta"] == theta


def test_the_end_of_a_turn_is_a_token_that_ends_an_answer(tmp_path, teacher, tokenizer):
    model, _ = imported(
        write_gguf(tmp_path / "x.gguf", teacher, tokenizer, {"tokenizer.ggml.eot_token_id": 5}), tmp_path / "out"
    )
    assert model.generation_config.eos_token_id == [0, 5]


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda content: content[:-100], "ends too early"),
        (lambda content: content + content, "goes on for [0-9,]+ bytes after its last tensor"),
        (lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "Git LFS pointer"),
        (lambda content: b"", "no GGUF decoder"),
    ],
    ids=["cut off", "two in one", "pointer", "empty"],
)
def test_a_file_that_is_not_one_whole_model_is_an_error(tmp_path, teacher, tokenizer, change, says):
    source = write_gguf(tmp_path / "x.gguf", teacher, tokenizer)
    source.write_bytes(change(source.read_bytes()))
    with pytest.raises(UserError, match=says):
        import_gguf(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_decoder_that_cannot_be_cut_is_not_kept(tmp_path, teacher, tokenizer, monkeypatch):
    def refuse(model):
        raise UserError("it cannot be cut")

    monkeypatch.setattr("dskd.model.load.check_architecture", refuse)
    with pytest.raises(UserError, match="it cannot be cut"):
        import_gguf(write_gguf(tmp_path / "x.gguf", teacher, tokenizer), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.gguf"]
