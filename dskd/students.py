"""The students of a run: how one is made and written, and how all are loaded to be scored."""

import shutil
from pathlib import Path
from statistics import fmean

from torch import Tensor
from transformers import PreTrainedModel

from dskd import architecture, artifacts, card, decoder, processes
from dskd.answers import licences
from dskd.artifacts import UserError, require
from dskd.distill import train
from dskd.evaluate import heldout_scores
from dskd.inputs import cached_states, kept_dtype, labels, load_teacher, tokens
from dskd.lora import add_lora, merge_lora
from dskd.losses import LogitMap
from dskd.own_student import ORIGIN, OwnStudent, fitted_projection, load_origin, own_student, teacher_split
from dskd.params import Objective, Params, Student
from dskd.scoring import Models
from dskd.targets import load_targets


def chosen_objective(params: Params, objective: str) -> Objective:
    """The weights of an objective; UserError where params.yaml has none of that name."""
    if objective not in params.objectives:
        raise UserError(f"no objective {objective!r}; params.yaml has: {', '.join(params.objectives)}")
    return params.objectives[objective]


def student_names(params: Params) -> list[str]:
    """The students of the run, in the order of the parameters: "kd-0", …"""
    return [f"{objective}-{seed}" for objective in params.distill.objectives for seed in params.distill.seeds]


def make_student(params: Params, objective: str, seed: int) -> None:
    """Train one student, score it on the held-out text, and write its folder. A run that was stopped goes on."""
    name, weights = f"{objective}-{seed}", chosen_objective(params, objective)
    teacher, tokenizer = load_teacher(params)
    origin = load_origin(params, teacher, tokenizer)
    own = None if origin is teacher else own_student(origin, params.student, tokens("train"))
    states, _ = cached_states("train"), cached_states("heldout")  # a fault in either shows before hours of training
    chosen = Path(artifacts.TARGETS) / objective
    pulling = load_targets(chosen) if weights.sense else None
    inputs = {"teacher": artifacts.TEACHER, "corpus": artifacts.CORPUS, "states": artifacts.STATES}
    if pulling is not None:
        inputs["targets"] = chosen  # which lexicon and senses went into
    if own:
        inputs["student"] = ORIGIN
    hashes = {key: artifacts.sha256_tree(path) for key, path in inputs.items()}
    made_from = artifacts.fingerprint(params.runtime, params.student, weights, params.distill, seed, hashes)
    head, logit_map = teacher.get_output_embeddings().weight, architecture.logit_map(teacher)
    top = decoder.student_top(origin, params.student)
    if params.student.lora:
        add_lora(top, params.student.lora, seed)
    with processes.output(Path(artifacts.STUDENTS) / name, made_from, checksums=True) as partial:
        work = partial / ".work"
        if not (partial / "heldout.json").exists():
            curves = work / "curves"
            data = (states, labels("train"), pulling)
            if own and (weights.hidden or weights.sense):
                own = own._replace(projection=fitted_projection(origin, params.student, own.ids, states))
            train(top, head, *data, weights, params.distill, seed, work, curves, logit_map, own)
            if processes.state().is_main_process:
                merge_lora(top)
                with artifacts.output(Path(artifacts.CURVES) / name) as place:
                    shutil.copytree(curves, place)
                top.layers.to(kept_dtype(params)).to(teacher.dtype)  # what is scored is what the folder will hold
                heldout = heldout_of(params, top, head, logit_map, own and own._replace(ids=tokens("heldout")))
                depth, chat = teacher.config.num_hidden_layers, bool(tokenizer.chat_template)
                text = card.model_card(name, objective, seed, depth, params, means(heldout), hashes, chat)
                of_prompts = licences(params.prompts)
                text += of_prompts
                decoder.export_student(origin, top, params.student, tokenizer, partial, text, kept_dtype(params))
                terms = f"# Licences\n\n{card.licences(params.sources, params.student.source)}\n{of_prompts}"
                (partial / card.LICENCE_FILE).write_text(terms, encoding="utf-8")
                artifacts.write_json(partial / "heldout.json", heldout)  # last: it marks the student as whole
        if processes.state().is_main_process:
            artifacts.remove(work)


def heldout_of(
    params: Params,
    top: PreTrainedModel | None,
    head: Tensor,
    logit_map: LogitMap | None,
    own: OwnStudent | None,
) -> dict[str, list[float]]:
    """The scores of each held-out block, "ce", "kl" and "agreement", as they are kept; no top: the teacher itself.
    `own` has the held-out blocks' tokens."""
    states, targets = cached_states("heldout"), labels("heldout")
    found = heldout_scores(top, head, states, targets, params.harvest.batch_size, logit_map, own)
    return {key: values.tolist() for key, values in found.items()}


def means(heldout: dict[str, list[float]]) -> dict[str, float]:
    """Of such scores, over the blocks."""
    return {key: fmean(values) for key, values in heldout.items()}


def load_models(params: Params, students: list[str]) -> Models:
    """Teacher, untrained cut and the students of these names, ready to be scored together."""
    teacher, tokenizer = load_teacher(params)
    origin = load_origin(params, teacher, tokenizer)
    context = min(model.config.max_position_embeddings for model in (teacher, origin))

    def models(model: PreTrainedModel, split: Student, tops: dict[str, PreTrainedModel]) -> Models:
        head, logit_map = model.get_output_embeddings().weight, architecture.logit_map(model)
        return Models(decoder.trunk(model, split), tops, head, tokenizer, context, logit_map)

    split = teacher_split(params.student, teacher.config.num_hidden_layers)
    tops = {"cut": decoder.student_top(origin, params.student)}
    tops["cut"].layers.to(origin.dtype)
    for name in students:
        folder = require(Path(artifacts.STUDENTS) / name, f"distill@{name}")
        tops[name] = decoder.load_student_top(folder, origin, params.student)
    of_teacher = {"teacher": decoder.teacher_top(teacher, split)}
    if origin is teacher:
        return models(teacher, split, of_teacher | tops)
    return models(teacher, split, of_teacher)._replace(apart=models(origin, params.student, tops))
