"""Where a training that was stopped goes on from."""

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file

from dskd.infra import artifacts, processes
from dskd.infra.hashes import remove
from dskd.infra.output import output


class Progress(NamedTuple):
    """How far a run is; the order of the data follows from the step."""

    step: int  # steps done
    history: list[dict[str, float]]  # points of the curves so far
    sums: dict[str, float]  # of the loss terms since the last point


def save_checkpoint(work: Path, progress: Progress, weights: dict, optimizer: torch.optim.Optimizer) -> None:
    """Write progress, weights and moments into a folder of `work`; every process has to call it."""
    moments = {
        f"{part}/{name}": processes.whole(optimizer.state[weight][part])
        for name, weight in weights.items()
        for part in ("step", "exp_avg", "exp_avg_sq")
    }
    tensors = {**{f"weight/{n}": processes.whole(weight.detach()) for n, weight in weights.items()}, **moments}
    if not processes.state().is_main_process:
        return
    place = work / f"checkpoint-{progress.step:09d}"
    with output(place, checksums=True) as partial:
        partial.mkdir()
        save_file(tensors, partial / "tensors.safetensors")
        artifacts.write_json(partial / "history.json", progress._asdict())
    for folder in work.glob("checkpoint-*"):
        if folder != place:  # only now: at every moment there is a whole one
            remove(folder)


def load_checkpoint(work: Path, weights: dict, optimizer: torch.optim.Optimizer) -> Progress:
    """Restore the weights and moments that `save_checkpoint` left, and return the progress; none where there is none.

    Raises:
        UserError: the checkpoint is damaged, or of another model.
    """
    folder = max(work.glob("checkpoint-*"), default=None)
    if folder is None:
        return Progress(0, [], {})
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
        return Progress(int(saved["step"]), list(saved["history"]), dict(saved["sums"]))
