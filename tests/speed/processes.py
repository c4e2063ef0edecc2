"""How far training by several processes is from that by one: python tests/speed/processes.py > docs/processes.csv

A small decoder, 5 epochs of 22 blocks, all terms of the loss, by 2 to 4 processes over gloo, whole or sharded. A row
has the largest difference of any point of a curve from one process's, as a share of the curve's largest point, and the
largest of any weight, as a share of the largest weight.
"""

import csv
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from infra.test_processes import ALL_TERMS, distill_in_processes, points
from students.test_train import OBJECTIVES, make_data
from tiny.models import make_teacher

from dskd.infra.arithmetic import pin
from dskd.students import output_loss
from dskd.students import train as distill_module


def measure(table) -> None:
    OBJECTIVES["all"] = ALL_TERMS
    changes = {"objective": "all", "epochs": 5, "log_steps": 1, "checkpoint_steps": 1000}
    for dtype in (torch.float32, torch.bfloat16):
        teacher, ones = make_teacher(dtype), {}
        data = make_data(teacher)
        for batch_size, number, sharded in [(4, 2, False), (4, 3, False), (4, 2, True), (2, 4, False)]:

            def train(parts, batch_size=batch_size, sharded=sharded, teacher=teacher, data=data):
                distill_module.is_sharded = lambda _: sharded and parts > 1
                folder = Path(tempfile.mkdtemp())
                codes = distill_in_processes(parts, teacher, data, folder, batch_size=batch_size, **changes)
                assert codes == [0] * parts
                return points(folder), load_file(folder / "weights-0")

            curves, weights = ones[batch_size] = ones.get(batch_size) or train(1)
            other_curves, other_weights = train(number)
            apart = max(float((other_curves[n] - curves[n]).abs().max() / curves[n].max()) for n in curves)
            largest = max(float(weight.abs().max()) for weight in weights.values())
            moved = max(float((other_weights[n] - weights[n]).abs().max()) for n in weights) / largest
            name = str(dtype).removeprefix("torch.")
            table.writerow([name, batch_size, number, str(sharded).lower(), f"{apart:.1e}", f"{moved:.1e}"])
            sys.stdout.flush()


if __name__ == "__main__":
    pin(1)
    output_loss.fused = lambda function: function  # as in the tests: compiling takes longer than all else
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["format", "batch_size", "processes", "sharded", "curves", "weights"])
    measure(table)
