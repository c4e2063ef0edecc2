"""Decoders from folders and GGUF files."""

import shutil
from pathlib import Path

import torch
from gguf import GGUFReader
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel, PreTrainedTokenizerBase

from dskd.errors import UserError, one_line
from dskd.infra.arithmetic import arithmetic_dtype
from dskd.infra.output import output
from dskd.model.parts import check_architecture
from dskd.model.tokenizer import load_tokenizer, save_tokenizer


def import_model(fetched: Path, place: Path, dtype: str) -> None:
    """Keep a model that was fetched, a GGUF file or a folder, as a Hugging Face folder.

    Raises:
        UserError: it cannot be loaded, or not be cut.
    """
    if fetched.is_file():
        import_gguf(fetched, place)
        return
    load_decoder(fetched, dtype)  # it must load before it is kept
    with output(place, checksums=True) as partial:
        shutil.copytree(fetched, partial)


def import_gguf(source: Path, destination: Path) -> None:
    """Turn one GGUF file into a Hugging Face folder: weights dequantised to bfloat16, tokenizer, chat template.

    Raises:
        UserError: transformers cannot read the file.
    """
    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    try:
        _check_gguf(source)
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model = AutoModelForCausalLM.from_pretrained(
            **where, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
    except Exception as error:  # transformers, gguf and numpy raise whatever damaged bytes lead to
        raise UserError(f"{source.name} is no GGUF decoder that transformers can read: {one_line(error)}") from None
    model.config._name_or_path = ""  # free text of the converter
    with output(destination, checksums=True) as partial:
        model.save_pretrained(partial)
        save_tokenizer(tokenizer, partial)


class _WholeGGUF(GGUFReader):
    """gguf's own reader goes on past the end of a file, for as many values as a damaged header promises."""

    def _get(self, offset, dtype, count=1, override_order=None):
        found = super()._get(offset, dtype, count, override_order)
        if len(found) != count:
            raise ValueError("the file ends too early")
        return found


def _check_gguf(source: Path) -> None:
    """Raise ValueError where the file is cut off or promises more layers than it has tensors."""
    reader = _WholeGGUF(source)
    for name, field in reader.fields.items():
        if name.endswith(".block_count") and int(field.contents()) > len(reader.tensors):
            raise ValueError(f"{name} is {field.contents()} for {len(reader.tensors)} tensors")


def load_decoder(folder: str | Path, dtype: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model and its tokenizer from a folder, frozen and in evaluation mode.

    Its weights are rounded to `dtype` and held in `arithmetic_dtype(dtype)`.

    Raises:
        UserError: the folder is no model, or one that cannot be cut, or its tokenizer makes ids that the model does not
            have.
    """
    tokenizer = load_tokenizer(folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} is no Hugging Face decoder: {one_line(error)}") from None
    if arithmetic_dtype(model.dtype) != model.dtype:  # .to() would also round what is not of this dtype, as rotations
        model = model.to(arithmetic_dtype(model.dtype))
    model.eval().requires_grad_(False)
    check_architecture(model)
    largest = max(tokenizer.get_vocab().values())
    if largest >= model.config.vocab_size:
        raise UserError(
            f"{folder}: the tokenizer has ids up to {largest}, the model's vocabulary ends at "
            f"{model.config.vocab_size - 1}; use the tokenizer that the model was trained with"
        )
    return model, tokenizer
