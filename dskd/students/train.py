"""Distil a student from the teacher's cached states. What lies below its first trained layer is frozen, so that only a
student with lower layers of its own runs them."""

import copy
import math
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import send_to_device
from dvclive import Live
from scmrepo.exceptions import SCMError
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm
from transformers import PreTrainedModel

from dskd.errors import UserError
from dskd.infra import processes
from dskd.model import LOSS_CHUNK
from dskd.model.logits import Head
from dskd.model.parts import run_part
from dskd.params import DistillParams, Objective
from dskd.states.store import States, Text, take_blocks
from dskd.students.batches import Batch, Reader, prefetched, schedule
from dskd.students.checkpoint import Progress, load_checkpoint, save_checkpoint
from dskd.students.hidden_loss import hidden_loss, whitening
from dskd.students.output_loss import Heads, OutputWeights, output_loss
from dskd.students.sampled_vocabulary import Sampling, narrowed
from dskd.students.sense_loss import sense_loss, span_loss
from dskd.students.store import Student
from dskd.targets.store import SenseTargets


class Recipe(NamedTuple):
    """How a student is trained."""

    objective: Objective
    settings: DistillParams
    seed: int  # orders the blocks
    name: str = "this objective"  # as messages call it


class Goal(NamedTuple):
    """What a student is held against, the same at every step."""

    objective: Objective
    settings: DistillParams  # temperature and beta count here
    teacher_head: Head
    vectors: Tensor | None  # (R, d) senses that `Batch.pull` and `Batch.push` name, seen by the metric
    metric: Tensor | None  # (d, d) matrix by which hidden and sense term see states; None: as they are


