import json

import pytest
import torch
from model.test_inference import naive
from tiny.families import FAMILIES, make_decoder
from tiny.models import FIRST, make_ids
from transformers import AutoModelForCausalLM, Llama4TextConfig

from dskd.errors import UserError
from dskd.model.architecture import check_architecture
from dskd.model.cut import teacher_top, trunk
from dskd.model.inference import Choices, Models, log_likelihoods
from dskd.model.load import load_decoder
from dskd.model.logits import Head, head_of


@pytest.mark.parametrize(
    "family, changes, says",
    [
        ("gpt_neox", {}, "GPTNeoXForCausalLM, has no embed_tokens, norm"),
        ("gpt2", {"n_positions": 64}, "GPT2LMHeadModel, has no embed_tokens, layers, norm, rotary_emb"),
        ("granite", {"logits_scaling": 3.0}, r"GraniteForCausalLM,.*perhaps by.*logits_scaling"),
        ("granite", {"embedding_multiplier": 3.0}, r"GraniteForCausalLM,.*perhaps by.*embedding_multiplier"),
        ("phi", {}, "PhiForCausalLM, has no"),
    ],
)
def test_an_architecture_that_is_built_otherwise_is_an_error_that_names_it(family, changes, says, tokenizer, tmp_path):
    make_decoder(family, **changes).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=f"{says}.*Llama, Mistral"):
        load_decoder(tmp_path, "float32")


def test_a_setting_that_changes_the_logits_unknown_to_us_is_an_error(monkeypatch):
    teacher = make_decoder("cohere")
    monkeypatch.setattr("dskd.model.architecture.head_of", lambda model: Head(model.get_output_embeddings().weight))
    with pytest.raises(UserError, match="CohereForCausalLM, computes its logits otherwise"):
        check_architecture(teacher)


def test_layers_without_an_attention_of_that_name_are_an_error():
    teacher = make_decoder("llama")
    del teacher.base_model.layers[2].self_attn
    with pytest.raises(UserError, match=r"LlamaForCausalLM, has no layers\.\*\.self_attn"):
        check_architecture(teacher)


@pytest.mark.parametrize(
    "family, changes",
    [
        ("llama", {"is_causal": False}),
        ("qwen3", {"is_causal": False}),
        ("gemma3_text", {"use_bidirectional_attention": True}),
    ],
)
def test_a_model_that_sees_what_follows_is_an_error(family, changes, tokenizer, tmp_path):
    make_decoder(family, **changes).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="sees what follows a token"):
        load_decoder(tmp_path, "float32")


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_the_inside_of_a_decoder_alone_is_an_error(family, tokenizer, tmp_path):
    """With tied embeddings nothing is missing: the embedding would be its head."""
    model = make_decoder(family)
    model.base_model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=rf"no head to predict tokens: take a {type(model).__name__}"):
        load_decoder(tmp_path, "float32", "sources.teacher")


def test_a_decoder_that_cannot_be_cut_is_refused_for_what_it_lacks(tokenizer, tmp_path):
    """Llama 4 has no model inside that is another than itself."""
    sizes = dict.fromkeys(("hidden_size", "intermediate_size", "intermediate_size_mlp"), 32)
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    config = Llama4TextConfig(
        **sizes, **heads, vocab_size=len(tokenizer), num_hidden_layers=2, num_local_experts=2, moe_layers=[1],
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0),
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"Llama4ForCausalLM, has no embed_tokens, .* that dskd could cut at"):
        load_decoder(tmp_path, "float32")


@pytest.mark.parametrize("family", ["llama", "iquestcoder", "mistral", "gemma3_text"])
def test_a_window_in_the_configuration_narrows_only_what_the_model_narrows(family, tokenizer, tmp_path):
    make_decoder(family, sliding_window=5).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, _ = load_decoder(tmp_path, "float32")
    models = Models(trunk(model, FIRST), {"teacher": teacher_top(model, FIRST)}, head_of(model), None, 64)
    context = make_ids(1, 11)[0].tolist()
    found = log_likelihoods(models, [Choices(context, [[5, 7]])])["teacher"][0][0][0]
    assert found == pytest.approx(naive(model, context, [5, 7])[0], abs=1e-4)


def test_windows_of_other_layers_than_the_configuration_says_are_an_error(monkeypatch):
    model = make_decoder("gemma3_text")
    model.config.layer_types = ["sliding_attention"] * 6
    check_architecture(model)
    monkeypatch.setattr("dskd.model.architecture.run", lambda shell, *_, input_ids: torch.randn(1, 8, 32))
    with pytest.raises(UserError, match=r"other windows than its config\.json says"):
        check_architecture(model)


def test_a_model_that_cannot_be_run_in_parts_is_no_fault_of_its_folder(monkeypatch):
    model = make_decoder("llama")
    monkeypatch.setattr("dskd.model.architecture.part", lambda *_, **__: 1 / 0)
    with pytest.raises(UserError, match=r"LlamaForCausalLM, cannot be cut \(.*division by zero"):
        check_architecture(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_check_leaves_a_model_as_it_is(family):
    model = make_decoder(family)
    before, weights = json.dumps(model.config.to_dict(), default=str), model.state_dict()
    weights = {key: weight.clone() for key, weight in weights.items()}
    check_architecture(model)
    assert json.dumps(model.config.to_dict(), default=str) == before
    assert all(torch.equal(weight, weights[key]) for key, weight in model.state_dict().items())
