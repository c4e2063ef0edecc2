"""How one student of a run is made, scored on held-out text, and written."""

import shutil
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dskd.infra import artifacts, processes
from dskd.infra.hashes import fingerprint, remove, sha256_tree
from dskd.infra.made_of import check_made_of
from dskd.infra.output import output
from dskd.model.logits import head_of
from dskd.model.lora import add_lora, merge_lora
from dskd.model.origin import ORIGIN, load_origin
from dskd.model.parts import cast
from dskd.params import Params, chosen_objective
from dskd.pipeline.given import Given, read_given
from dskd.pipeline.heldout import heldout_of, means
from dskd.pipeline.inputs import kept_dtype, targets_of
from dskd.students.model_card import LICENCE_FILE, Making, licences, model_card, prompt_licences
from dskd.students.projection import fitted_projection
from dskd.students.store import export_student, new_student
from dskd.students.train import Recipe, train
from dskd.targets.store import SenseTargets, load_targets


def make_student(params: Params, objective: str, seed: int) -> None:
    """Train one student, score it on the held-out text, and write its folder. A run that was stopped goes on."""
    name, weights = f"{objective}-{seed}", chosen_objective(params, objective)

    # What it is made from.
    given = read_given(params)  # with the held-out text, so that a fault in it shows before hours of training
    teacher, tokenizer = given.teacher, given.tokenizer
    origin = load_origin(params, teacher, tokenizer)
    targets = _targets(params, objective, given) if weights.sense else None
    hashes = _hashes(given, objective, with_targets=targets is not None, with_origin=origin is not teacher)
    made_from = fingerprint(params.runtime, params.student, weights, params.distill, seed, hashes, *given.beside)

    # Cut.
    student, teacher_head = new_student(origin, teacher, params.student), head_of(teacher)
    if params.student.lora:
        add_lora(student.top, params.student.lora, seed)

    with processes.output(Path(artifacts.STUDENTS) / name, made_from, checksums=True) as partial:
        main, work = processes.state().is_main_process, partial / ".work"
        if not (partial / "heldout.json").exists():
            # Train.
            if student.lower is not None and (weights.hidden or weights.sense):
                student = student._replace(projection=fitted_projection(origin, params.student, given.train))
            recipe = Recipe(weights, params.distill, seed, f"objectives.{objective}")
            train(student, teacher_head, given.train, targets, recipe, work)

            # Score and write.
            if main:
                with output(Path(artifacts.CURVES) / name) as place:
                    shutil.copytree(work / "curves", place)
                merge_lora(student.top)
                for dtype in (kept_dtype(params), teacher.dtype):  # what is scored is what the folder holds
                    cast(student.top.layers, dtype, origin)
                heldout = heldout_of(params, student, teacher_head, given.heldout)
                chat = bool(tokenizer.chat_template)
                scored = given.heldout.labels.numel()
                making = Making(objective, seed, given.teacher_layers, chat, means(heldout), scored, hashes)
                _write(params, origin, student.top, tokenizer, making, partial)
                artifacts.write_json(partial / "heldout.json", heldout)  # last: it marks the student as whole
        if main:
            remove(work)


def _targets(params: Params, objective: str, given: Given) -> SenseTargets:
    """The objective's targets; UserError where they are of another teacher or text than the student's, or were chosen
    by other parameters, or of another dictionary or lexicon than those that are there."""
    targets = load_targets(folder := Path(artifacts.TARGETS) / objective)
    wanted = {name: given.hashes[name] for name in ("teacher", "corpus")}
    check_made_of(folder, "targets", wanted | targets_of(params, objective))
    return targets


def _hashes(given: Given, objective: str, *, with_targets: bool, with_origin: bool) -> dict[str, str]:
    """SHA-256 of each artifact that a student is made from."""
    inputs = {}
    if with_targets:
        inputs["targets"] = Path(artifacts.TARGETS) / objective  # which lexicon and senses went into
    if with_origin:
        inputs["student"] = ORIGIN
    return given.hashes | {key: sha256_tree(path) for key, path in inputs.items()}


def _write(
    params: Params,
    origin: PreTrainedModel,
    top: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    making: Making,
    folder: Path,
) -> None:
    """The student's Hugging Face folder, with its card and the licences of its sources."""
    of_prompts = prompt_licences(params.prompts)
    export_student(origin, top, params.student, tokenizer, folder, kept_dtype(params))
    (folder / "README.md").write_text(model_card(params, making) + of_prompts, encoding="utf-8")
    terms = f"# Licences\n\n{licences(params.sources, params.student.source)}\n{of_prompts}"
    (folder / LICENCE_FILE).write_text(terms, encoding="utf-8")
