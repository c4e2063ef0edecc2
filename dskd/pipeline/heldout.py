"""Scores on the held-out text, of a student that was just trained, and of all models of a run."""

from pathlib import Path
from statistics import fmean

from dskd.infra import artifacts
from dskd.model.inference import Models
from dskd.model.logits import Head
from dskd.params import Params, student_names
from dskd.pipeline.inputs import cached_text
from dskd.scores.heldout import heldout_scores
from dskd.states.store import Text
from dskd.students.store import Student


def heldout_of(params: Params, student: Student | None, teacher_head: Head, text: Text) -> dict[str, list[float]]:
    """The scores of each held-out block, "ce", "kl" and "agreement", as they are kept; of the teacher without a
    student."""
    found = heldout_scores(student, teacher_head, text, params.harvest.batch_size)
    return {key: values.tolist() for key, values in found.items()}


def heldout_of_all(params: Params, models: Models) -> dict[str, dict[str, list[float]]]:
    """Such scores of the teacher, of the untrained cut and of every student of the run, whose folders have theirs."""
    cut = models.of("cut")
    student = Student(cut.tops["cut"], cut.head, None if cut is models else cut.lower)
    tops, text = {"teacher": None, "cut": student}, cached_text("heldout", models.lower.config.num_hidden_layers)
    found = {name: heldout_of(params, top, models.head, text) for name, top in tops.items()}
    for name in student_names(params):
        found[name] = artifacts.read_json(Path(artifacts.STUDENTS) / name / "heldout.json")
    return found


def means(heldout: dict[str, list[float]]) -> dict[str, float]:
    """Means over the blocks of such scores."""
    return {key: fmean(values) for key, values in heldout.items()}
