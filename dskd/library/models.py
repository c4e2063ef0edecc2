"""Models that others own: taken out of what wraps them, and left as they were."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dskd.errors import UserError


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run a model in evaluation mode. Each of its modules gets its own mode back: some may be frozen in a model that
    trains."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def unwrapped(model: nn.Module) -> PreTrainedModel:
    """The model inside of what runs it on many devices or compiles it, which stay as they are."""
    from accelerate.utils import extract_model_from_parallel

    # To keep what compiles it, accelerate would take DDP out of it.
    return extract_model_from_parallel(model, keep_torch_compile=False)


def check_plain(model: nn.Module) -> None:
    """Raise UserError where this is no model of transformers itself, but something around one."""
    if not isinstance(model, PreTrainedModel):
        raise UserError(
            f"the model is a {type(model).__name__}, and no model of transformers itself: give the one inside it; of "
            "PEFT's that is model.merge_and_unload(), or model.get_base_model() to keep LoRA apart"
        )


def vocabulary(model: nn.Module) -> int:
    """How many tokens a model has. UserError for one that reads pictures as well, whose text model has settings of its
    own."""
    size = getattr(model.config, "vocab_size", None)
    if size is None:
        raise UserError(
            f"{type(model).__name__} reads more than text: take the model of its text alone, such as Gemma3ForCausalLM "
            "of a Gemma3ForConditionalGeneration"
        )
    return size


def takes(model: nn.Module, name: str) -> bool:
    """Whether a model has such an argument; of what PEFT wraps, the model inside, which it is passed on to."""
    inner = getattr(model, "get_base_model", None)
    inside = inner() if inner else model
    return name in inspect.signature(inside.forward).parameters


class Exact(nn.Module):
    """A module whose own numbers keep their format. Only their device changes where they are moved together with a
    teacher, as by `.to("cuda", torch.bfloat16)`: of distances in bfloat16 little is left."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Exact":
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)
        for name, numbers in before.items():
            if (now := getattr(self, name)).dtype != numbers.dtype:
                setattr(self, name, numbers.to(now.device))
        return self


@contextmanager
def no_autocast() -> Iterator[None]:
    """Compute in the numbers' own formats, on each device: a distance is the difference of large products, of which
    bfloat16 leaves little."""
    device = torch.accelerator.current_accelerator()
    with torch.autocast("cpu", enabled=False), torch.autocast(device.type if device else "cpu", enabled=False):
        yield
