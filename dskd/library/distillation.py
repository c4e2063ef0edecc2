"""All losses of a distillation as one module, for any loop and for transformers' Trainer."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from dskd.errors import UserError
from dskd.library.losses import WEIGHTS, StateLoss, model_head, output_loss
from dskd.library.senses import SenseLoss
from dskd.model.logits import Head, head_of
from dskd.students.output_loss import IGNORE, OutputWeights


class Term(NamedTuple):
    """One more loss of a distillation, with its weight."""

    weight: float
    loss: StateLoss | SenseLoss


class Distilled(NamedTuple):
    """What a batch gives."""

    loss: Tensor  # (), with the gradient
    terms: dict[str, float]  # each a mean a position, unweighted: "ce", "kl", "StateLoss", "SenseLoss"
    outputs: ModelOutput  # of the student


class DistillationLoss(nn.Module):
    """`ce * CE + kl * T^2 * KL(teacher || student)`, and other terms with their weights (docs/method.md, section 4).

    Args:
        teacher: frozen here, and never trained. It is put on the student's device when it is used.
        terms: losses on hidden states. For them the teacher's states need the student's width.
        weights: of cross-entropy and divergence, the temperature T, and `beta`, which names another divergence.

    Raises:
        UserError: the teacher's logits do not follow from its last hidden states.
    """

    def __init__(
        self,
        teacher: PreTrainedModel,
        terms: Sequence[Term] = (),
        weights: OutputWeights = WEIGHTS,
    ) -> None:
        super().__init__()
        self.teacher = teacher.eval().requires_grad_(False)
        self.teacher_head = model_head(teacher)
        self.terms = list(terms)
        self.losses = nn.ModuleList(term.loss for term in terms)  # so that they move to a device with this module
        self.weights = weights
        self._tried: PreTrainedModel | None = None  # the student whose head was tried

    def train(self, mode: bool = True) -> "DistillationLoss":
        super().train(mode)
        self.teacher.eval()  # its dropout stays off
        return self

    def counts(self, batches: Iterable[Mapping[str, Any]]) -> list[float]:
        """Positions that count in all these batches together: for the vocabulary, and for each term. Give them to
        `forward` with each of the batches, and add the losses: that is the loss of one large batch."""
        sums = [0.0] * (1 + len(self.terms))
        for batch in batches:
            labels = following(batch["labels"])
            found = [(labels != IGNORE).sum(), *(term.loss.count(labels) for term in self.terms)]
            sums = [before + float(here) for before, here in zip(sums, found)]
        return sums

    def forward(self, student: nn.Module, batch: Mapping[str, Any], counts: Sequence[float] | None = None) -> Distilled:
        """The loss of one batch.

        Args:
            student: a causal language model of transformers with the teacher's tokenizer, wrapped (DDP) or not.
            batch: what both models take (`input_ids`, `attention_mask`, …), and `labels` (b, L) as transformers has
                them: those of the tokens themselves, `IGNORE` (-100) where a token does not count.
            counts: of `self.counts`; left out, the positions of this batch.
        """
        plain = unwrapped(student)
        head = self._head(plain)
        given = {name: value for name, value in batch.items() if name != "labels"}
        given |= {"output_hidden_states": True, "use_cache": False}
        outputs = student(**given, **_no_logits(plain, student.training))
        self.teacher.to(outputs.hidden_states[-1].device)
        with torch.no_grad():
            teacher = self.teacher(**given, **_no_logits(self.teacher, True)).hidden_states[-1]

        # A state is of the token that follows it, so the last one of a row is of none.
        states, teacher = outputs.hidden_states[-1][:, :-1], teacher[:, :-1]
        labels = following(batch["labels"]).to(states.device)
        divisors: Sequence[float | None] = counts or [None] * (1 + len(self.terms))
        found = output_loss(states, teacher, labels, (head, self.teacher_head), self.weights, count=divisors[0])
        loss, terms = found.loss.float(), {"ce": float(found.ce), "kl": float(found.kl)}
        for term, count in zip(self.terms, divisors[1:]):
            value = term.loss(states, teacher, labels, count=count)
            loss = loss + term.weight * value
            terms[type(term.loss).__name__] = float(value.detach())
        return Distilled(loss, terms, outputs)

    def _head(self, student: PreTrainedModel) -> Head:
        """The student's head, which is tried once."""
        if self._tried is not student:
            model_head(student)
            if student.config.vocab_size != self.teacher.config.vocab_size:
                sizes = student.config.vocab_size, self.teacher.config.vocab_size
                raise UserError(f"the student has {sizes[0]} tokens, the teacher {sizes[1]}: both need the same")
            object.__setattr__(self, "_tried", student)  # not as a part of this module
        return head_of(student)  # the weight itself, which may have been replaced since


def following(labels: Tensor) -> Tensor:
    """The token that follows each position but the last: (b, L - 1), from labels (b, L) as transformers has them."""
    return labels[..., 1:]


def unwrapped(model: nn.Module) -> PreTrainedModel:
    """The model inside of what runs it on many devices or compiles it."""
    from accelerate.utils import extract_model_from_parallel

    return extract_model_from_parallel(model)


def _no_logits(model: PreTrainedModel, wanted: bool) -> dict[str, int]:
    """Lets a model leave out logits that nobody needs, where it can: all of a vocabulary for each position."""
    can = "logits_to_keep" in inspect.signature(model.forward).parameters
    return {"logits_to_keep": 1} if wanted and can else {}
