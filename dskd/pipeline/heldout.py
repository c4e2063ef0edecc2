"""Scores on the held-out text, of a student that was just trained, and of all models of a run."""

from pathlib import Path
from statistics import fmean

from dskd.infra import artifacts
from dskd.infra.artifacts import require
from dskd.infra.hashes import sha256_tree
from dskd.model.inference import Models
from dskd.model.logits import Head
from dskd.model.origin import ORIGIN
from dskd.params import Params, student_names
from dskd.pipeline.inputs import cached_text, states_of
from dskd.scores.heldout import heldout_scores
from dskd.states.store import Text
from dskd.students.model_card import made_from
from dskd.students.store import Student


def heldout_of(params: Params, student: Student | None, teacher_head: Head, text: Text) -> dict[str, list[float]]:
    """The scores of each held-out block, "ce", "kl" and "agreement", as they are kept; of the teacher without a
    student."""
    found = heldout_scores(student, teacher_head, text, params.harvest.batch_size)
    return {key: values.tolist() for key, values in found.items()}


def heldout_of_all(params: Params, models: Models) -> dict[str, dict[str, list[float]]]:
    """Such scores of the teacher, of the untrained cut and of every student of the run, whose folders have theirs."""
    folders = {name: Path(artifacts.STUDENTS) / name for name in student_names(params)}
    expected = {**states_of(), "student": sha256_tree(ORIGIN) if params.student.source else None}
    for folder in folders.values():
        _check_student(folder, expected)
    cut = models.of("cut")
    student = Student(cut.tops["cut"], cut.head, None if cut is models else cut.lower)
    tops, text = {"teacher": None, "cut": student}, cached_text("heldout", models.lower.config.num_hidden_layers)
    found = {name: heldout_of(params, top, models.head, text) for name, top in tops.items()}
    return found | {name: artifacts.read_json(folder / "heldout.json") for name, folder in folders.items()}


def _check_student(folder: Path, expected: dict[str, str | None]) -> None:
    """Raise UserError where a student's card names another teacher, text or origin than the run's."""
    stage = f"distill@{folder.name}"
    known = made_from(require(folder / "README.md", stage))
    others = [artifacts.SHOWN[name] for name, digest in expected.items() if known.get(name) != digest]
    if others:
        raise artifacts.of_another_run(folder, stage, others)


def means(heldout: dict[str, list[float]]) -> dict[str, float]:
    """Means over the blocks of such scores."""
    return {key: fmean(values) for key, values in heldout.items()}
