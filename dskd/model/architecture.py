"""Whether a model can be cut, split and scored as dskd does it. It is tried on a few tokens, instead of keeping a list
of names: some models multiply what enters the layers, others what leaves them, and some see what follows.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dskd.errors import UserError, one_line
from dskd.model.inference import run
from dskd.model.logits import head_of, mapped
from dskd.model.parts import part, run_part

SUPPORTED = "Llama, Mistral, Qwen2, Qwen3, Gemma 2 and 3 (text), Cohere and others that are built as they are"
_PARTS = ("embed_tokens", "layers", "norm", "rotary_emb")
_TOKENS = 8  # of the sequence that is tried
_NARROW = 4  # the window that is tried; the model's own is longer than a quick try


@torch.no_grad()
def check_architecture(model: PreTrainedModel) -> None:
    """Try whether the model, split in the middle, gives the logits that it gives as a whole, and no token of it sees
    what follows. A window in its configuration that its code does not have is taken out of the configuration.

    Raises:
        UserError: it names the architecture, and the setting where one is known to be the cause.
    """
    name = f"the model's architecture, {type(model).__name__},"
    _check_parts(model, name)
    try:
        _check_logits(model, name)
        if sees_ahead(lambda ids: model(input_ids=ids, use_cache=False).logits, model.config.vocab_size):
            raise UserError(
                f"{name} sees what follows a token (is_causal, use_bidirectional_attention in config.json): take a "
                "model that predicts the next token"
            )
        _check_window(model, name)
    except (MemoryError, UserError):
        raise
    except Exception as error:  # whatever a model raises that is called in parts
        raise UserError(f"{name} cannot be cut ({one_line(error)[:200]}): dskd takes {SUPPORTED}") from None


def sees_ahead(run: Callable[[Tensor], Tensor], vocabulary: int) -> bool:
    """Whether anything that a model gives for the first half of a few tokens changes with the second half.

    Args:
        run: ids (1, length) -> (1, length, anything), as the model gives it.
        vocabulary: how many tokens the model has.
    """
    ids, half = probe(vocabulary), _TOKENS // 2
    other = torch.cat([ids[:, :half], ids[:, :half]], dim=1)
    return _distance(run(ids)[:, :half], run(other)[:, :half]) > 0.02  # experts may sum in another order


def probe(vocabulary: int) -> Tensor:
    """A few tokens, (1, length) int64, no two alike."""
    return (torch.arange(1, _TOKENS + 1) * (vocabulary // (_TOKENS + 1)))[None]


def _check_parts(model: PreTrainedModel, name: str) -> None:
    """Raise UserError where a part has another name or is of another kind than those that dskd cuts at."""
    head = model.get_output_embeddings()
    missing = [part for part in _PARTS if not hasattr(model.base_model, part)]
    if not missing and any(not hasattr(layer, "self_attn") for layer in model.base_model.layers):
        missing = ["layers.*.self_attn"]
    if missing or not isinstance(head, nn.Linear) or head.bias is not None:
        why = f"has no {', '.join(missing)}" if missing else "has no plain output head"
        raise UserError(f"{name} {why} that dskd could cut at: it takes {SUPPORTED}")
    if odd := set(getattr(model.config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}:
        raise UserError(f"{name} has layers of {', '.join(sorted(odd))}: dskd takes {SUPPORTED}")


def _check_logits(model: PreTrainedModel, name: str) -> None:
    number, ids = model.config.num_hidden_layers, probe(model.config.vocab_size)
    lower, upper = list(range(number // 2)), list(range(number // 2, number))
    states = run_part(part(model, upper, norm=True), states=run_part(part(model, lower, norm=False), ids=ids))
    head = model.get_output_embeddings()
    whole, split = model(input_ids=ids).logits.float(), mapped(head(states), head_of(model).logit_map).float()
    if not (whole - split).abs().max() <= 0.02 * whole.abs().max():  # bfloat16 may round otherwise; NaN is a fault
        settings = [key for key, value in vars(model.config).items() if "multiplier" in key or "scaling" in key]
        cause = f" (perhaps by {', '.join(settings)})" if settings else ""
        raise UserError(f"{name} computes its logits otherwise{cause} than from its parts: dskd takes {SUPPORTED}")


def _check_window(model: PreTrainedModel, name: str) -> None:
    """See that the masks of `inference.run` have the windows that the model's own code has. Some configurations name a
    window that the code passes over (Llama's has none); there it is set to None."""
    if getattr(model.config, "sliding_window", None) is None:
        return
    ids, places = probe(model.config.vocab_size), torch.arange(_TOKENS)[None]
    shell = part(model, list(range(model.config.num_hidden_layers)), norm=True)
    shell.config.sliding_window = _NARROW
    own, mask = run_part(shell, ids=ids), torch.ones(1, 1, _TOKENS, _TOKENS, dtype=torch.bool).tril()
    away = {}
    for window in (_NARROW, _TOKENS):  # one that narrows, and one as good as none
        shell.config.sliding_window = window
        away[window] = _distance(own, run(shell, mask, places, input_ids=ids))
    without = away[_TOKENS] < away[_NARROW]
    by_layer = "sliding_attention" in (getattr(model.config, "layer_types", None) or ())
    if (without and by_layer) or not min(away.values()) <= 0.1:  # rounding is far below
        raise UserError(f"{name} has other windows than its config.json says (sliding_window): dskd takes {SUPPORTED}")
    if without:
        model.config.sliding_window = None


def _distance(one: Tensor, other: Tensor) -> float:
    """The largest difference of two vectors of (1, length, d), as a share of the vector's length."""
    one, other = one.float(), other.float()
    return float(((one - other).norm(dim=2) / one.norm(dim=2)).max())
