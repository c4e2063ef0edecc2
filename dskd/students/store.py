"""A student: as it trains, and as a Hugging Face folder."""

import copy
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.model.cut import split_depth, student_layers, student_top, trunk
from dskd.model.load import load_decoder
from dskd.model.logits import Head, head_of
from dskd.model.parts import cast, layered_config, part, run_part
from dskd.model.tokenizer import save_tokenizer
from dskd.params import StudentParams


class Student(NamedTuple):
    """A student as it trains: the layers above the split, and what they stand on. Head and lower layers are frozen."""

    top: PreTrainedModel  # states at the split -> last hidden states
    head: Head  # the teacher's own, where the student is cut from the teacher
    lower: PreTrainedModel | None = None  # ids -> states at the split; None: the teacher's, whose states are cached
    projection: nn.Linear | None = None  # its last hidden states -> the teacher's, where the two have other spaces

    def entering(self, split_states: Tensor, ids: Tensor) -> Tensor:
        """The states that enter its first trained layer, (b, L, d), for tokens `ids` (b, L) of which the teacher has
        these `split_states`."""
        return split_states if self.lower is None else run_part(self.lower, ids=ids)

    def in_teacher_space(self, states: Tensor) -> Tensor:
        """Its last hidden states (n, d) as they compare with the teacher's, (n, d_teacher)."""
        return states if self.projection is None else self.projection(states.float())


def new_student(origin: PreTrainedModel, teacher: PreTrainedModel, settings: StudentParams) -> Student:
    """The student before training, cut from `origin`: the teacher, or another model with its vocabulary."""
    lower = None if origin is teacher else trunk(origin, settings)
    return Student(student_top(origin, settings), head_of(origin), lower)


def assemble_student(teacher: PreTrainedModel, top: PreTrainedModel, student: StudentParams) -> PreTrainedModel:
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
    student: StudentParams,
    tokenizer: PreTrainedTokenizerBase,
    destination: Path,
    dtype: torch.dtype,
) -> None:
    """Write the student as a Hugging Face folder that loads without `dskd`: weights in `dtype` (`parts.cast`),
    tokenizer and chat template. Neither `teacher` nor `top` is changed."""
    model = copy.deepcopy(assemble_student(teacher, top, student))
    cast(model, dtype, teacher)
    model.save_pretrained(destination)
    save_tokenizer(tokenizer, destination)


def load_student_top(folder: Path, teacher: PreTrainedModel, student: StudentParams) -> PreTrainedModel:
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
