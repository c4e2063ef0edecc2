"""Scores on held-out text."""

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel

from dskd.infra.arithmetic import fused
from dskd.model.logits import LogitMap, float_logits, mapped
from dskd.model.origin import OwnStudent
from dskd.model.parts import run_part
from dskd.states.store import States, take_blocks

_CHUNK = 256  # positions whose logits exist at one time: 50 MB each at V = 49 152


@torch.inference_mode()
def heldout_scores(
    top: PreTrainedModel | None,
    head: Tensor,
    states: States,
    labels: Tensor,
    batch_size: int,
    logit_map: LogitMap | None = None,
    own: OwnStudent | None = None,
) -> dict[str, Tensor]:
    """Cross-entropy, KL from the teacher and agreement with it, block by block.

    Logits are made in float32 whatever the dtype of the states, so that rounding adds nothing to the KL.

    Args:
        top: the model above the split; None is the teacher itself.
        head: (V, d) output embedding of the teacher.
        labels: (n, L) int64 tokens that follow.
        logit_map: of the teacher (`architecture.logit_map`).
        own: what `top` stands on where it is not cut from the teacher, with the tokens of these blocks.

    Returns:
        "ce", "kl" (nats per token, means over a block's L positions) and "agreement" (share of positions
        where the model's most probable token is the teacher's), each (n,) float64.
    """
    heads, maps = (head, head), (logit_map, logit_map)  # student's, teacher's
    if own is not None and top is not None:
        heads, maps = (own.head, head), (own.logit_map, logit_map)
    wide = heads[1].float()
    wide_heads = wide if heads[0] is head else heads[0].float(), wide
    buffers = wide.new_empty(2, _CHUNK, len(head))
    rows = []
    for blocks in tqdm(torch.arange(len(labels)).split(batch_size), desc="held-out", unit="batch", mininterval=1):
        teacher = take_blocks(states.hidden_states, blocks).to(head.device)
        targets = labels[blocks].flatten().to(head.device).split(_CHUNK)
        of_teacher = teacher.flatten(0, 1).split(_CHUNK)
        of_student = of_teacher
        if top is not None:
            if own is None:
                split_states = take_blocks(states.split_states, blocks)
            else:
                split_states = run_part(own.lower, ids=own.ids[blocks])
            student = run_part(top, states=split_states.to(top.dtype))
            of_student = student.flatten(0, 1).split(_CHUNK)
        chunks = zip(of_student, of_teacher, targets)
        terms = torch.cat([_token_scores(*chunk, heads, wide_heads, buffers, maps) for chunk in chunks])
        rows.append(terms.view(len(blocks), -1, 3).mean(dim=1).cpu())
    scores = torch.cat(rows)
    return {"ce": scores[:, 0], "kl": scores[:, 1], "agreement": scores[:, 2]}


def _token_scores(student, teacher, labels, heads, wide_heads, buffers, maps) -> Tensor:
    """CE, KL and agreement of each position of a chunk, (n, 3) float64; `buffers` (2, >= n, V) hold the logits."""
    student_logits, teacher_logits = buffers[:, : len(labels)]
    float_logits(teacher, heads[1], wide_heads[1], teacher_logits)
    if student is teacher:
        student_logits = teacher_logits
    else:
        float_logits(student, heads[0], wide_heads[0], student_logits)
    return fused(_logit_scores)(student_logits, teacher_logits, labels, *maps).double()


def _logit_scores(
    student: Tensor, teacher: Tensor, labels: Tensor, student_map: LogitMap | None, teacher_map: LogitMap | None
) -> Tensor:
    student, teacher = mapped(student, student_map), mapped(teacher, teacher_map)
    log_q = student - student.logsumexp(dim=1, keepdim=True)
    log_p = teacher - teacher.logsumexp(dim=1, keepdim=True)
    ce = -log_q.gather(1, labels[:, None]).squeeze(1)
    kl = (log_p.exp() * (log_p - log_q)).sum(dim=1)
    agreement = student.argmax(dim=1) == teacher.argmax(dim=1)
    return torch.stack([ce, kl, agreement.to(ce.dtype)], dim=1)
