"""Distil the student's trained layers from cached states: nothing below the split is run, but of a student that is not
cut from the teacher."""

import copy
import math
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import send_to_device
from dvclive import Live
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm
from transformers import PreTrainedModel

from dskd.infra import processes
from dskd.model.logits import LogitMap
from dskd.model.origin import OwnStudent
from dskd.model.parts import run_part
from dskd.params import DistillParams, Objective
from dskd.states.store import States, take_blocks
from dskd.students.batches import Batch, prefetched, schedule
from dskd.students.checkpoint import load_checkpoint, save_checkpoint
from dskd.students.losses import hidden_loss, output_loss, sense_loss
from dskd.students.sense_forms import FORMS, metric
from dskd.targets.store import SenseTargets


def train(
    top: PreTrainedModel,
    head: Tensor,
    states: States,
    labels: Tensor,
    targets: SenseTargets | None,
    objective: Objective,
    settings: DistillParams,
    seed: int,
    work: Path,
    curves: Path,
    logit_map: LogitMap | None = None,
    own: OwnStudent | None = None,
) -> None:
    """Train those weights of `top.layers` that are not frozen, in place (docs/method.md, section 4).

        L = kl * T^2 * KL(p_teacher^T || p_student^T) + ce * CE(y, p_student)
            + hidden * mean ||s - h||^2 / d + sense * L_sense

    The weights are the objective's, which may also take other distances and another form of L_sense. A run that
    was stopped goes on from its last checkpoint in `work` and ends in the same weights. Many processes take a part of
    every batch each, and end in weights that are equal up to rounding; how many they are may change from one run to
    the next that goes on.

    Args:
        top: the student above the split, layers in float32.
        head: (V, d) frozen output embedding of the teacher.
        states, labels: of the training blocks; labels (n, L) int64.
        targets: needed where the objective has a sense term.
        seed: orders the blocks.
        curves: folder for DVCLive's tables of loss terms by step.
        logit_map: of the teacher (`architecture.logit_map`).
        own: what `top` stands on where it is not cut from the teacher. Its projection is needed where the objective has
            a hidden or a sense term, and trains with the layers.
    """
    processes.state()  # first: it connects processes without a GPU, too
    mixed = "bf16" if head.dtype == torch.bfloat16 else "no"
    accelerator = Accelerator(mixed_precision=mixed)
    projection = None if own is None else own.projection
    top.projection = projection  # a part of `top`, so that processes share its gradient as they do the layers'
    unsharded = copy.deepcopy(top.layers) if is_sharded(accelerator) else None
    if unsharded is None:
        model = accelerator.prepare_model(top)
    else:
        model = top.to(accelerator.device)
        processes.shard(nn.ModuleList([*top.layers, projection] if projection is not None else top.layers))
    weights = {name: weight for name, weight in top.layers.named_parameters() if weight.requires_grad}
    if projection is not None:
        weights |= {f"projection.{name}": weight for name, weight in projection.named_parameters()}
    optimizer = torch.optim.AdamW(
        weights.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=True
    )
    parts, main = accelerator.num_processes, accelerator.is_main_process
    vectors = None if targets is None else targets.vectors
    geometry = None if objective.metric == "plain" else metric(objective.metric, sampled_states(states), head.cpu())
    if targets is not None and geometry is not None:
        vectors = vectors.float() @ geometry
    head = head.to(accelerator.device)
    vectors, geometry = (None if tensor is None else tensor.to(accelerator.device) for tensor in (vectors, geometry))
    order = schedule(len(labels), seed, settings)
    done, history, sums = load_checkpoint(work, weights, optimizer)
    total = sum(map(len, order)) * states.length
    with (
        Live(str(curves), save_dvc_exp=False, dvcyaml=None, monitor_system=False) if main else nullcontext() as live,
        tqdm(total=total, desc="distill", unit="tok", unit_scale=True, disable=not main) as bar,
    ):
        for point in history:
            log(live, point)
        bar.update(done * settings.batch_size * states.length)
        bar.unpause()
        read = states, labels, targets, head.dtype, accelerator.process_index, parts, None if own is None else own.ids
        coming = prefetched(order[done:], *read)
        for step, batch in enumerate(coming, start=done):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, len(order), settings)
            batch = send_to_device(batch, accelerator.device)
            split_states = batch.split_states if own is None else run_part(own.lower, ids=batch.ids)
            with accelerator.autocast():
                hidden_states = run_part(model, states=split_states)
            left = 1 - step / len(order) if objective.anneal else 1.0
            given = vectors, objective, settings, logit_map, geometry, left, own
            loss, terms = step_loss(hidden_states, head, batch, *given)
            accelerator.backward(loss * parts)  # accelerate takes the mean of the processes' gradients
            terms = accelerator.reduce(terms, "sum")
            clip_grad_norm_(weights.values(), settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            sums = {name: sums.get(name, 0.0) + float(value) for name, value in terms.items()}
            bar.update(order[step].numel() * states.length)
            if (step + 1) % settings.log_steps == 0:
                history.append({"step": step + 1, **{name: s / settings.log_steps for name, s in sums.items()}})
                log(live, history[-1])
                bar.set_postfix({name: f"{value:.3f}" for name, value in history[-1].items() if name != "step"})
                sums = {}
            if (step + 1) % settings.checkpoint_steps == 0 or step + 1 == len(order):
                save_checkpoint(work, step + 1, weights, optimizer, history, sums)
    (curves / "metrics.json").unlink(missing_ok=True)  # DVCLive's last values; `dvc plots` wants tables only
    del top.projection
    for name in ("forward", "_original_forward"):
        top.__dict__.pop(name, None)  # accelerate's wrapper
    if unsharded is not None:
        trained = {name: processes.whole(weight.detach()) for name, weight in weights.items()}
        unsharded.load_state_dict(trained, strict=False)  # with LoRA all else is frozen
        top.layers = unsharded.to(accelerator.device)


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether accelerate's configuration asks for weights and moments to be shared among the processes."""
    return accelerator.distributed_type == DistributedType.FSDP


def step_loss(
    hidden_states: Tensor,
    head: Tensor,
    batch: Batch,
    vectors: Tensor | None,
    objective: Objective,
    settings: DistillParams,
    logit_map: LogitMap | None = None,
    geometry: Tensor | None = None,
    left: float = 1.0,
    own: OwnStudent | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch and its terms, each a mean a position and unweighted; of a part of a batch its share of them.

    Args:
        hidden_states: (b, L, d) of the student.
        vectors: (R, d) senses that `batch.pull` and `batch.push` name, in the geometry.
        geometry: (d, d), of `forms.metric`; hidden and sense terms see states in it, a projected student's too.
        left: share of the sense term's weight.
        own: of a student that is not cut from the teacher, of which `head` and `logit_map` are then alone.
    """
    student = hidden_states.flatten(0, 1).to(head.dtype)
    teacher = batch.hidden_states.flatten(0, 1)
    labelled, positions, supervised = batch.counts
    heads = {"head": head, "logit_map": logit_map}
    if own is not None:
        heads = {"head": own.head, "logit_map": own.logit_map, "teacher_head": head, "teacher_map": logit_map}
    loss, ce, kl = output_loss(
        student,
        teacher,
        labels=batch.labels.flatten(),
        ce_weight=objective.ce,
        kl_weight=objective.kl,
        temperature=settings.temperature,
        beta=settings.beta,
        count=labelled,
        compiled=True,
        **heads,
    )
    terms = {"ce": ce}
    if objective.kl:
        terms["kl"] = kl
    if own is not None and own.projection is not None:
        student = own.projection(student.float())
    if geometry is not None:
        student, teacher = (states.float() @ geometry for states in (student, teacher))
    if objective.hidden:
        terms["hidden"] = hidden_loss(student, teacher, positions)
        loss = loss + objective.hidden * terms["hidden"]
    if objective.sense:
        pull, push = batch.pull.flatten(0, 1), batch.push.flatten(0, 1)
        chosen = (pull >= 0).any(dim=1).nonzero().squeeze(1)
        pull, push = pull[chosen], push[chosen]
        if objective.form == "regression":
            terms["sense"] = sense_loss(student[chosen], vectors, pull, push, objective.margin, supervised)
        else:
            given = student[chosen], teacher[chosen], vectors, pull, push
            terms["sense"] = FORMS[objective.form](*given, objective.scale).sum() / max(supervised, 1)
        loss = loss + objective.sense * left * terms["sense"]
    return loss, {name: value.detach() for name, value in terms.items()}


def sampled_states(states: States, every: int = 8) -> Tensor:
    """The teacher's states of every eighth block, (n, d): enough for their covariance."""
    return take_blocks(states.hidden_states, torch.arange(0, states.blocks, every)).flatten(0, 1)


def learning_rate(step: int, steps: int, settings: DistillParams) -> float:
    """Linear warm-up over `warmup_share` of the steps, then half a cosine to 0."""
    warmup = round(settings.warmup_share * steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def log(live: Live | None, point: dict) -> None:
    if live is None:  # not the main process
        return
    live.step = point["step"]
    for name, value in point.items():
        if name != "step":
            live.log_metric(name, value)
