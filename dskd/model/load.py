"""Decoders from folders and GGUF files. Here, and nowhere else, transformers is asked for a model."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from dskd.errors import UserError, one_line
from dskd.infra.arithmetic import arithmetic_dtype
from dskd.infra.made_of import save_made_of
from dskd.infra.output import output
from dskd.model.architecture import check_architecture
from dskd.model.folder import CONFIG, check_folder, code_of_its_own, read_config, read_settings, shown, stored
from dskd.model.gguf_file import check_file, check_import, read_gguf, split_as_said, stop_ids
from dskd.model.tokenizer import TOKENIZER, check_ids, check_tokenizer, load_tokenizer, save_tokenizer


def import_model(
    fetched: Path, place: Path, dtype: str, name: str | None = None, made_with: Mapping[str, object] | None = None
) -> None:
    """Keep a model that was fetched, a GGUF file or a folder, as a Hugging Face folder.

    It must load before it is kept. Errors call it `name`; `made_with` is noted beside it for `check_parameters`.

    Raises:
        UserError: it cannot be loaded, is not whole, or cannot be cut.
    """
    if fetched.is_file():
        import_gguf(fetched, place, dtype, name, made_with)
        return
    _, tokenizer = load_decoder(fetched, dtype, name)
    for file in code_of_its_own(fetched):
        print(f"{name or fetched}: {file} names code (auto_map); transformers' own is used instead", file=sys.stderr)
    with output(place, checksums=True) as partial:
        shutil.copytree(fetched, partial)
        if not (partial / TOKENIZER).exists():  # it was made of other files, as vocab.json and merges.txt
            save_tokenizer(tokenizer, partial)
        save_made_of(partial, {}, made_with)


def import_gguf(
    source: Path,
    destination: Path,
    dtype: str = "bfloat16",
    name: str | None = None,
    made_with: Mapping[str, object] | None = None,
) -> None:
    """Turn one GGUF file into a Hugging Face folder: weights dequantised to bfloat16, tokenizer, chat template.

    Raises:
        UserError: transformers cannot read the file, or it says something of the model that transformers drops.
    """
    name = name or source.name
    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    try:
        reader = read_gguf(source, name)
        check_file(reader, name)
        tokenizer = AutoTokenizer.from_pretrained(**where, trust_remote_code=False, local_files_only=True)
        options = {"dtype": torch.bfloat16, "quantization_config": GgufConfig(dequantize=True)}
        model = _whole(name, **where, **options)
        check_tokenizer(tokenizer, name)
        split_as_said(reader, tokenizer)
        check_import(reader, model, tokenizer, name)
    except (MemoryError, UserError):
        raise
    except Exception as error:  # transformers, gguf and numpy raise whatever damaged bytes lead to
        raise UserError(f"{name} is no GGUF decoder that transformers can read: {one_line(error)[:300]}") from None
    model.config._name_or_path = ""  # free text of the converter
    if len(stops := stop_ids(reader)) > 1:  # transformers takes the first alone
        model.generation_config.eos_token_id = stops
    with output(destination, checksums=True) as partial:
        model.save_pretrained(partial)
        save_tokenizer(tokenizer, partial)
        del model
        load_decoder(partial, dtype, name)
        save_made_of(partial, {}, made_with)


def load_decoder(
    folder: str | Path, dtype: str, name: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model and its tokenizer from a folder, frozen and in evaluation mode.

    Its weights are rounded to `dtype` and held in `arithmetic_dtype(dtype)`. Code in the folder is never run. A folder
    that names such code (`auto_map`) is loaded without it where transformers knows the type of model: most such code
    has since become part of transformers, as Phi-3's has, and its weights must fit one by one.

    Args:
        name: what errors call the folder; default: its path.

    Raises:
        UserError: the folder is no model, not a whole one, or one that cannot be cut, or its tokenizer makes ids that
            the model does not have.
    """
    name = name or str(folder)
    check_folder(folder, name)
    _check_type(folder, name)
    tokenizer = load_tokenizer(folder, name)
    try:
        model = _whole(name, pretrained_model_name_or_path=folder, dtype=getattr(torch, dtype), use_safetensors=True)
        if arithmetic_dtype(model.dtype) != model.dtype:  # .to() would also round rotations, which have another dtype
            model = model.to(arithmetic_dtype(model.dtype))
        model.eval().requires_grad_(False)
        _check_head(model, name)
        check_architecture(model)
        _check_rotations(folder, model, name)
        check_ids(tokenizer, model.config.vocab_size, name)
    except (MemoryError, UserError):
        raise
    except Exception as error:  # transformers raises whatever odd values in config.json lead to
        raise UserError(f"{name} is no Hugging Face decoder: {one_line(error)[:300]}") from None
    if hasattr(model.config, "auto_map"):  # who gets a student must not be asked to run code
        del model.config.auto_map
    return model, tokenizer


