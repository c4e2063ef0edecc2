"""Scores on the held-out text, of a student that was just trained, and of all models of a run."""

from pathlib import Path
from statistics import fmean

from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.artifacts import require
from dskd.infra.hashes import sha256_tree
from dskd.infra.made_of import SHOWN, check_made_of, made_otherwise, of_another_run
from dskd.model.inference import Models
from dskd.model.logits import Head
from dskd.model.origin import ORIGIN
from dskd.params import Params, student_names
from dskd.pipeline.inputs import cached_text, check_inputs, states_of, targets_of
from dskd.scores.heldout import heldout_scores
from dskd.states.store import Text
from dskd.students.model_card import card_parameters, read_card, training
from dskd.students.store import Student


def heldout_of(params: Params, student: Student | None, teacher_head: Head, text: Text) -> dict[str, list[float]]:
    """The scores of each held-out block, "ce", "kl" and "agreement", as they are kept; of the teacher without a
    student."""
    found = heldout_scores(student, teacher_head, text, params.harvest.batch_size)
    return {key: values.tolist() for key, values in found.items()}


def heldout_of_all(params: Params, models: Models) -> dict[str, dict[str, list[float]]]:
    """Such scores of the teacher, of the untrained cut and of every student of the run, whose folders have theirs."""
    folders = {name: Path(artifacts.STUDENTS) / name for name in student_names(params)}
    cut = models.of("cut")
    student = Student(cut.tops["cut"], cut.head, None if cut is models else cut.lower)
    tops, text = {"teacher": None, "cut": student}, cached_text("heldout", models.lower.config.num_hidden_layers)
    found = {name: heldout_of(params, top, models.head, text) for name, top in tops.items()}
    return found | {name: artifacts.read_json(folder / "heldout.json") for name, folder in folders.items()}


def check_students(params: Params) -> None:
    """Raise UserError where the card of a student of the run names another teacher, text, origin or choice of targets
    than the run's, was written with other parameters of the training than there are now, or is of another seed."""
    states = states_of()
    expected = {**states, "student": sha256_tree(ORIGIN) if params.student.source else None}
    for objective in params.distill.objectives:
        wanted, targets = training(card_parameters(params, objective)), Path(artifacts.TARGETS) / objective
        folders = [Path(artifacts.STUDENTS) / f"{objective}-{seed}" for seed in params.distill.seeds]
        for folder in folders:
            _check_student(folder, expected, wanted)
        if params.objectives[objective].sense and targets.exists():  # which need not be where students are scored
            check_inputs(params, artifacts.SENSES)
            check_made_of(targets, "targets", states | targets_of(params, objective))
            for folder in folders:
                _check_student(folder, {"targets": sha256_tree(targets)}, wanted)


def _check_student(folder: Path, expected: dict[str, str | None], wanted: dict[str, object]) -> None:
    stage = f"distill@{folder.name}"
    card = read_card(require(folder / "README.md", stage))
    seed = folder.name.rpartition("-")[2]
    if card.seed not in (None, int(seed)):  # one that was copied, or pulled under this name, would count as one more
        raise UserError(
            f"{folder} holds a student of the seed {card.seed}, and would count as one of {seed}: run `dvc repro "
            f"{stage}`, or name it {folder.name.removesuffix(seed)}{card.seed}"
        )
    others = [SHOWN[name] for name, digest in expected.items() if card.hashes.get(name) != digest]
    if others:
        raise of_another_run(folder, stage, others)
    known = training(card.parameters)
    for key in sorted(wanted.keys() | known.keys()):
        if wanted.get(key) != known.get(key):
            raise made_otherwise(folder, stage, key, known.get(key), wanted.get(key))


def means(heldout: dict[str, list[float]]) -> dict[str, float]:
    """Means over the blocks of such scores."""
    return {key: fmean(values) for key, values in heldout.items()}