def train(
    student: Student, teacher_head: Head, text: Text, targets: SenseTargets | None, recipe: Recipe, work: Path
) -> None:
    """Train those weights of the student that are not frozen, in place (docs/method.md, section 4).

        L = kl * T^2 * KL(p_teacher^T || p_student^T) + ce * CE(y, p_student)
            + hidden * mean ||s - h||^2 / d + sense * L_sense

    The weights of the terms are the objective's, which also names the form of L_sense and the metric of distances. A
    run that was stopped goes on from its last checkpoint in `work` and ends in the same weights. Many processes take a
    part of every batch each, and end in weights that are equal up to rounding; how many they are may change from one
    run to the next that goes on.

    Args:
        student: layers of its top in float32. Where it has lower layers of its own, it needs a projection for a hidden
            or a sense term; the projection trains with the layers.
        text: the training blocks.
        targets: needed where the objective has a sense term.
        work: folder for checkpoints, and for DVCLive's tables of loss terms by step, in `work/curves`.

    Raises:
        UserError: a term or a trained weight is no longer a finite number.
    """
    settings = recipe.settings

    # Processes, each of which takes a part of every batch. `state` comes first: it connects those without a GPU, too.
    processes.state()
    dtype = teacher_head.weight.dtype
    accelerator = Accelerator(mixed_precision="bf16" if dtype == torch.bfloat16 else "no")
    parts, main = accelerator.num_processes, accelerator.is_main_process

    # What trains.
    unsharded = copy.deepcopy(student.top.layers) if is_sharded(accelerator) else None
    model = _distributed(student, accelerator)
    weights = _trained_weights(student)
    optimizer = torch.optim.AdamW(
        weights.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=True
    )

    # What it is held against. A head that student and teacher share stays shared on the device.
    goal = make_goal(recipe, teacher_head, text.states, targets, accelerator.device)
    shared = student.head.weight is teacher_head.weight
    student = student._replace(head=goal.teacher_head if shared else student.head.to(accelerator.device))

    # Which blocks each step takes, and where an earlier run has stopped.
    order = schedule(len(text.labels), recipe.seed, settings)
    drawn, vocabulary = settings.sampled_vocabulary, len(teacher_head.weight)
    sampling = None if drawn is None else Sampling(drawn, vocabulary, recipe.seed)
    reader = Reader(text, targets, dtype, sampling, accelerator.process_index, parts)
    done, history, sums = load_checkpoint(work, weights, optimizer)
    length = text.states.length

    live = _curves(work / "curves") if main else nullcontext()
    total = sum(map(len, order)) * length
    with live, tqdm(total=total, desc="distill", unit="tok", unit_scale=True, disable=not main) as bar:
        for point in history:
            _log(live, point)
        bar.update(done * settings.batch_size * length)
        bar.unpause()
        for step, batch in enumerate(prefetched(reader, order[done:], done), start=done):
            # Forward and backward: accelerate takes the mean of the processes' gradients, the loss is their sum.
            batch = send_to_device(batch, accelerator.device)
            entering = student.entering(batch.split_states, batch.ids)
            with accelerator.autocast():
                hidden_states = run_part(model, states=entering)
            loss, terms = step_loss(student, hidden_states, batch, goal)
            accelerator.backward(loss * parts)
            terms = accelerator.reduce(terms, "sum")

            # The step.
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, len(order), settings)
            clip_grad_norm_(weights.values(), settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad()

            # The curves, and a point to go on from.
            sums = {name: sums.get(name, 0.0) + float(value) for name, value in terms.items()}
            if lost := [name for name, value in sums.items() if not math.isfinite(value)]:
                raise _diverged(recipe, f"its {' and '.join(lost)} loss at step {step + 1} of {len(order)}")
            bar.update(order[step].numel() * length)
            if (step + 1) % settings.log_steps == 0:
                history.append({"step": step + 1, **{name: s / settings.log_steps for name, s in sums.items()}})
                _log(live, history[-1])
                bar.set_postfix({name: f"{value:.3f}" for name, value in history[-1].items() if name != "step"})
                sums = {}
            if (step + 1) % settings.checkpoint_steps == 0 or step + 1 == len(order):
                save_checkpoint(work, Progress(step + 1, history, sums), weights, optimizer)

    if main:  # the others have no part in the folder, which DVCLive may still be writing
        (work / "curves" / "metrics.json").unlink(missing_ok=True)  # the last values; `dvc plots` wants tables only
    _undistribute(student.top, weights, unsharded)
    if not all(weight.isfinite().all() for weight in student.top.layers.parameters()):  # of the last step
        raise _diverged(recipe, "a weight at the end")


def _diverged(recipe: Recipe, what: str) -> UserError:
    """The one line on a training that ended in infinity or NaN."""
    return UserError(
        f"{recipe.name} cannot be trained so: {what} is no finite number; lower distill.learning_rate, or the weights "
        f"or the margin of {recipe.name}"
    )


def _curves(folder: Path) -> Live:
    """DVCLive's tables in a folder; UserError in a Git repository without a commit, whose name it wants."""
    try:
        return Live(str(folder), save_dvc_exp=False, dvcyaml=None, monitor_system=False)
    except SCMError as error:
        why = f"DVCLive wants a commit of this Git repository, and finds none ({error})"
        raise UserError(f"{why}: run `git commit`, and run again") from None


def make_goal(
    recipe: Recipe, teacher_head: Head, states: States, targets: SenseTargets | None, device: torch.device
) -> Goal:
    """What a run with this recipe holds its student against, on a device.

    Args:
        states: the teacher's, of the training blocks; a whitened metric is made of an eighth of them, or of all.

    Raises:
        UserError: a whitened metric was asked for, and there are too few states for one.
    """
    metric = whitening(_many_states(states)) if recipe.objective.metric == "whitened" else None
    vectors = None if targets is None else targets.vectors
    if vectors is not None and metric is not None:
        vectors = vectors.float() @ metric
    vectors, metric = (None if tensor is None else tensor.to(device) for tensor in (vectors, metric))
    return Goal(recipe.objective, recipe.settings, teacher_head.to(device), vectors, metric)


def step_loss(student: Student, hidden_states: Tensor, batch: Batch, goal: Goal) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch and its terms, each a mean a position and unweighted; of a part of a batch its share of them.

    Args:
        hidden_states: (b, L, d) of the student.
    """
    objective, settings, counts = goal.objective, goal.settings, batch.counts

    # Cross-entropy and KL, over the whole vocabulary or a sample of it. Chunks keep the size of their logits.
    states = hidden_states.flatten(0, 1).to(goal.teacher_head.weight.dtype)  # (b L, d)
    teacher = batch.hidden_states.flatten(0, 1)
    heads, labels = Heads(student.head, goal.teacher_head), batch.labels.flatten()
    chunk = LOSS_CHUNK
    if batch.vocabulary is not None:
        heads, labels = narrowed(heads, labels, batch.vocabulary)
        chunk = LOSS_CHUNK * len(goal.teacher_head.weight) // len(heads.teacher.weight)
    loss, ce, kl = output_loss(
        states,
        teacher,
        labels,
        heads,
        OutputWeights(objective.ce, objective.kl, settings.temperature, settings.beta),
        count=counts.labelled,
        chunk=chunk,
        compiled=True,
    )
    terms = {"ce": ce, "kl": kl} if objective.kl else {"ce": ce}

    # Distances, in the teacher's space and by the metric.
    states = student.in_teacher_space(states)
    if goal.metric is not None:
        states, teacher = states.float() @ goal.metric, teacher.float() @ goal.metric
    if objective.hidden:
        terms["hidden"] = hidden_loss(states, teacher, counts.all)
        loss = loss + objective.hidden * terms["hidden"]
    if objective.sense:
        pull, push = batch.pull.flatten(0, 1), batch.push.flatten(0, 1)  # (b L, kappa)
        chosen = (pull >= 0).any(dim=1).nonzero().squeeze(1)
        states, pull, push = states[chosen], pull[chosen], push[chosen]
        if objective.form == "span":
            each = span_loss(states, teacher[chosen], goal.vectors, pull, push)
            terms["sense"] = each.sum() / max(counts.supervised, 1)
        else:
            terms["sense"] = sense_loss(states, goal.vectors, pull, push, objective.margin, counts.supervised)
        loss = loss + objective.sense * terms["sense"]
    return loss, {name: value.detach() for name, value in terms.items()}


def sampled_states(states: States, every: int = 8) -> Tensor:
    """The teacher's states of every eighth block, (n, d): enough for their covariance."""
    return take_blocks(states.hidden_states, torch.arange(0, states.blocks, every)).flatten(0, 1)


def _many_states(states: States) -> Tensor:
    """States whose covariance says something of every direction: `sampled_states`, or all where these are few."""
    found = sampled_states(states)
    if len(found) <= found.shape[1]:
        found = sampled_states(states, every=1)
    if len(found) <= found.shape[1]:
        raise UserError(
            f"the training text has {len(found)} states of {found.shape[1]} dimensions, too few to whiten by: raise "
            "corpus.train_tokens, or take `metric: plain`"
        )
    return found


def learning_rate(step: int, steps: int, settings: DistillParams) -> float:
    """Linear warm-up over `warmup_share` of the steps, then half a cosine to 0."""
    warmup = round(settings.warmup_share * steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether accelerate's configuration asks for weights and moments to be shared among the processes."""
    return accelerator.distributed_type == DistributedType.FSDP


def _distributed(student: Student, accelerator: Accelerator) -> PreTrainedModel:
    """The student's top, ready to run in this process among the others."""
    top, projection = student.top, student.projection
    top.projection = projection  # a part of `top`, so that processes share its gradient as they do the layers'
    if not is_sharded(accelerator):
        return accelerator.prepare_model(top)
    model = top.to(accelerator.device)
    processes.shard(nn.ModuleList(top.layers if projection is None else [*top.layers, projection]))
    return model


def _undistribute(top: PreTrainedModel, weights: dict[str, Tensor], unsharded: nn.ModuleList | None) -> None:
    """Leave `top` as it was before `_distributed`, with its trained weights."""
    del top.projection
    for name in ("forward", "_original_forward"):
        top.__dict__.pop(name, None)  # accelerate's wrapper
    if unsharded is not None:
        trained = {name: processes.whole(weight.detach()) for name, weight in weights.items()}
        device = next(iter(trained.values())).device
        unsharded.load_state_dict(trained, strict=False)  # with LoRA all else is frozen
        top.layers = unsharded.to(device)


def _trained_weights(student: Student) -> dict[str, Tensor]:
    """The weights that train, by name: those of the layers that are not frozen, and the projection's."""
    weights = {name: weight for name, weight in student.top.layers.named_parameters() if weight.requires_grad}
    if student.projection is not None:
        weights |= {f"projection.{name}": weight for name, weight in student.projection.named_parameters()}
    return weights


def _log(live: Live | None, point: dict[str, float]) -> None:
    if not isinstance(live, Live):  # not the main process
        return
    live.step = point["step"]
    for name, value in point.items():
        if name != "step":
            live.log_metric(name, value)
