"""Tiny decoders of other families than Llama. Windows of 5 tokens are shorter than the tests' sequences, and layers
differ in kind, so that a mask, a kind or a rotation at the wrong layer shows."""

import torch
from tiny.models import LAYERS, VOCABULARY, WIDTH
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.configuration_auto import AutoConfig

WINDOW = 5
FAMILIES = {
    "llama": {},
    "mistral": {"sliding_window": WINDOW},
    "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 3},
    "qwen3": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 3, "head_dim": 8},
    "gemma2": {
        "sliding_window": WINDOW,
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "final_logit_softcapping": 3.0,
        "attn_logit_softcapping": 2.0,
    },
    "gemma3_text": {
        "sliding_window": WINDOW,
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "sliding_window_pattern": 3,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e2},
        },
    },
    "cohere": {"logit_scale": 0.3},
    "cohere2": {"logit_scale": 0.3, "sliding_window": WINDOW, "sliding_window_pattern": 3},
}


def make_decoder(family: str, tied: bool = True, seed: int = 0, **changes) -> PreTrainedModel:
    """A model of the family with random weights, frozen and in evaluation mode."""
    config = AutoConfig.for_model(
        family,
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": WIDTH,
            "intermediate_size": 64,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 64,
            "tie_word_embeddings": tied,
            "initializer_range": 0.2,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": 0,
        }
        | FAMILIES.get(family, {})
        | changes,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.data.uniform_(0.5, 1.5)
    return model.eval().requires_grad_(False)
