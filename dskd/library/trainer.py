"""transformers' Trainer with a distillation as its loss."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer
from transformers.trainer_utils import TrainOutput

from dskd.errors import UserError
from dskd.library.distillation import DistillationLoss

_STATES = ("hidden_states", "attentions")


class DistillationTrainer(Trainer):
    """Trainer whose loss is a `DistillationLoss`; all else, gradient accumulation and many devices included, is as in
    Trainer. Its logs have every term: "ce", "kl" (if its weight is not 0), "SenseLoss".

    Another trainer takes its loss by inheritance: `class Both(DistillationTrainer, SFTTrainer): pass`.

    Args:
        distillation: the loss. All other arguments are the trainer's own.

    Raises:
        UserError: the arguments ask for another loss, which would not be computed.
    """

    def __init__(self, *args: Any, distillation: DistillationLoss, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._check_own_loss()
        self.distillation = distillation.to(self.args.device)
        # `counts` are those of the whole accumulated batch. Older Trainers have no name for it: they would divide the
        # loss once more, by the number of parts, where the model takes no `num_items_in_batch`.
        self.loss_is_scaled_for_ga = self.model_accepts_loss_kwargs = True
        self._counts: list[float] | None = None
        self._logged: dict[str, float] = {}  # sums of the terms since the last log
        self._steps = 0

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        self._logged, self._steps = {}, 0  # of an earlier call, which may have been interrupted
        return super().train(*args, **kwargs)

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, Tensor | int | None]:
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._counts = self.distillation.counts(batches)
        if self.accelerator.num_processes > 1:
            counts = torch.tensor(self._counts, dtype=torch.float64, device=device)
            self._counts = self.accelerator.reduce(counts, "sum").tolist()
        self._steps += bool(batches)  # a stream that has ended gives none
        return batches, items

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        counts = self._counts if model.training else None
        found = self.distillation(model, inputs, counts)
        loss = found.loss
        if counts is not None:
            for name, value in found.terms.items():
                self._logged[name] = self._logged.get(name, 0.0) + value
            loss = loss * self.accelerator.num_processes  # of which the mean of all processes is taken
        # As in Trainer: the states of all layers, which the loss needs, are no predictions.
        outputs = type(found.outputs)(**{k: v for k, v in found.outputs.items() if k not in _STATES})
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self._steps and "loss" in logs:
            values = torch.tensor(list(self._logged.values()), dtype=torch.float64, device=self.args.device)
            if self.accelerator.num_processes > 1:  # each has the part of its own positions
                values = self.accelerator.reduce(values, "sum")
            logs |= {name: value / self._steps for name, value in zip(self._logged, values.tolist())}
            self._logged, self._steps = {}, 0
        super().log(logs, *args, **kwargs)

    def _check_own_loss(self) -> None:
        """Raise UserError where an argument of Trainer or SFTTrainer names another loss."""
        others = {
            "compute_loss_func": self.compute_loss_func is not None,
            "label_smoothing_factor": bool(self.args.label_smoothing_factor),
            "loss_type": getattr(self.args, "loss_type", None) not in (None, "nll", "chunked_nll"),
        }
        if asked := [name for name, is_set in others.items() if is_set]:
            raise UserError(f"the loss is that of `distillation`, and {asked[0]} asks for another: leave it out")
        if _balances_experts(self.model):
            raise UserError(
                "the loss is that of `distillation`, and router_aux_loss_coef asks for more, the router's own: set it "
                "to 0, in the model's config or in SFTConfig"
            )


def _balances_experts(model: nn.Module | None) -> bool:
    """Whether the model's own loss would have a part that keeps its experts equally busy."""
    config = getattr(model, "config", None)
    if config is None:
        return False
    config = config.get_text_config()
    return bool(getattr(config, "output_router_logits", False) and getattr(config, "router_aux_loss_coef", 1.0))
