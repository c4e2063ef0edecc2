"""What a GGUF file says of its model, held against the model that transformers made of it.

transformers takes over the metadata that it knows and drops the rest without a word, as it drops tensors for which it
has no place. Whatever is dropped and changes the numbers is an error here that names it.
"""

import math
from pathlib import Path
from types import SimpleNamespace

from gguf import GGUFReader
from tokenizers import pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    LlamaTensorProcessor,
    TensorProcessor,
    get_gguf_hf_weights_map,
)

from dskd.errors import UserError
from dskd.model.folder import check_pointer, shown
from dskd.model.tokenizer import after_text, before_text

_FOLDER = "the model's Hugging Face folder"
_INSTEAD = f"take {_FOLDER} instead"
# Below the architecture's name; these change no number, or are held against others.
_HARMLESS = {
    "pooling_type",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "tensor_data_layout",
    "vocab_size",
}
# Whose queries and keys are kept in another order of rows than transformers'.
_TURNED = {name for name, kind in TENSOR_PROCESSORS.items() if issubclass(kind, LlamaTensorProcessor)}
_WHOLE = {3, 4}  # types of tokens: control, user-defined
# Below "tokenizer.ggml."; besides, every "…_token_id".
_OF_TOKENIZER = {"model", "pre", "tokens", "scores", "token_type", "token_type_count", "merges"}
_OF_TOKENIZER |= {"add_bos_token", "add_eos_token", "add_space_prefix"}
# Ways to split a text as GPT-2 does, which transformers takes for a name that it does not know.
_LIKE_GPT2 = {"gpt-2", "phi-2", "mpt", "olmo"}
_DIGITS_FIRST = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"}  # and then as GPT-2
_LIKE_LLAMA3 = {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"}
_WHOLE_WORDS = _LIKE_LLAMA3 | {"tekken"}  # a word that is a token is one, whatever the merges say


class _WholeGGUF(GGUFReader):
    """gguf's own reader goes on past the end of a file, for as many values as a damaged header promises."""

    def _get(self, offset, dtype, count=1, override_order=None):
        found = super()._get(offset, dtype, count, override_order)
        if len(found) != count:
            raise ValueError("the file ends too early")
        return found


def read_gguf(source: Path, name: str) -> GGUFReader:
    """The file, opened. Raises UserError if it is a Git LFS pointer, ValueError and others if it is damaged."""
    check_pointer(source, name)
    return _WholeGGUF(source)


def check_file(reader: GGUFReader, name: str) -> None:
    """Raise UserError where the file is not one whole model."""
    kind = _value(reader, "general.type", "model")
    if kind != "model" or any(key.startswith("adapter.") for key in reader.fields):
        raise UserError(
            f"{name} is a GGUF file of the type '{shown(kind)}', which is no whole model: name the model's own file"
        )
    if (pieces := _value(reader, "split.count", 1)) > 1:
        raise UserError(
            f"{name} begins with one of {pieces} split GGUF files (split.count), which cannot be joined byte by byte: "
            "merge them with `llama-gguf-split --merge` and name the merged file"
        )
    wanted = _value(reader, "split.tensors.count", len(reader.tensors))
    if wanted != len(reader.tensors):
        raise UserError(
            f"{name} holds {len(reader.tensors)} of {wanted} tensors (split.tensors.count): merge all parts"
        )
    for key, field in reader.fields.items():
        if key.endswith(".block_count") and int(field.contents()) > len(reader.tensors):
            raise UserError(
                f"{name} is not whole: {shown(key)} is {shown(field.contents())} for {len(reader.tensors)} tensors"
            )
    end = max((int(tensor.data_offset) + int(tensor.n_bytes) for tensor in reader.tensors), default=0)
    if len(reader.data) > end + reader.alignment:
        raise UserError(f"{name} goes on for {len(reader.data) - end:,} bytes after its last tensor: name one file")


def split_as_said(reader: GGUFReader, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let the tokenizer split texts as llama.cpp does for the name that the file says, where transformers does not."""
    backend, split = tokenizer.backend_tokenizer, _value(reader, "tokenizer.ggml.pre", "default")
    if _value(reader, "tokenizer.ggml.model", "") != "gpt2":
        return
    if split in _DIGITS_FIRST:
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    if split in _WHOLE_WORDS:
        backend.model.ignore_merges = True


def check_import(reader: GGUFReader, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raise UserError where the file says something of the model or its tokenizer that the two given do not have."""
    architecture = _value(reader, "general.architecture", "")
    _check_tensors(reader, model, architecture, name)
    _check_metadata(reader, model, architecture, name)
    _check_tokenizer(reader, tokenizer, architecture, name)


def stop_ids(reader: GGUFReader) -> list[int]:
    """The tokens that end an answer: of the text, of a turn, of a message."""
    keys = [f"tokenizer.ggml.{kind}_token_id" for kind in ("eos", "eot", "eom")]
    return sorted({int(_value(reader, key, -1)) for key in keys} - {-1})


def _value(reader: GGUFReader, key: str, default):
    field = reader.get_field(key)
    return default if field is None else field.contents()


def _check_tensors(reader: GGUFReader, model: PreTrainedModel, architecture: str, name: str) -> None:
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config=model.config.to_dict())
    # Its parts are not looked into, which takes seconds.
    whole = SimpleNamespace(config=model.config, state_dict=model.state_dict, named_children=lambda: [])
    placed = get_gguf_hf_weights_map(whole, processor)
    for tensor in reader.tensors:
        plain = tensor.name == "rope_freqs.weight" and (tensor.data == 1).all()  # no rotation is changed
        if tensor.name not in placed and not plain:
            raise UserError(
                f"{name}: transformers has no place for the tensor {shown(tensor.name)} in a {type(model).__name__} of "
                f"{model.config.num_hidden_layers} layers, and the model is another without it: {_INSTEAD}"
            )


def _check_metadata(reader: GGUFReader, model: PreTrainedModel, architecture: str, name: str) -> None:
    said = {
        key.removeprefix(f"{architecture}."): field.contents()
        for key, field in reader.fields.items()
        if key.startswith(f"{architecture}.")
    }
    made = _made(model)
    mapped = {key for key, target in GGUF_CONFIG_MAPPING.get(architecture, {}).items() if target is not None}

    # What the file says.
    for key, value in said.items():
        if key == "attention.sliding_window" and value >= model.config.max_position_embeddings:
            value = None  # as good as none
        if key in made:
            same = _same(value, made[key])
        elif key == "rope.scaling.type":
            same = value in ("none", "linear")  # linear: by its factor
        elif key in ("rope.scaling.factor", "rope.scale_linear", "rope.scaling.attn_factor"):
            same = value in (0, 1) or said.get("rope.scaling.type") == "none"
        else:  # 0: not set
            same = key in mapped or key in _HARMLESS or (value == 0 and not isinstance(value, bool))
        if not same:
            raise UserError(
                f"{name}: transformers drops {shown(f'{architecture}.{key}')} = {shown(value)} of the file"
                f"{f' (its model has {shown(made[key])})' if key in made else ''}, and the numbers would be others: "
                f"{_INSTEAD}"
            )

    # What it leaves to llama.cpp's defaults, where transformers has others.
    if architecture in _TURNED and "attention.head_count_kv" not in said:  # as many as there are heads
        raise UserError(
            f"{name} says nothing of attention.head_count_kv, and transformers would leave the rows of its queries in "
            f"another order: {_INSTEAD}"
        )
    defaults = {"rope.freq_base": 10000.0}
    if architecture != "gemma2":
        defaults["attention.sliding_window"] = None
    for key, value in defaults.items():
        if key not in said and key in made and not _same(value, made[key]):
            raise UserError(f"{name} says nothing of {key}, and transformers takes {made[key]} for it: {_INSTEAD}")
    scalar = getattr(model.config, "query_pre_attn_scalar", None)
    if scalar is not None and scalar != made["attention.key_length"]:  # Gemma 2 and 3 with 27 billion weights
        raise UserError(
            f"{name}: transformers takes {scalar} for query_pre_attn_scalar, which no GGUF says: {_INSTEAD}"
        )


def _made(model: PreTrainedModel) -> dict[str, object]:
    """What the model that transformers made has for some keys of llama.cpp."""
    config = model.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    made = {
        "attention.key_length": head,
        "attention.value_length": head,
        "attention.causal": True,
        "attention.sliding_window": _window(config),
        "final_logit_softcapping": getattr(config, "final_logit_softcapping", None),
        "attn_logit_softcapping": getattr(config, "attn_logit_softcapping", None),
        "logit_scale": getattr(config, "logit_scale", None),
    }
    kinds = getattr(config, "layer_types", None)
    if kinds and "sliding_attention" in kinds:
        made["attention.sliding_window_pattern"] = [kind == "sliding_attention" for kind in kinds]
    if hasattr(config, "use_parallel_residual"):
        made["use_parallel_residual"] = config.use_parallel_residual
    rotations = dict(getattr(model.base_model, "rotary_emb", model).named_buffers(recurse=False))
    frequencies = rotations.get("inv_freq", rotations.get("full_attention_inv_freq"))
    if frequencies is not None:
        rotated = 2 * len(frequencies)
        made["rope.dimension_count"] = rotated
        if rotated > 2:
            made["rope.freq_base"] = float(frequencies[1].double() ** (-rotated / 2))
    local = rotations.get("sliding_attention_inv_freq")
    if local is not None and len(local) > 1:
        made["rope.freq_base_swa"] = float(local[1].double() ** -len(local))
    return made


def _window(config) -> int | None:
    """How far a layer with a window sees; None where no layer has one, or none that is shorter than the context."""
    window, kinds = getattr(config, "sliding_window", None), getattr(config, "layer_types", None)
    if not window or not getattr(config, "use_sliding_window", True) or window >= config.max_position_embeddings:
        return None
    return None if kinds is not None and "sliding_attention" not in kinds else window


def _same(value, made) -> bool:
    if isinstance(made, list) and type(value) is int:  # one layer of so many has no window
        value = [value == 0 or (place + 1) % value != 0 for place in range(len(made))]
    if made is None:
        return value is None or value == 0  # 0: not set
    if isinstance(value, (bool, list)) or value is None:
        return value == made
    return math.isclose(value, made, rel_tol=1e-3)


def _check_tokenizer(reader: GGUFReader, tokenizer: PreTrainedTokenizerBase, architecture: str, name: str) -> None:
    for key, field in reader.fields.items():
        known = key.removeprefix("tokenizer.ggml.") in _OF_TOKENIZER or key.endswith("_token_id")
        if key.startswith("tokenizer.ggml.") and not known and field.contents():
            raise UserError(
                f"{name}: transformers drops {shown(key)} of the file, and texts would be split otherwise: {_INSTEAD}"
            )
    kind, split = _value(reader, "tokenizer.ggml.model", ""), _value(reader, "tokenizer.ggml.pre", "default")
    if kind == "gpt2" and split == "default":  # which is of several models, and none's own
        raise UserError(
            f"{name} does not say how a text is split (tokenizer.ggml.pre): take a newer file, or {_FOLDER}"
        )
    if kind == "gpt2" and split not in _LIKE_GPT2 | _DIGITS_FIRST | GGUF_PRE_TOKENIZER_SPLITS.keys():
        raise UserError(
            f"{name}: transformers does not know how to split a text by tokenizer.ggml.pre = {shown(split)}: {_INSTEAD}"
        )
    if kind == "gpt2":
        _check_whole(reader, tokenizer, name)
    spaced = tokenizer.tokenize("a")[:1] != ["a"]
    made = {"add_bos_token": bool(before_text(tokenizer)), "add_eos_token": bool(after_text(tokenizer))}
    default = {"add_bos_token": kind == "llama" or split in _LIKE_LLAMA3, "add_eos_token": False}
    if kind == "llama":
        made["add_space_prefix"], default["add_space_prefix"] = spaced, not architecture.startswith("gemma")
    for key, has in made.items():
        wanted = bool(_value(reader, f"tokenizer.ggml.{key}", default[key]))
        if wanted != has:
            raise UserError(f"{name}: tokenizer.ggml.{key} is {wanted}, but transformers makes it {has}: {_INSTEAD}")


def _check_whole(reader: GGUFReader, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raise UserError where a token that a text has whole, a turn's mark or one that was added, is cut into pieces."""
    tokens = _value(reader, "tokenizer.ggml.tokens", [])
    kinds = _value(reader, "tokenizer.ggml.token_type", [])
    asked = [(number, token) for number, (token, kind) in enumerate(zip(tokens, kinds)) if token and kind in _WHOLE]
    rows = tokenizer([token for _, token in asked], add_special_tokens=False)["input_ids"] if asked else []
    for (number, token), row in zip(asked, rows):
        if row != [number]:
            raise UserError(
                f"{name}: transformers does not find the token {number}, {shown(token)}, whole in a text: {_INSTEAD}"
            )
