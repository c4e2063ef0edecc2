"""The students of a run: how one is made and written, and how all are loaded to be scored."""

import shutil
from pathlib import Path
from statistics import fmean

from torch import Tensor
from transformers import PreTrainedModel

from dskd.corpus.teacher_answers import licences
from dskd.infra import artifacts, processes
from dskd.infra.hashes import fingerprint, remove, sha256_tree
from dskd.infra.output import output
from dskd.model import logits
from dskd.model.cut import student_top
from dskd.model.logits import LogitMap
from dskd.model.lora import add_lora, merge_lora
from dskd.model.origin import ORIGIN, OwnStudent, load_origin, own_student
from dskd.params import Params, chosen_objective
from dskd.pipeline.inputs import cached_states, kept_dtype, labels, load_teacher, tokens
from dskd.scores.heldout import heldout_scores
from dskd.students.model_card import LICENCE_FILE, model_card
from dskd.students.model_card import licences as model_licences
from dskd.students.projection import fitted_projection
from dskd.students.store import export_student
from dskd.students.train import train
from dskd.targets.store import load_targets


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
    hashes = {key: sha256_tree(path) for key, path in inputs.items()}
    made_from = fingerprint(params.runtime, params.student, weights, params.distill, seed, hashes)
    head, logit_map = teacher.get_output_embeddings().weight, logits.logit_map(teacher)
    top = student_top(origin, params.student)
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
                with output(Path(artifacts.CURVES) / name) as place:
                    shutil.copytree(curves, place)
                top.layers.to(kept_dtype(params)).to(teacher.dtype)  # what is scored is what the folder will hold
                heldout = heldout_of(params, top, head, logit_map, own and own._replace(ids=tokens("heldout")))
                depth, chat = teacher.config.num_hidden_layers, bool(tokenizer.chat_template)
                text = model_card(name, objective, seed, depth, params, means(heldout), hashes, chat)
                of_prompts = licences(params.prompts)
                text += of_prompts
                export_student(origin, top, params.student, tokenizer, partial, text, kept_dtype(params))
                terms = f"# Licences\n\n{model_licences(params.sources, params.student.source)}\n{of_prompts}"
                (partial / LICENCE_FILE).write_text(terms, encoding="utf-8")
                artifacts.write_json(partial / "heldout.json", heldout)  # last: it marks the student as whole
        if processes.state().is_main_process:
            remove(work)


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
