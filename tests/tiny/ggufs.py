"""Tiny decoders in the form of llama.cpp: its names of tensors, its order of the rotated rows, its metadata."""

import json
from pathlib import Path

import gguf
import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_IN_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
CONTROL, USER_DEFINED, NORMAL = 3, 4, 1  # types of tokens


def gguf_tensors(model: PreTrainedModel, architecture: str = "llama") -> dict[str, np.ndarray]:
    """The model's weights by llama.cpp's names; those of Llama have the halves of each head woven into each other."""
    config, found = model.config, {}
    for name, weight in model.named_parameters():
        stem, kind = name.rsplit(".", 1)
        place, values = _TOP.get(stem), weight.float().numpy()
        if place is None:
            _, _, layer, part = stem.split(".", 3)
            place = f"blk.{layer}.{_IN_LAYER[part]}"
            heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
            if architecture == "llama" and part in heads:
                halves = values.reshape(heads[part], 2, -1, *values.shape[1:])
                values = halves.swapaxes(1, 2).reshape(values.shape)
        found[f"{place}.{kind}"] = np.array(values, order="C")
    return found


def write_gguf(
    path: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    metadata: dict | None = None,
    tensors: dict[str, np.ndarray] | None = None,
    architecture: str = "llama",
) -> Path:
    """Write a model with a byte-level tokenizer.

    Args:
        metadata: more keys and values, or other values; None leaves a key out.
        tensors: default: `gguf_tensors(model, architecture)`.
    """
    config, vocabulary = model.config, tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.get)
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    special = set(tokenizer.all_special_tokens)
    every = {
        f"{architecture}.block_count": config.num_hidden_layers,
        f"{architecture}.context_length": config.max_position_embeddings,
        f"{architecture}.embedding_length": config.hidden_size,
        f"{architecture}.feed_forward_length": config.intermediate_size,
        f"{architecture}.attention.head_count": config.num_attention_heads,
        f"{architecture}.attention.head_count_kv": config.num_key_value_heads,
        f"{architecture}.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        f"{architecture}.rope.freq_base": float(config.rope_parameters["rope_theta"]),
        f"{architecture}.vocab_size": config.vocab_size,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [CONTROL if token in special else NORMAL for token in tokens],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in merges],
        "tokenizer.ggml.eos_token_id": vocabulary[tokenizer.eos_token],
    } | (metadata or {})
    writer = gguf.GGUFWriter(path, architecture)
    add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    for key, value in every.items():
        if value is None:
            continue
        add.get(type(value), writer.add_array)(key, value)
    for name, values in (gguf_tensors(model, architecture) if tensors is None else tensors).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
