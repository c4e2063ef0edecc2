"""How logits follow from states and head."""

from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dskd.infra.arithmetic import fast_bfloat16


class LogitMap(NamedTuple):
    """How logits follow from the product z of a state and the head: `softcap * tanh(scale * z / softcap)`, or
    `scale * z` without a soft cap (Gemma 2: arXiv 2408.00118, section 2; Cohere's logit_scale). It keeps the order."""

    scale: float = 1.0
    softcap: float | None = None


def logit_map(model: PreTrainedModel) -> LogitMap | None:
    """How the model's logits follow from the product of state and head; None where they are that product."""
    softcap = getattr(model.config, "final_logit_softcapping", None)
    scale = getattr(model.config, "logit_scale", None)  # Cohere
    return None if softcap is None and scale is None else LogitMap(1.0 if scale is None else scale, softcap)


def mapped(products: Tensor, logit_map: LogitMap | None) -> Tensor:
    """The logits of these products; the products themselves where there is no map."""
    if logit_map is None:
        return products
    scaled = products * logit_map.scale
    return scaled if logit_map.softcap is None else logit_map.softcap * torch.tanh(scaled / logit_map.softcap)


def float_logits(states: Tensor, head: Tensor, wide_head: Tensor, out: Tensor | None = None) -> Tensor:
    """states @ head.T in float32, (n, V), whatever the dtype of the two.

    Where both are bfloat16 numbers nothing is lost when oneDNN multiplies them as such and sums in float32, which is
    some three times as fast as a product of float32 numbers.

    Args:
        wide_head: `head` in float32, made once.
        out: to be written to.
    """
    narrow = states.dtype == head.dtype == torch.bfloat16 and states.device.type == "cpu" and fast_bfloat16()
    before = torch.backends.mkldnn.matmul.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = "bf16" if narrow else before
    try:
        return torch.mm(states.float(), wide_head.T, out=out)
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
