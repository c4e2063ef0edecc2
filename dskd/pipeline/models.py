"""All models of a run, loaded to be scored together."""

from pathlib import Path

from dskd.infra import artifacts
from dskd.infra.artifacts import require
from dskd.model.cut import student_top, teacher_top, trunk
from dskd.model.inference import Models
from dskd.model.logits import head_of
from dskd.model.origin import load_origin, teacher_split
from dskd.model.parts import cast
from dskd.model.tokenizer import stop_tokens
from dskd.params import Params
from dskd.pipeline.inputs import load_teacher
from dskd.students.store import load_student_top


def load_models(params: Params, students: list[str]) -> Models:
    """Teacher, untrained cut and the students of these names, ready to be scored together."""
    teacher, tokenizer = load_teacher(params)
    origin = load_origin(params, teacher, tokenizer)
    context = min(model.config.max_position_embeddings for model in (teacher, origin))
    stops = sorted({token for model in (teacher, origin) for token in stop_tokens(model, tokenizer)})

    # What stands above the split: the teacher's own layers, the cut's and the students'.
    split = teacher_split(params.student, teacher.config.num_hidden_layers)
    of_teacher = {"teacher": teacher_top(teacher, split)}
    tops = {"cut": student_top(origin, params.student)}
    cast(tops["cut"].layers, origin.dtype, origin)
    for name in students:
        folder = require(Path(artifacts.STUDENTS) / name, f"distill@{name}")
        tops[name] = load_student_top(folder, origin, params.student)

    # What stands below: one trunk for all, or one for the teacher and one for the students.
    if origin is teacher:
        return Models(trunk(teacher, split), of_teacher | tops, head_of(teacher), tokenizer, context, stops=stops)
    apart = Models(trunk(origin, params.student), tops, head_of(origin), tokenizer, context)
    return Models(trunk(teacher, split), of_teacher, head_of(teacher), tokenizer, context, apart, stops)
