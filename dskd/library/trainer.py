"""transformers' Trainer with a distillation as its loss."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from dskd.library.distillation import DistillationLoss


class DistillationTrainer(Trainer):
    """Trainer whose loss is a `DistillationLoss`; all else, gradient accumulation and many devices included, is as in
    Trainer. Its logs have every term: "ce", "kl", "SenseLoss".

    Another trainer takes its loss by inheritance: `class Both(DistillationTrainer, SFTTrainer): pass`.

    Args:
        distillation: the loss. All other arguments are the trainer's own.
    """

    def __init__(self, *args: Any, distillation: DistillationLoss, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.distillation = distillation.to(self.args.device)
        self.loss_is_scaled_for_ga = True  # `counts` are those of the whole accumulated batch
        self._counts: list[float] | None = None
        self._logged: dict[str, float] = {}  # sums of the terms since the last log
        self._steps = 0

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, Tensor | int | None]:
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._counts = self.distillation.counts(batches)
        if self.accelerator.num_processes > 1:
            counts = torch.tensor(self._counts, dtype=torch.float64, device=device)
            self._counts = self.accelerator.reduce(counts, "sum").tolist()
        self._steps += 1
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
        return (loss, found.outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self._steps and "loss" in logs:
            logs |= {name: value / self._steps for name, value in self._logged.items()}
            self._logged, self._steps = {}, 0
        super().log(logs, *args, **kwargs)
