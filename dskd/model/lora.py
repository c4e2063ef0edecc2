"""Low-rank training of the trained layers (LoRA, Hu et al. 2021, arXiv 2106.09685), by the library peft.

Each weight matrix W of the trained layers is frozen and gets a product of two thin ones, W + (alpha / rank) B A, which
trains. Before the student is scored and exported the product is added to W: its folder is that of any other student.
"""

import torch
from torch import nn
from transformers import PreTrainedModel

from dskd.errors import UserError
from dskd.params import Lora


def add_lora(top: PreTrainedModel, settings: Lora, seed: int) -> None:
    """Freeze `top.layers` and put trainable low-rank products beside their weight matrices, in float32.

    B starts as 0, so that the student starts as without; A is drawn by `seed`.

    Raises:
        UserError: a matrix is no linear layer's, as the experts' of a mixture: it would not train.
    """
    from peft import LoraConfig, inject_adapter_in_model  # here: few runs need it, and it takes seconds

    matrices = [name for name, module in top.layers.named_modules() if isinstance(module, nn.Linear)]
    if others := [
        f"{name}.{key}"
        for name, module in top.layers.named_modules()
        for key, weight in module.named_parameters(recurse=False)
        if weight.dim() > 1 and name not in matrices and not _is_left(module)
    ]:
        raise UserError(
            f"student.lora puts no matrices beside {others[0]} (and {len(others) - 1} more), which is no linear layer "
            "and would not train: set student.lora to null"
        )
    top.layers.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(
            LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=matrices), top.layers
        )


def _is_left(module: nn.Module) -> bool:
    """Whether LoRA is meant to leave such a module as it is: an embedding or a norm."""
    return isinstance(module, nn.Embedding) or "norm" in type(module).__name__.lower()


def merge_lora(top: PreTrainedModel) -> None:
    """Add the products to the weight matrices; `top.layers` are then what they were before `add_lora`, but trained."""
    for name, module in list(top.layers.named_modules()):
        if hasattr(module, "lora_A"):
            module.merge()
            top.layers.set_submodule(name, module.get_base_layer())
