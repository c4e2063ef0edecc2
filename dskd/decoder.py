"""The teacher, the student cut from it, and both split where the student's trained layers begin.

Below the split teacher and student are the same frozen layers, so what enters the first trained layer
(`split_states`) is computed once and kept. A split model is an ordinary decoder of fewer layers:

    split_states = trunk(ids)            teacher's layers 0 .. N-m-1, no norm
    hidden_states = top(split_states)    the layers above, then the final norm
"""

import copy
from pathlib import Path

import torch
from gguf import GGUFReader
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel, PreTrainedTokenizerBase

from dskd import artifacts
from dskd.architecture import check_architecture, check_layers, layered_config, part
from dskd.artifacts import UserError, one_line
from dskd.determinism import fast_bfloat16
from dskd.params import Student


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
    with artifacts.output(destination, checksums=True) as partial:
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


def arithmetic_dtype(dtype: torch.dtype) -> torch.dtype:
    """The format to compute in where weights and states are kept in `dtype`: float32 for bfloat16 on a processor
    for which PyTorch has no fast product of it (x86 without AVX512-BF16 or AMX, where it is 2 to 70 times slower)."""
    return torch.float32 if dtype == torch.bfloat16 and not fast_bfloat16() else dtype


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


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """Raises UserError if the folder has no tokenizer."""
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} has no tokenizer that transformers can read: {one_line(error)}") from None


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a tokenizer's files, whose bytes do not tell whether it was loaded with HF_HUB_OFFLINE set."""
    tokenizer.init_kwargs["local_files_only"] = False
    tokenizer.save_pretrained(folder)


def check_cut(student: Student, teacher: PreTrainedModel) -> None:
    """Raise UserError if the teacher has no such layers, or they cannot stand where the student has them."""
    check_layers(teacher, student_layers(student, teacher.config.num_hidden_layers))


def split_depth(student: Student) -> int:
    """How many layers of the teacher lie below the student's first trained layer (N - m, for both cuts)."""
    return student.layers - student.trained


def student_layers(student: Student, teacher_layers: int) -> list[int]:
    """Which of the teacher's layers the student starts from, lowest first (docs/method.md, section 4).

    `first` is the paper's cut. `lower_last` starts the trained layers from the teacher's last ones.
    Raises UserError if the student wants more layers than the teacher has.
    """
    if student.layers > teacher_layers:
        raise UserError(
            f"student.layers = {student.layers}, but the teacher has {teacher_layers}: take at most {teacher_layers}"
        )
    start = split_depth(student) if student.cut == "first" else teacher_layers - student.trained
    return [*range(split_depth(student)), *range(start, start + student.trained)]


def trunk(teacher: PreTrainedModel, student: Student) -> PreTrainedModel:
    """The frozen layers that teacher and student share: ids -> split states."""
    return part(teacher, list(range(split_depth(student))), norm=False)


def teacher_top(teacher: PreTrainedModel, student: Student) -> PreTrainedModel:
    """The teacher above the split: split states -> last hidden states."""
    return part(teacher, list(range(split_depth(student), teacher.config.num_hidden_layers)), norm=True)


def student_top(teacher: PreTrainedModel, student: Student) -> PreTrainedModel:
    """The student above the split, before training: copies in float32 of the teacher's layers.

    The layers train; the final norm stays the teacher's and frozen, as embeddings and head do.
    """
    layers = student_layers(student, teacher.config.num_hidden_layers)[split_depth(student) :]
    top = part(teacher, layers, norm=True)
    top.layers = copy.deepcopy(top.layers).float().requires_grad_(True)
    return top


def assemble_student(teacher: PreTrainedModel, top: PreTrainedModel, student: Student) -> PreTrainedModel:
    """The whole student as an ordinary causal language model of the teacher's class; weights are shared."""
    layers = student_layers(student, teacher.config.num_hidden_layers)
    with torch.device("meta"):
        model = type(teacher)(layered_config(teacher.config, layers))
    base = model.base_model
    base.embed_tokens, base.rotary_emb = teacher.base_model.embed_tokens, teacher.base_model.rotary_emb
    base.norm = top.norm
    base.layers = nn.ModuleList([*teacher.base_model.layers[: split_depth(student)], *top.layers])
    for index, layer in enumerate(base.layers):
        layer.self_attn.layer_idx = index  # the key-value cache of generation counts by it
    model.set_output_embeddings(teacher.get_output_embeddings())
    model.generation_config = teacher.generation_config
    return model


def export_student(
    teacher: PreTrainedModel,
    top: PreTrainedModel,
    student: Student,
    tokenizer: PreTrainedTokenizerBase,
    destination: Path,
    card: str,
    dtype: torch.dtype,
) -> None:
    """Write the student as a Hugging Face folder that loads without `dskd`: weights in `dtype`, tokenizer, chat
    template and model card. Neither `teacher` nor `top` is changed."""
    model = copy.deepcopy(assemble_student(teacher, top, student)).to(dtype)
    model.save_pretrained(destination)
    save_tokenizer(tokenizer, destination)
    (destination / "README.md").write_text(card, encoding="utf-8")


def load_student_top(folder: Path, teacher: PreTrainedModel, student: Student) -> PreTrainedModel:
    """The trained part of an exported student, to be run on cached split states.

    Raises:
        UserError: the folder holds a student of another depth than the parameters say, or of another teacher.
    """
    with artifacts.reading(folder, "distill"):
        config = artifacts.read_json(folder / "config.json")
        layers, *shape = (int(config[key]) for key in ("num_hidden_layers", "vocab_size", "hidden_size"))
    if layers != student.layers:
        raise UserError(f"{folder} has {layers} layers, student.layers = {student.layers}: run `dvc repro distill`")
    if shape != [teacher.config.vocab_size, teacher.config.hidden_size]:
        raise UserError(
            f"{folder} was cut from another teacher: it has {shape[0]} tokens and states of {shape[1]}, the teacher "
            f"has {teacher.config.vocab_size} and {teacher.config.hidden_size}: run `dvc repro distill`"
        )
    model, _ = load_decoder(folder, str(teacher.dtype).removeprefix("torch."))
    return part(model.to(teacher.device), list(range(split_depth(student), student.layers)), norm=True)
