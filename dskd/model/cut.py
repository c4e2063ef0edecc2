"""The teacher, the student cut from it, and both split where the student's trained layers begin.

Below the split teacher and student are the same frozen layers, so what enters the first trained layer
(`split_states`) is computed once and kept. A split model is an ordinary decoder of fewer layers:

    split_states = trunk(ids)            teacher's layers 0 .. N-m-1, no norm
    hidden_states = top(split_states)    the layers above, then the final norm
"""

import copy

from transformers import PreTrainedModel

from dskd.errors import UserError
from dskd.model.parts import check_layers, part
from dskd.params import StudentParams


def check_cut(student: StudentParams, teacher: PreTrainedModel) -> None:
    """Raise UserError if the teacher has no such layers, or they cannot stand where the student has them."""
    check_layers(teacher, student_layers(student, teacher.config.num_hidden_layers))


def split_depth(student: StudentParams) -> int:
    """How many layers of the teacher lie below the student's first trained layer (N - m, for both cuts)."""
    return student.layers - student.trained


def student_layers(student: StudentParams, teacher_layers: int) -> list[int]:
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


def trunk(teacher: PreTrainedModel, student: StudentParams) -> PreTrainedModel:
    """The frozen layers that teacher and student share: ids -> split states."""
    return part(teacher, list(range(split_depth(student))), norm=False)


def teacher_top(teacher: PreTrainedModel, student: StudentParams) -> PreTrainedModel:
    """The teacher above the split: split states -> last hidden states."""
    return part(teacher, list(range(split_depth(student), teacher.config.num_hidden_layers)), norm=True)


def student_top(teacher: PreTrainedModel, student: StudentParams) -> PreTrainedModel:
    """The student above the split, before training: copies in float32 of the teacher's layers.

    The layers train; the final norm stays the teacher's and frozen, as embeddings and head do.
    """
    layers = student_layers(student, teacher.config.num_hidden_layers)[split_depth(student) :]
    top = part(teacher, layers, norm=True)
    top.layers = copy.deepcopy(top.layers).float().requires_grad_(True)
    return top
