"""A model's folder, looked at before anything of it is loaded.

transformers takes nearly every folder: it asks whether to run the folder's code, fetches kernels and the base of an
adapter, reads pickled weights, and goes on where a file of settings cannot be read. Here each of these is an error of
one line. Only safetensors are read, and nothing from outside the folder.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig

from dskd.errors import UserError, one_line

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
CONFIG, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"

_POINTER = b"version https://git-lfs.github.com/spec/"
_SETTINGS = (CONFIG, "generation_config.json", TOKENIZER_CONFIG, "special_tokens_map.json")
_READ = {".json", ".jinja", ".model", ".txt"}  # endings of what is read beside the weights
_PICKLED = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
_NUMBERS = {"F64", "F32", "F16", "BF16"}
_BUILT_IN = (None, "eager", "sdpa", "grouped_mm", "batched_mm")  # ways to compute that come with transformers and torch
_PART = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")  # of a distributed checkpoint


def check_folder(folder: str | Path, name: str) -> None:
    """Raise UserError, with this name of the folder, where it does not hold one whole model in safetensors."""
    folder = Path(folder)
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"{name} holds a LoRA adapter (adapter_config.json), whose base model is not pinned: merge the two "
            "(peft's merge_and_unload), save the result with save_pretrained, and name that folder"
        )
    if not (folder / CONFIG).is_file():
        hint = "; name the GGUF file itself" if any(folder.glob("*.gguf")) else ""
        raise UserError(f"{name} is no Hugging Face decoder: it has no {CONFIG}{hint}")
    check_settings(folder, name)
    config = read_settings(folder / CONFIG, name)
    _check_config(config, name)
    _check_rope(config, name)
    _check_weights(folder, name)


def check_settings(folder: str | Path, name: str) -> None:
    """Raise UserError where a small file is a Git LFS pointer, no JSON object, or has a number written as text:
    transformers may pass over it."""
    for path in sorted(Path(folder).iterdir()):
        if path.suffix in _READ and path.is_file():
            check_pointer(path, name)
            if path.name in _SETTINGS:
                _check_numbers(read_settings(path, name), path, name)


def read_settings(path: Path, name: str) -> dict:
    """The JSON object in a file of a model; UserError where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: {path.name} is no JSON ({one_line(error)[:200]})") from None
    if not isinstance(found, dict):
        raise UserError(f"{name}: {path.name} holds no JSON object")
    return found


