"""The losses for any training loop: on the vocabulary, on the teacher's states, and on the senses of words.

All take the same batch: last hidden states of student and teacher, `labels` with the token that follows each position
(so those of transformers, moved by one), and `IGNORE` where a position does not count. Without a position that counts
a loss is 0, with gradients of 0. `count` is the divisor: give the positions of the whole batch where it is accumulated
from several, or shared by several processes, and add the parts; left out, those of this batch.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dskd.errors import UserError
from dskd.library.models import Exact, evaluating, vocabulary
from dskd.model.architecture import probe, sees_ahead
from dskd.model.logits import Head, head_of, mapped
from dskd.students.hidden_loss import hidden_loss, whitening
from dskd.students.output_loss import IGNORE, Heads, OutputWeights
from dskd.students.output_loss import output_loss as output_terms
from dskd.students.sense_loss import span_loss

_LABELS = (torch.int64, torch.int32, torch.int16, torch.int8)
WEIGHTS = OutputWeights(ce=1.0, kl=0.7, temperature=2.0)  # the paper's alpha and T


class OutputLoss(NamedTuple):
    loss: Tensor  # (), ce * CE + kl * T^2 * KL
    ce: Tensor  # (), nats a position; without a gradient
    kl: Tensor  # (), nats a position at the temperature; without a gradient; NaN where its weight is 0: not computed


def output_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    heads: tuple[Head, Head],
    weights: OutputWeights = WEIGHTS,
    count: float | Tensor | None = None,
) -> OutputLoss:
    """Exact cross-entropy with the text and KL divergence from the teacher, over the whole vocabulary.

    The logits, a vocabulary of numbers for each position, are made some hundred positions at a time and never kept; so
    memory does not grow with the batch. The gradient reaches the student's states, and its head where that trains.
    docs/method.md, section 4, has the formula (Hinton et al. 2015; with `weights.beta` Agarwal et al. 2024).

    Args:
        student, teacher: (..., d) and (..., d_teacher) last hidden states after the final norm.
        labels: (...) int64.
        heads: of student and teacher: `model_head(model)`.
        weights: of cross-entropy and divergence, and the temperature T. A divergence of the weight 0 is not computed,
            and `kl` of the result is NaN.

    Raises:
        UserError: states, labels and heads do not fit one another, a label is no token, or a weight or the count is
            none; in `backward`, where a second derivative is asked for (`create_graph=True`), which it does not have.
    """
    check_weights(weights)
    check_labels(student, labels, len(heads[0].weight))
    for whose, states, head in zip(("student", "teacher"), (student, teacher), heads):
        if states.shape != (*labels.shape, head.weight.shape[1]):
            wanted = [*labels.shape, head.weight.shape[1]]
            raise UserError(f"the {whose}'s states are {list(states.shape)}, its head and the labels want {wanted}")
    vocabularies = [len(head.weight) for head in heads]
    if len(set(vocabularies)) > 1:
        raise UserError(f"the student has {vocabularies[0]} tokens, the teacher {vocabularies[1]}: both need the same")
    kind = student.device.type
    # As the model's own head computes: in the autocast's format where there is one, else in its weight's.
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else heads[0].weight.dtype
    if dtype == torch.float16:  # the gradient of many positions' mean is too small for it, however the loss is scaled
        dtype = torch.float32
    own, other = (head._replace(weight=head.weight.to(student.device, dtype)) for head in heads)
    if heads[0].weight is heads[1].weight:
        other = other._replace(weight=own.weight)
    with torch.autocast(kind, enabled=False):
        loss, ce, kl = output_terms(
            student.flatten(0, -2).to(dtype),
            teacher.detach().flatten(0, -2).to(student.device, dtype),
            labels.flatten().to(student.device),
            Heads(own, other),
            weights,
            count=divisor_of(count, int((labels != IGNORE).sum())),
        )
    return OutputLoss(loss, ce, kl if weights.kl else torch.full_like(kl, torch.nan))


@torch.no_grad()
def model_head(model: PreTrainedModel) -> Head:
    """How a model's logits follow from its last hidden states: what `output_loss` takes. It is tried on a few tokens.

    Raises:
        UserError: the model's logits do not follow from its last hidden states in a way that is known here, or they
            know the tokens that they are to predict.
    """
    head, kind = head_of(model), type(model).__name__
    if getattr(model.config, "is_encoder_decoder", False):
        raise UserError(f"{kind} has an encoder, which reads the whole text: take a model of AutoModelForCausalLM")
    tokens = vocabulary(model)
    ids = probe(tokens).to(model.device)
    with evaluating(model):
        whole = model(input_ids=ids, output_hidden_states=True, use_cache=False)
        ahead = sees_ahead(lambda ids: model(input_ids=ids.to(model.device)).logits, tokens)
    if getattr(whole, "hidden_states", None) is None:
        raise UserError(f"{kind} gives no hidden states: take a model of AutoModelForCausalLM")
    if ahead:
        raise UserError(f"{kind} sees what follows a token, and is to predict it: take a model of AutoModelForCausalLM")
    states = whole.hidden_states[-1].to(head.weight.dtype)
    found, logits = mapped((states @ head.weight.T).float(), head.logit_map), whole.logits.float()
    if not (logits - found).abs().max() <= 0.02 * logits.abs().max():  # NaN is a fault
        raise UserError(f"{kind} computes its logits otherwise than from last hidden states and head: take another")
    return head


class StateLoss(Exact):
    """Regression on the teacher's last hidden states: the mean over positions of ||M(s - h)||^2 / d.

    `StateLoss()` takes states as they are (M is 1). `StateLoss.whitened(states)` lets each direction count by its own
    spread. With `deviation` the part of the error along the state's deviation from the mean counts so many times more:
    an earlier study found `StateLoss.whitened(states, deviation=1.0)` best (docs/earlier.md, `span_mean`; there the
    deviation counts at the positions of a sense loss only, here at all).
    """

    metric: Tensor | None
    mean: Tensor | None

    def __init__(self, metric: Tensor | None = None, mean: Tensor | None = None, deviation: float = 0.0) -> None:
        super().__init__()
        check_number("deviation", deviation)
        if deviation and mean is None:
            raise UserError("a deviation needs a mean: use StateLoss.whitened(states, deviation=...)")
        self.deviation = deviation
        self.register_buffer("metric", metric, persistent=False)
        self.register_buffer("mean", mean, persistent=False)

    @classmethod
    def whitened(cls, states: Tensor, deviation: float = 0.0) -> "StateLoss":
        """Whitened by the covariance of these states (n, d) of the teacher: `states_of` reads them off a text."""
        check_states(states)
        return cls(whitening(states), states.float().mean(dim=0), deviation)

    def count(self, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        """How many positions of these labels count: (), to be added up for `count`."""
        return counted(labels, mask).sum()

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        labels: Tensor,
        mask: Tensor | None = None,
        count: float | Tensor | None = None,
    ) -> Tensor:
        """The loss, (): float32.

        Args:
            student, teacher: (..., d) last hidden states, of one width.
            labels: (...); positions with `IGNORE` do not count, nor those where `mask` (...) is false.

        Raises:
            UserError: the widths differ, or states, labels and mask do not fit one another.
        """
        check_batch(student, teacher, labels)
        if self.mean is not None and self.mean.shape != student.shape[-1:]:
            raise UserError(
                f"this loss is whitened for {len(self.mean)} dimensions, and the states have {student.shape[-1]}"
            )
        chosen = counted(labels, mask).to(student.device)
        divisor = divisor_of(count, int(chosen.sum()))
        with torch.autocast(student.device.type, enabled=False):
            own, other = student[chosen].float(), teacher.detach().to(student.device)[chosen].float()  # (n, d)
            own, other = seen_by(self.metric, own, other)
            loss = hidden_loss(own, other, divisor)
            if self.deviation and self.mean is not None:
                (mean,) = seen_by(self.metric, self.mean.to(student.device)[None])
                rows = torch.zeros(len(own), 1, dtype=torch.int32, device=student.device)
                along = span_loss(own, other, mean, rows, torch.full_like(rows, -1))
                loss = loss + self.deviation * along.sum() / max(divisor, 1)
        return loss


def counted(labels: Tensor, mask: Tensor | None) -> Tensor:
    """Which positions count: those with a label, where `mask` is true. UserError where the mask is no mask of them, or
    the labels are one number alone, or of a kind that cannot hold `IGNORE`."""
    if not labels.dim():
        raise UserError("the labels are one number without a dimension: give (..., L), those of a row or of a batch")
    if labels.dtype not in _LABELS:
        raise UserError(
            f"the labels are {str(labels.dtype).removeprefix('torch.')}: give whole numbers with a sign, as the "
            f"tokenizer does (int64); others cannot hold IGNORE ({IGNORE})"
        )
    found = labels != IGNORE
    if mask is None:
        return found
    if mask.shape != labels.shape:
        raise UserError(f"the mask is {list(mask.shape)}, the labels {list(labels.shape)}: give one value for each")
    if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
        raise UserError("the mask has other values than 0 and 1: give 1 where a position counts")
    return found & mask.bool().to(found.device)


def divisor_of(count: float | Tensor | None, here: int) -> float:
    """What a sum over the positions of a batch is divided by: `count`, or those that are `here`.

    Raises:
        UserError: `count` is no number of positions.
    """
    if count is None:
        return float(here)
    if isinstance(count, Tensor) and count.numel() != 1:
        raise UserError(f"the count has the shape {list(count.shape)}: give one number, the positions of all parts")
    if not 0 <= float(count) < math.inf or (here and not count):
        raise UserError(f"count = {float(count):g}, and {here} positions count here: give those of the whole batch")
    return float(count)


def seen_by(metric: Tensor | None, *states: Tensor) -> tuple[Tensor, ...]:
    """The states (n, d) as a metric M (d, d) sees them, M x of each; as they are where there is none."""
    return states if metric is None else tuple(each @ metric.to(each.device).T for each in states)


def check_batch(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    """Raise UserError where the states of student and teacher differ in shape, or the labels are not theirs."""
    if student.shape != teacher.shape:
        raise UserError(
            f"the student's states are {list(student.shape)}, the teacher's {list(teacher.shape)}: where only the "
            "width differs, map the student's by a linear layer that trains with it"
        )
    check_labels(student, labels)


def check_labels(states: Tensor, labels: Tensor, vocabulary: int | None = None) -> None:
    """Raise UserError where there is not one label for each state (..., d), or one is neither a token nor `IGNORE`."""
    if labels.shape != states.shape[:-1]:
        raise UserError(
            f"the labels are {list(labels.shape)}, the states {list(states.shape)}: give each state one label, the "
            "token that follows it"
        )
    found, wide = counted(labels, None), labels.long()  # of which the vocabulary's size is a number, too
    odd = found & ((wide < 0) | (wide >= (vocabulary or torch.iinfo(wide.dtype).max)))
    if odd.any():
        raise UserError(
            f"the label {int(labels[odd][0])} is no token: label with ids of the vocabulary, and with IGNORE "
            f"({IGNORE}) what does not count"
        )


def check_weights(weights: OutputWeights) -> None:
    """Raise UserError where these are no weights, or no temperature."""
    for name, value in weights._asdict().items():
        least = "above 0" if name == "temperature" else "from 0 to 1" if name == "beta" else "of 0 or more"
        fits = value > 0 if name == "temperature" else 0 <= value <= (1 if name == "beta" else math.inf)
        if not (fits and math.isfinite(value)):
            raise UserError(f"{name} = {value!r}: it takes a number {least}")


def check_number(name: str, value: float) -> None:
    """Raise UserError where a setting is below 0 or not finite."""
    if not 0 <= value < math.inf:
        raise UserError(f"{name} = {value!r}: it takes a number of 0 or more")


def check_states(states: Tensor) -> None:
    """Raise UserError where these are no states with a covariance: too few, not finite, or all alike.

    As many states as dimensions leave directions in which they do not differ, and those would count most.
    """
    if states.dim() != 2 or len(states) <= states.shape[1]:
        raise UserError(f"states of the shape {list(states.shape)} have no covariance: give (n, d), n several times d")
    if not states.isfinite().all() or not states.float().var(dim=0).sum() > 0:
        raise UserError("these states are not finite, or all alike, and have no covariance: give others")
