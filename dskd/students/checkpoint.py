"""Where a training that was stopped goes on from."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from dskd.infra import artifacts, processes
from dskd.infra.hashes import remove
from dskd.infra.output import output


def save_checkpoint(
    work: Path, step: int, weights: dict, optimizer: torch.optim.Optimizer, history: list, sums: dict
) -> None:
    """Weights, moments, curves and sums of the point to come; the order of the data follows from the step."""
    moments = {
        f"{part}/{name}": processes.whole(optimizer.state[weight][part])
        for name, weight in weights.items()
        for part in ("step", "exp_avg", "exp_avg_sq")
    }
    tensors = {**{f"weight/{n}": processes.whole(weight.detach()) for n, weight in weights.items()}, **moments}
    if not processes.state().is_main_process:
        return
    place = work / f"checkpoint-{step:09d}"
    with output(place, checksums=True) as partial:
        partial.mkdir()
        save_file(tensors, partial / "tensors.safetensors")
        artifacts.write_json(partial / "history.json", {"step": step, "history": history, "sums": sums})
    for folder in work.glob("checkpoint-*"):
        if folder != place:  # only now: at every moment there is a whole one
            remove(folder)


def load_checkpoint(work: Path, weights: dict, optimizer: torch.optim.Optimizer) -> tuple[int, list, dict]:
    """Restore what `save_checkpoint` left: steps done, curves, sums; (0, [], {}) where there is nothing.

    Raises:
        UserError: the checkpoint is damaged, or of another model.
    """
    folder = max(work.glob("checkpoint-*"), default=None)
    if folder is None:
        return 0, [], {}
    tensors = artifacts.load_tensors(folder / "tensors.safetensors", "distill")
    with artifacts.reading(folder, "distill"):
        for name, weight in weights.items():
            found = {
                part: processes.shared_as(weight, tensors[f"{part}/{name}"].view(weight.shape).to(weight.device))
                for part in ("weight", "exp_avg", "exp_avg_sq")
            }
            weight.data.copy_(found.pop("weight"))
            moments = {part: moment.clone() for part, moment in found.items()}
            optimizer.state[weight] = {"step": tensors[f"step/{name}"].view(()).clone(), **moments}
        saved = artifacts.read_json(artifacts.require(folder / "history.json", "distill"))
        return int(saved["step"]), list(saved["history"]), dict(saved["sums"])
