"""All losses of a distillation as one module, for any loop and for transformers' Trainer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from dskd.errors import UserError
from dskd.library.losses import WEIGHTS, StateLoss, check_number, check_weights, counted, model_head, output_loss
from dskd.library.models import evaluating, takes, unwrapped, vocabulary
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
    # Each a mean a position, unweighted: "ce", "kl" if its weight is not 0, "StateLoss", and "StateLoss 2" of two.
    terms: dict[str, float]
    outputs: ModelOutput  # of the student; where it trains, its logits are those of the last position alone


class DistillationLoss(nn.Module):
    """`ce * CE + kl * T^2 * KL(teacher || student)`, and other terms with their weights (docs/method.md, section 4).

    There is nothing else in it: of a student with experts, add the router's own loss, `outputs.aux_loss` of the result.

    Args:
        teacher: frozen here, and never trained. It is put on the student's device when it is used.
        terms: losses on hidden states. For them the teacher's states need the student's width.
        weights: of cross-entropy and divergence, the temperature T, and `beta`, which names another divergence.

    Raises:
        UserError: the teacher's logits do not follow from its last hidden states, or a weight is no weight, or
            all are 0.
    """

    def __init__(
        self,
        teacher: PreTrainedModel,
        terms: Sequence[Term] = (),
        weights: OutputWeights = WEIGHTS,
    ) -> None:
        super().__init__()
        check_weights(weights)
        self.terms = _checked(terms)
        if not any((weights.ce, weights.kl, *(term.weight for term in self.terms))):
            raise UserError("all weights are 0, so that nothing is learnt: give one that is above 0")
        self.teacher = teacher.eval().requires_grad_(False)
        model_head(teacher)  # tried once; its weight may be replaced later
        self.names = _names(self.terms)
        self.losses = nn.ModuleList(term.loss for term in self.terms)  # so that they move to a device with this module
        self.weights = weights
        self._tried: PreTrainedModel | None = None  # the student whose head was tried

    def train(self, mode: bool = True) -> "DistillationLoss":
        super().train(mode)
        self.teacher.eval()  # its dropout stays off
        return self

    def counts(self, batches: Iterable[Mapping[str, Any]]) -> list[float]:
        """Positions that count in all these batches together: for the vocabulary, and for each term. Give them to
        `forward` with each of the batches, and add the losses: that is the loss of one large batch."""
        if isinstance(batches, Mapping):
            raise UserError("this is one batch: give a list of all that are accumulated, [batch]")
        sums = [0.0] * (1 + len(self.terms))
        for batch in batches:
            labels = _following(batch)
            found = [counted(labels, None).sum(), *(term.loss.count(labels) for term in self.terms)]
            sums = [before + float(here) for before, here in zip(sums, found)]
        return sums

    def forward(self, student: nn.Module, batch: Mapping[str, Any], counts: Sequence[float] | None = None) -> Distilled:
        """The loss of one batch.

        Args:
            student: a causal language model of transformers with the teacher's tokenizer, wrapped (DDP) or not.
            batch: what both models take (`input_ids`, `attention_mask`, …), and `labels` (b, L) as transformers has
                them: those of the tokens themselves, `IGNORE` (-100) where a token does not count. Padding by
                `attention_mask` does not count either.
            counts: of `self.counts`; left out, the positions of this batch.

        Raises:
            UserError: the batch has no labels, or they do not fit or are moved by one already; there are not as many
                counts as terms; student and teacher have unlike vocabularies or, with terms, widths, or share weights
                that train.
        """
        plain = unwrapped(student)
        head = self._head(plain)
        if batch.get("inputs_embeds") is not None:  # each model has a table of its own
            raise UserError("the batch has inputs_embeds, which are of one of the models: give input_ids for both")
        _check_not_moved(batch)
        if plain.training:
            self._check_apart(plain)
        given = {name: value for name, value in batch.items() if name != "labels"}
        given |= {"output_hidden_states": True, "use_cache": False}
        outputs = student(**given, **_positions(batch, plain), **_no_logits(plain, student.training))
        self.teacher.to(outputs.hidden_states[-1].device)
        with torch.no_grad(), evaluating(self.teacher):  # a student that shares frozen modules has switched them
            more = _positions(batch, self.teacher) | _no_logits(self.teacher, True)
            teacher = self.teacher(**given, **more).hidden_states[-1]

        # A state is of the token that follows it, so the last one of a row is of none.
        states, teacher = outputs.hidden_states[-1][:, :-1], teacher[:, :-1]
        labels = _following(batch).to(states.device)
        divisors: Sequence[float | None] = [None] * (1 + len(self.terms)) if counts is None else counts
        if len(divisors) != 1 + len(self.terms):
            raise UserError(
                f"there are {len(divisors)} counts, of {1 + len(self.terms)} losses: give those of `counts`"
            )
        heads = head, head_of(self.teacher)
        found = output_loss(states, teacher, labels, heads, self.weights, count=divisors[0])
        loss, terms = found.loss.float(), {"ce": float(found.ce)}
        if self.weights.kl:
            terms["kl"] = float(found.kl)
        for name, term, count in zip(self.names, self.terms, divisors[1:]):
            value = term.loss(states, teacher, labels, count=count)
            loss = loss + term.weight * value
            terms[name] = float(value.detach())
        return Distilled(loss, terms, outputs)

    def _head(self, student: PreTrainedModel) -> Head:
        """The student's head, which is tried once."""
        if self._tried is not student:
            model_head(student)
            sizes = vocabulary(student), vocabulary(self.teacher)
            if sizes[0] != sizes[1]:
                raise UserError(f"the student has {sizes[0]} tokens, the teacher {sizes[1]}: both need the same")
            object.__setattr__(self, "_tried", student)  # not as a part of this module
        return head_of(student)  # the weight itself, which may have been replaced since

    def _check_apart(self, student: PreTrainedModel) -> None:
        """Raise UserError where the student would train the teacher with it, or where nothing of it trains, since the
        teacher is frozen."""
        of_teacher = {_place(weight) for weight in self.teacher.parameters()}
        shared = [(name, weight) for name, weight in student.named_parameters() if _place(weight) in of_teacher]
        trained = any(weight.requires_grad for weight in student.parameters())
        if shared and (any(weight.requires_grad for _, weight in shared) or not trained):
            raise UserError(
                f"student and teacher share weights ({shared[0][0]}), which train with the one or are frozen with the "
                "other: give the student a copy (copy.deepcopy)"
            )