def _check_type(folder: str | Path, name: str) -> None:
    """Raise UserError if transformers has no decoder of this type; the folder's own code is never taken."""
    kind, coded = read_settings(Path(folder) / CONFIG, name).get("model_type"), CONFIG in code_of_its_own(folder)
    if not isinstance(kind, str) or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        code = f"; its own code (auto_map in {CONFIG}) is never run" if coded else ""
        raise UserError(f"{name}: transformers has no decoder of the type '{shown(kind)}'{code}: take another model")
    read_config(folder, name)


def _whole(name: str, **where) -> PreTrainedModel:
    """The model, every weight of which comes from its files. transformers fills what is missing with random numbers.

    Raises:
        UserError: a weight is missing, left over, of another shape, or not a finite number.
    """
    with _silent():
        model, found = AutoModelForCausalLM.from_pretrained(
            **where,
            trust_remote_code=False,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # reported below, with its shapes
            output_loading_info=True,
        )
    mismatched, missing, extra = (sorted(found[f"{kind}_keys"]) for kind in ("mismatched", "missing", "unexpected"))
    faults = [f"{shown(key)} has the shape {list(there)}, not {list(wanted)}" for key, there, wanted in mismatched]
    faults += [f"{shown(key)} is missing" for key in missing] + [f"{shown(key)} is not part of it" for key in extra]
    if wrapped := {key.partition(".")[0] for key in extra} & {"_orig_mod", "module"}:  # by torch.compile, DataParallel
        faults.insert(0, f"the names of its tensors begin with {wrapped.pop()}.")
    if faults:
        more = f" (and {len(faults) - 1} more tensors do not fit)" if len(faults) > 1 else ""
        raise UserError(
            f"{name} is not the whole model of its configuration: {faults[0]}{more}; save the model itself with "
            "save_pretrained, with the configuration that belongs to it"
        )
    for key, weight in model.state_dict().items():
        if not weight.sum(dtype=torch.float32).isfinite() and not weight.isfinite().all():  # the sum is fast
            raise UserError(
                f"{name}: {shown(key)} holds numbers that are infinite or none: fetch or make the model anew"
            )
    return model


def _check_head(model: PreTrainedModel, name: str) -> None:
    """Raise UserError where the folder holds the inside of a decoder alone, whose head would be its embedding: such
    models give vectors of texts and predict no token."""
    inside = type(model.base_model).__name__
    if model.base_model is not model and inside in (model.config.architectures or ()):
        raise UserError(f"{name} is a {inside}, which has no head to predict tokens: take a {type(model).__name__}")


def _check_rotations(folder: str | Path, model: PreTrainedModel, name: str) -> None:
    """Raise UserError where an old folder holds rotations of its own, which transformers passes over, and others are
    made from config.json."""
    made = getattr(model.base_model.rotary_emb, "inv_freq", None)
    for key, kept in stored(folder, "rotary_emb.inv_freq"):
        if made is None or kept.shape != made.shape or not torch.allclose(kept.float(), made.float(), 1e-2, 1e-4):
            raise UserError(f"{name}: {shown(key)} is not what {CONFIG} says (rope_theta, rope_scaling): mend {CONFIG}")


@contextmanager
def _silent() -> Iterator[None]:
    """Without transformers' table of what does not fit: one line says it."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
