"""What a model must be made of to be cut: an embedding, a list of layers, a final norm and a head, under the names that
Llama gave them. A part is a decoder made of some of a model's layers.

Most families of decoders are so built; `architecture.check_architecture` tries it.
"""

import copy
import re

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from dskd.errors import UserError


def part(model: PreTrainedModel, layers: list[int], norm: bool) -> PreTrainedModel:
    """A decoder without a head made of some of the model's layers; weights are shared, not copied.

    Call it with `input_ids` or `inputs_embeds`; its `last_hidden_state` is (batch, length, d).

    Args:
        layers: indices into the model's layers, in order.
        norm: whether the model's final norm follows.
    """
    base = model.base_model
    config = layered_config(model.config, layers)
    with torch.device("meta"):  # no weights are made: all of them come from `base`
        shell = type(base)(config)
    shell.embed_tokens = base.embed_tokens
    shell.layers = nn.ModuleList(base.layers[i] for i in layers)
    shell.norm = base.norm if norm else nn.Identity()
    shell.rotary_emb = base.rotary_emb
    return shell.eval()


def run_part(model: PreTrainedModel, *, ids: Tensor | None = None, states: Tensor | None = None) -> Tensor:
    """Last hidden states (batch, length, d) of a part, from token ids or from split states; on the part's device."""
    ids, states = (None if given is None else given.to(model.device) for given in (ids, states))
    return model(input_ids=ids, inputs_embeds=states, use_cache=False).last_hidden_state


def layered_config(config: PreTrainedConfig, layers: list[int]) -> PreTrainedConfig:
    """The configuration of a model made of these layers; lists with an entry a layer (`layer_types`) are cut too."""
    number, config = config.num_hidden_layers, copy.deepcopy(config)
    config.num_hidden_layers = len(layers)
    for key, value in vars(config).items():
        if "layer" in key and isinstance(value, list) and len(value) == number:
            setattr(config, key, [value[i] for i in layers])
    return config


def cast(module: nn.Module, dtype: torch.dtype, model: PreTrainedModel) -> None:
    """Round what belongs to this model to `dtype`, all but what transformers keeps in float32 where it loads such a
    model: by its router's float32 numbers a mixture of experts tells experts apart that are one number in bfloat16."""
    kinds = [re.compile(kind.replace("*", ".*")) for kind in model._get_dtype_plan(dtype)]
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    kept = {name: tensor.data for name, tensor in tensors.items() if any(kind.search(name) for kind in kinds)}
    module.to(dtype)
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    for name, wide in kept.items():
        tensors[name].data = wide.float()


def check_layers(model: PreTrainedModel, layers: list[int]) -> None:
    """Try whether the configuration of a cut describes its layers: a model that is loaded is built from it.

    Raises:
        UserError: a layer would be built otherwise there than it is here.
    """
    with torch.device("meta"):
        shell = type(model.base_model)(layered_config(model.config, layers))
    for place, index in enumerate(layers):
        if _built(shell.layers[place]) != _built(model.base_model.layers[index]):
            raise UserError(
                f"layer {index} of {type(model).__name__} cannot be layer {place} of a student: the two are built "
                "differently, and no list of config.json says how; try another student.cut"
            )


def _built(layer: nn.Module) -> set[tuple]:
    """A layer's modules, shapes and plain settings, without its number."""
    found = {(name, tuple(weight.shape)) for name, weight in layer.named_parameters()}
    for name, module in layer.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, (bool, int, float, str)) and key not in ("layer_idx", "training") and key[0] != "_":
                found.add((name, key, value))
    return found
