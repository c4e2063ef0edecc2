"""The loss curves of examples/README.md.

    python examples/curves.py                                # draws curves.svg from curves.csv
    python examples/curves.py run MODEL texts.txt ...        # trains anew and writes curves.csv, then draws

After `run` come the options of plain_loop.py. It is run with the sense loss, and with the weight 0: then the sense loss
is measured, and does not train.
"""

import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
TERMS = {"ce": "cross-entropy (nats a token)", "kl": "KL from the teacher, T = 2 (nats)", "SenseLoss": "sense loss"}
NAMES = {"with": "trained with the sense loss", "without": "without it"}


def run(arguments: list[str]) -> None:
    sys.path.insert(0, str(HERE))
    from plain_loop import main

    curves = {"without": main([*arguments, "--sense", "0"]), "with": main(arguments)}  # before the file is opened
    with (HERE / "curves.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["student", "step", *TERMS], lineterminator="\n")
        writer.writeheader()
        for student, points in curves.items():
            for point in points:
                writer.writerow({"student": student} | {name: f"{value:.4g}" for name, value in point.items()})


def draw(every: int = 2) -> None:
    """Means of so many steps."""
    with (HERE / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    plt.rcParams.update({"svg.hashsalt": "dskd", "svg.fonttype": "none"})
    figure, axes = plt.subplots(1, len(TERMS), figsize=(10, 3), layout="constrained")
    for axis, (term, title) in zip(axes, TERMS.items()):
        for student, name in NAMES.items():
            values = [float(row[term]) for row in rows if row["student"] == student]
            means = [sum(values[i : i + every]) / every for i in range(0, len(values) - every + 1, every)]
            axis.plot(range(every, len(means) * every + 1, every), means, label=name)
        axis.set(title=title, xlabel="step")
    axes[0].legend()
    figure.savefig(HERE / "curves.svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        run(sys.argv[2:])
    draw()
