"""All models of a run, loaded to be scored together."""

from pathlib import Path

from transformers import PreTrainedModel

from dskd.infra import artifacts
from dskd.infra.artifacts import require
from dskd.model import logits
from dskd.model.cut import student_top, teacher_top, trunk
from dskd.model.inference import Models
from dskd.model.origin import load_origin, teacher_split
from dskd.params import Params, StudentParams
from dskd.pipeline.inputs import load_teacher
from dskd.students.store import load_student_top


def load_models(params: Params, students: list[str]) -> Models:
    """Teacher, untrained cut and the students of these names, ready to be scored together."""
    teacher, tokenizer = load_teacher(params)
    origin = load_origin(params, teacher, tokenizer)
    context = min(model.config.max_position_embeddings for model in (teacher, origin))

    def models(model: PreTrainedModel, split: StudentParams, tops: dict[str, PreTrainedModel]) -> Models:
        head, logit_map = model.get_output_embeddings().weight, logits.logit_map(model)
        return Models(trunk(model, split), tops, head, tokenizer, context, logit_map)

    split = teacher_split(params.student, teacher.config.num_hidden_layers)
    tops = {"cut": student_top(origin, params.student)}
    tops["cut"].layers.to(origin.dtype)
    for name in students:
        folder = require(Path(artifacts.STUDENTS) / name, f"distill@{name}")
        tops[name] = load_student_top(folder, origin, params.student)
    of_teacher = {"teacher": teacher_top(teacher, split)}
    if origin is teacher:
        return models(teacher, split, of_teacher | tops)
    return models(teacher, split, of_teacher)._replace(apart=models(origin, params.student, tops))
