"""Scores on held-out text."""

import torch
from torch import Tensor
from tqdm import tqdm

from dskd.infra.arithmetic import fused
from dskd.model import SCORE_CHUNK
from dskd.model.logits import Head, LogitMap, float_logits, mapped, widened
from dskd.model.parts import run_part
from dskd.states.store import Text, take_blocks
from dskd.students.output_loss import Heads
from dskd.students.store import Student


@torch.inference_mode()
def heldout_scores(student: Student | None, teacher_head: Head, text: Text, batch_size: int) -> dict[str, Tensor]:
    """Cross-entropy, KL from the teacher and agreement with it, block by block.

    Logits are made in float32 whatever the dtype of the states, so that rounding adds nothing to the KL.

    Args:
        student: None is the teacher itself.
        text: the held-out blocks.

    Returns:
        "ce", "kl" (nats per token, means over a block's L positions) and "agreement" (share of positions
        where the model's most probable token is the teacher's), each (n,) float64.
    """
    teacher = widened(teacher_head)
    shared = student is None or student.head.weight is teacher_head.weight
    heads = Heads(teacher if shared else widened(student.head), teacher)
    buffers = teacher.wide.new_empty(2, SCORE_CHUNK, len(teacher.weight))
    rows = []
    for blocks in tqdm(torch.arange(len(text.labels)).split(batch_size), desc="held-out", unit="batch", mininterval=1):
        of_teacher = take_blocks(text.states.hidden_states, blocks).to(teacher.weight.device)
        of_teacher = of_teacher.flatten(0, 1).split(SCORE_CHUNK)
        of_student = of_teacher
        if student is not None:
            entering = student.entering(take_blocks(text.states.split_states, blocks), text.ids[blocks])
            of_student = run_part(student.top, states=entering.to(student.top.dtype)).flatten(0, 1).split(SCORE_CHUNK)
        labels = text.labels[blocks].flatten().to(teacher.weight.device).split(SCORE_CHUNK)
        chunks = zip(of_student, of_teacher, labels)
        terms = torch.cat([_token_scores(*chunk, heads, buffers) for chunk in chunks])
        rows.append(terms.view(len(blocks), -1, 3).mean(dim=1).cpu())
    scores = torch.cat(rows)
    return {"ce": scores[:, 0], "kl": scores[:, 1], "agreement": scores[:, 2]}


def _token_scores(student: Tensor, teacher: Tensor, labels: Tensor, heads: Heads, buffers: Tensor) -> Tensor:
    """CE, KL and agreement of each position of a chunk, (n, 3) float64; `buffers` (2, >= n, V) hold the logits."""
    student_logits, teacher_logits = buffers[:, : len(labels)]
    float_logits(teacher, heads.teacher, teacher_logits)
    if student is teacher:
        student_logits = teacher_logits
    else:
        float_logits(student, heads.student, student_logits)
    maps = heads.student.logit_map, heads.teacher.logit_map
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