def check_pointer(path: Path, name: str) -> None:
    """Raise UserError if Git LFS left a pointer in the place of a file."""
    with open(path, "rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise UserError(f"{name}: {path.name} is a Git LFS pointer, not the file: run `git lfs pull` where it lies")


def read_config(folder: str | Path, name: str) -> PreTrainedConfig:
    """The configuration of a model; no code of the folder is run. UserError where transformers does not know it."""
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever odd values lead to
        raise UserError(f"{name}: transformers cannot read {CONFIG}: {one_line(error)[:300]}") from None


def check_context(block_length: int, folders: Mapping[str, Path]) -> None:
    """Raise UserError if one of these models (name -> folder) cannot read a block of so many tokens."""
    for name, folder in folders.items():
        context = getattr(read_config(folder, name).get_text_config(), "max_position_embeddings", None)
        if context is not None and block_length > context:
            raise UserError(
                f"corpus.block_length is {block_length}, but {name} reads at most {context} tokens: set it to {context}"
            )


def code_of_its_own(folder: str | Path) -> list[str]:
    """The files in the folder that name Python code beside them (`auto_map`)."""
    paths = [path for name in (CONFIG, TOKENIZER_CONFIG) if (path := Path(folder) / name).is_file()]
    return [path.name for path in paths if "auto_map" in read_settings(path, str(folder))]


def stored(folder: str | Path, ending: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors in a folder's safetensors whose names end so."""
    for path in sorted(Path(folder).glob("model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            yield from ((key, file.get_tensor(key)) for key in file.keys() if key.endswith(ending))


def shown(value: object) -> str:
    """A name or value from a file of somebody else's, as it is shown: in one line, and not too long."""
    return repr(str(value)[:80])[1:-1]


def _check_config(config: dict, name: str) -> None:
    for key, value in _settings(config):
        if key in ("quantization_config", "compression_config") and value:
            kind = shown(value.get("quant_method", "") if isinstance(value, dict) else "")
            raise UserError(
                f"{name} is quantised ({key} in {CONFIG}{kind and f': {kind}'}): take the model in bfloat16, float16 "
                "or float32, or as one GGUF file"
            )
        if key.endswith("_implementation"):  # of attention or of experts
            asked = value.values() if isinstance(value, dict) else [value]
            if odd := [way for way in asked if way not in _BUILT_IN]:
                raise UserError(
                    f"{name}: {shown(key)} in {CONFIG} asks for {shown(odd[0])}, a kernel that would have to be "
                    f"fetched or built: take this key out of {CONFIG}"
                )
        if key == "transformers_weights" and value:
            raise UserError(f"{name}: {key} in {CONFIG} names other weights than {WEIGHTS}: save the model anew")


def _check_rope(config: dict, name: str) -> None:
    """Raise UserError where what is said of the rotations would be passed over."""
    told = [part for key in ("rope_scaling", "rope_parameters") if isinstance(part := config.get(key), dict)]
    for part in told:
        kinds = {str(part[key]) for key in ("type", "rope_type") if key in part}
        if len(kinds) > 1 or (kinds <= {"default"} and part.get("factor", 1) not in (None, 1)):
            raise UserError(
                f"{name}: {CONFIG} does not say of which kind the scaling of its rotations is: {shown(part)}"
            )
        theta = part.get("rope_theta")
        if None not in (theta, config.get("rope_theta")) and theta != config["rope_theta"]:
            raise UserError(
                f"{name}: rope_theta stands twice in {CONFIG}, as {theta} and {config['rope_theta']}: keep one"
            )


def _check_numbers(settings: dict, path: Path, name: str) -> None:
    if path.name in (CONFIG, "generation_config.json"):  # the tokens of the others may well be digits
        for key, value in _settings(settings):
            if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?", value):
                raise UserError(
                    f'{name}: {shown(key)} in {path.name} is the text "{shown(value)}": write it without quotes'
                )


def _settings(config: dict) -> Iterator[tuple[str, object]]:
    """Every key and value, also of the dictionaries and lists within, but for labels and what transformers keeps for
    itself."""
    for key, value in config.items():
        if key not in ("id2label", "label2id", "_commit_hash", "_name_or_path", "transformers_version"):
            yield key, value
            if isinstance(value, dict):
                yield from _settings(value)
            elif isinstance(value, list):
                yield from ((key, item) for item in value)


def _check_weights(folder: Path, name: str) -> None:
    if parts := sorted(path.name for path in folder.iterdir() if _PART.fullmatch(path.name)):
        raise UserError(f"{name} is a checkpoint of several processes ({parts[0]}): save the whole model from it")
    if (folder / WEIGHTS).is_file():
        found = {WEIGHTS: _tensors(folder / WEIGHTS, name)}
        if (folder / INDEX).is_file() and (others := sorted(_indexed(folder, name).keys() - {WEIGHTS})):
            raise UserError(f"{name} has two sets of weights, {WEIGHTS} and {others[0]}: keep those that belong to it")
    elif (folder / INDEX).is_file():
        found = _indexed(folder, name)
    else:
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
        why = f"; {pickled[0]} may be pickled, and loading it could run code" if pickled else ""
        raise UserError(f"{name} has no {WEIGHTS}{why}: save the model with save_pretrained, which writes safetensors")
    for file, tensors in found.items():
        if odd := sorted(key for key, kind in tensors.items() if kind not in _NUMBERS):
            raise UserError(
                f"{name}: {shown(odd[0])} in {file} is stored as {tensors[odd[0]]}, as if quantised: take the model in "
                "bfloat16, float16 or float32"
            )
    if not any(found.values()):
        raise UserError(f"{name}: {', '.join(found)} holds no tensor: fetch the model's weights anew")


def _indexed(folder: Path, name: str) -> dict[str, dict[str, str]]:
    """File -> its tensors, where these are the ones that the index says."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        wanted = {(str(file), key) for key, file in index["weight_map"].items()}
        named = isinstance(index["metadata"], dict)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{name}: {INDEX} is no index of weights ({one_line(error)[:200]})") from None
    files = sorted({file for file, _ in wanted})
    if not wanted or not named:
        raise UserError(f"{name}: {INDEX} is empty or names no files: fetch it anew")
    if odd := [file for file in files if not re.fullmatch(r"[\w.-]{1,200}\.safetensors", file)]:
        raise UserError(f"{name}: {INDEX} names '{shown(odd[0])}', which is no safetensors file of this folder")
    found = {file: _tensors(folder / file, name) for file in files}
    there = {(file, key) for file, tensors in found.items() for key in tensors}
    if there != wanted:
        first, many = shown(min(there ^ wanted)[1]), len(there ^ wanted)
        raise UserError(f"{name}: {INDEX} and the files differ in {many} tensors, first {first}: fetch the model anew")
    return found


def _tensors(path: Path, name: str) -> dict[str, str]:
    """Tensor -> the format of its numbers."""
    if not path.is_file():
        raise UserError(f"{name}: {path.name} is missing: fetch all files of the model")
    check_pointer(path, name)
    try:
        with safe_open(path, framework="np") as file:
            return {key: file.get_slice(key).get_dtype() for key in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{name}: {path.name} is empty, cut off or damaged ({one_line(error)[:200]})") from None