def _place(weight: Tensor) -> Any:
    """What is the same for weights that lie in the same memory: where that is. A weight that has no memory, or is of
    a kind that does not say where, stands for itself."""
    try:
        address = weight.untyped_storage().data_ptr()
    except RuntimeError:  # of a subclass, such as quantised weights
        address = 0
    return (weight.device, address) if address else id(weight)


def _following(batch: Mapping[str, Any]) -> Tensor:
    """The token that follows each position but the last, from labels (b, L) as transformers has them: (b, L - 1).
    `IGNORE` where the state or the token is padding by the attention mask: a state of padding has read nothing, and
    stands before the first token where padding is on the left."""
    if "labels" not in batch:
        raise UserError(f"the batch has {', '.join(batch)}, and no labels: take a collator that gives them")
    labels, mask = batch["labels"], batch.get("attention_mask")
    follows = labels[..., 1:]
    if mask is None or mask.shape != labels.shape:  # a mask of pairs, (b, 1, L, L), says nothing of padding
        return follows
    goes_on = (mask[..., 1:] != 0) & (mask[..., 1:] == mask[..., :-1])  # packed texts may have numbers of their own
    return torch.where(counted(follows, goes_on), follows, IGNORE)


def _positions(batch: Mapping[str, Any], model: PreTrainedModel) -> dict[str, Tensor]:
    """Places that are counted from a row's first token, where padding stands on the left and none are given: models
    that learn them would read others."""
    mask = batch.get("attention_mask")
    if mask is None or mask.dim() != 2 or "position_ids" in batch or bool(mask[:, 0].all()):
        return {}
    return {"position_ids": (mask.ne(0).long().cumsum(1) - 1).clamp_min(0)} if takes(model, "position_ids") else {}


def _check_not_moved(batch: Mapping[str, Any]) -> None:
    """Raise UserError where each label is the token that follows, as some loops have it: here they are moved by one
    once more, and the student would learn the token after the next."""
    labels, ids = batch.get("labels"), batch.get("input_ids")
    if labels is None or ids is None or labels.shape != ids.shape or labels.shape[-1] < 2:
        return
    here, own, follows = labels[..., :-1], ids[..., :-1].to(labels.device), ids[..., 1:].to(labels.device)
    counts = here != IGNORE
    moved = (counts & (here != own)).any() & ~(counts & (here != follows)).any()
    if moved:
        raise UserError(
            "the labels are moved by one already, each is the token that follows: give those of the tokens themselves, "
            "as transformers has them (labels = input_ids)"
        )


def _checked(terms: Iterable[Term]) -> list[Term]:
    """The terms; UserError where one of them is no term, or its weight no weight."""
    found = list(terms)
    for term in found:
        if not (isinstance(term, Term) and isinstance(term.loss, nn.Module)):
            raise UserError(f"a term is a {type(term).__name__}: give Term(weight, loss), as Term(0.1, SenseLoss(...))")
        check_number(f"the weight of {type(term.loss).__name__}", term.weight)
    return found


def _names(terms: Sequence[Term]) -> list[str]:
    """What each term is called: its kind, and from the second of a kind on with its number."""
    kinds = [type(term.loss).__name__ for term in terms]
    numbers = [kinds[: i + 1].count(kind) for i, kind in enumerate(kinds)]
    return [kind if number == 1 else f"{kind} {number}" for kind, number in zip(kinds, numbers)]


def _no_logits(model: PreTrainedModel, wanted: bool) -> dict[str, int]:
    """Lets a model leave out logits that nobody needs, where it can: all of a vocabulary for each position."""
    return {"logits_to_keep": 1} if wanted and takes(model, "logits_to_keep") else {}
