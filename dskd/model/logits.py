"""How logits follow from a model's last hidden states."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dskd.errors import UserError
from dskd.infra.arithmetic import fast_bfloat16


class LogitMap(NamedTuple):
    """How logits follow from the product z of a state and the head: `softcap * tanh(scale * z / softcap)`, or
    `scale * z` without a soft cap (Gemma 2: arXiv 2408.00118, section 2; Cohere's logit_scale). It keeps the order."""

    scale: float = 1.0
    softcap: float | None = None


class Head(NamedTuple):
    """What turns last hidden states into logits. It is frozen in every model of a run."""

    weight: Tensor  # (V, d) output embedding
    logit_map: LogitMap | None = None  # None: the logits are the plain product of state and weight
    wide: Tensor | None = None  # `weight` in float32, for `float_logits`

    def to(self, device: torch.device) -> "Head":
        """The same head on this device."""
        return self._replace(weight=self.weight.to(device))


def head_of(model: PreTrainedModel) -> Head:
    """The head of a whole model; its weight is shared, not copied.

    Raises:
        UserError: there is none, or it is more than a matrix.
    """
    softcap = getattr(model.config, "final_logit_softcapping", None)
    scale = getattr(model.config, "logit_scale", None)  # Cohere
    plain = softcap is None and scale is None
    logit_map = None if plain else LogitMap(1.0 if scale is None else scale, softcap)
    return Head(_matrix(model).weight, logit_map)


def _matrix(model: PreTrainedModel) -> nn.Linear:
    """The layer that is the head of a model, taken out of PEFT's `modules_to_save`; UserError where it has none, or one
    with a bias or with weights beside its own, as LoRA's, which would neither count nor train."""
    head, name = model.get_output_embeddings(), type(model).__name__
    if copies := getattr(head, "modules_to_save", None):
        active = [] if head.disable_adapters else head.active_adapters
        head = copies[active[0]] if active else head.original_module
    if not isinstance(head, nn.Module):
        raise UserError(f"{name} has no output head: load it with AutoModelForCausalLM")
    weights = sorted(key for key, _ in head.named_parameters())
    if not isinstance(head, nn.Linear) or weights != ["weight"]:
        raise UserError(
            f"the head of {name} is a {type(head).__name__} with {', '.join(weights)}: dskd takes one matrix without a "
            "bias; leave it out of PEFT's target_modules (modules_to_save is taken)"
        )
    return head


def mapped(products: Tensor, logit_map: LogitMap | None) -> Tensor:
    """The logits of these products; the products themselves where there is no map."""
    if logit_map is None:
        return products
    scaled = products * logit_map.scale
    return scaled if logit_map.softcap is None else logit_map.softcap * torch.tanh(scaled / logit_map.softcap)


def widened(head: Head) -> Head:
    """The head with its weight in float32 beside it, which `float_logits` needs."""
    return head._replace(wide=head.weight.float())


def float_logits(states: Tensor, head: Head, out: Tensor | None = None) -> Tensor:
    """The products of states (n, d) and a widened head in float32, (n, V), whatever the dtype of the two; before the
    logit map.

    Where both are bfloat16 numbers nothing is lost when oneDNN multiplies them as such and sums in float32, which is
    some three times as fast as a product of float32 numbers.

    Args:
        out: (n, V) float32, to be written to.
    """
    dtypes = {states.dtype, head.weight.dtype}
    narrow = dtypes == {torch.bfloat16} and states.device.type == "cpu" and fast_bfloat16()
    before = torch.backends.mkldnn.matmul.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = "bf16" if narrow else before
    try:
        return torch.mm(states.float(), head.wide.T, out=out)
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
