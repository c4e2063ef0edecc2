"""The training step as it was published, written plainly from docs/method.md: what this project is compared with.

One example at a time; the teacher reads it anew in every epoch; the student runs in full, its frozen layers too; all
logits at once; and a loop over the supervised positions, which looks for the nearest senses each time.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from dskd.params import Objective
from dskd.targets.choose import Candidates


def published_step(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    ids: Tensor,
    with_relations: Tensor,
    own_only: Tensor,
    vectors: Tensor,
    by_token: dict[int, Candidates],
    objective: Objective,
    temperature: float,
    neighbours: int,
) -> float:
    """Train on one example; returns its loss.

    Args:
        ids: (L + 1,) int64.
        with_relations, own_only: (L,) positions that the sense loss is over, bool; the latter are pulled by the
            token's own senses and pushed by none.
        vectors, by_token: senses, and which of them may pull and push a token (`targets.choose.candidates`).
    """
    inputs, labels = ids[None, :-1], ids[1:]
    head = teacher.get_output_embeddings()
    with torch.no_grad():
        written = teacher.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=1,
            do_sample=False,
            output_hidden_states=True,
            return_dict_in_generate=True,
        )
        teacher_states = written.hidden_states[0][-1][0]
        teacher_logits = head(teacher_states).float()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=head.weight.dtype == torch.bfloat16):
        output = student(inputs, output_hidden_states=True, use_cache=False)
    logits, states = output.logits[0].float(), output.hidden_states[-1][0].float()
    log_q, log_p = ((x / temperature).log_softmax(dim=1) for x in (logits, teacher_logits))
    kl = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    loss = objective.ce * F.cross_entropy(logits, labels) + objective.kl * temperature**2 * kl
    positions = (with_relations | own_only).nonzero().squeeze(1).tolist()
    if objective.sense and positions:
        total = torch.zeros(())
        for i in positions:
            own, synonyms, antonyms = by_token[int(labels[i])]
            pulling = torch.cat([own, synonyms]).unique() if with_relations[i] else own
            pushing = antonyms if with_relations[i] else antonyms[:0]
            h = teacher_states[i].float()
            for rows, pulls in ((pulling, True), (pushing, False)):
                if len(rows):
                    members = vectors[rows].float()
                    nearest = (members - h).square().sum(dim=1).topk(min(neighbours, len(rows)), largest=False).indices
                    distances = (states[i] - members[nearest]).square().mean(dim=1)
                    total = total + (distances if pulls else F.relu(objective.margin - distances)).mean()
        loss = loss + objective.sense * total / len(positions)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())
