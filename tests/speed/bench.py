"""Speeds as ratios measured side by side in one run: `make bench` appends them to results.csv beside this file.

    bench.py                      everything, as far as the artifacts go: an hour on two cores
    bench.py loss training        these parts only

Needs the artifacts of the stages up to `targets` (`dvc repro targets@dskd`); with four students and the benchmarks at
hand (the study has them) the evaluation is timed too, with the mirror's entries of wiktextract their reader, and with
Chromium the page of senses.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from speed import busy, cloze, clustering, page, scaling, training
from speed import lexicon_from_cold as lexicon
from speed.measure import COLUMNS, FOLDER, append, here, line, memory_beyond, name_of, side_by_side, speed
from torch.nn import functional as F

from dskd.corpus.store import load_corpus
from dskd.infra import artifacts
from dskd.model.logits import Head
from dskd.pipeline import stages
from dskd.pipeline.inputs import load_teacher
from dskd.students.output_loss import Heads, OutputWeights, output_loss


def bench_harvest(blocks: int = 16) -> list[dict]:
    """Harvest (states and predicted tokens to disk) against the bare forward pass with its logits."""
    params = stages.begin()
    teacher, _ = load_teacher(params)
    ids = load_corpus(Path(artifacts.CORPUS))[0]["train"][:blocks]
    size = params.harvest.batch_size

    @torch.inference_mode()
    def bare() -> None:
        for batch in ids[:, :-1].split(size):
            teacher(batch, use_cache=False)

    shape = f"{blocks} x {ids.shape[1] - 1} tokens, {name_of(teacher.dtype)}"
    pair = side_by_side(bare, lambda: training.run_harvest(teacher, params, ids))
    return [speed("harvest against bare forward pass", shape, ids[:, 1:].numel(), pair, 0.95)]


def bench_loss(tokens: int = 1024, many: int = 8192) -> list[dict]:
    """CE and KL over the vocabulary, value and gradient: against all logits at once, and against the three head
    products that cannot be saved; and the memory it takes."""
    params = stages.begin()
    teacher, _ = load_teacher(params)
    head = teacher.get_output_embeddings().weight
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(many, head.shape[1], generator=generator).to(head.dtype)
    student = (hidden + 0.3 * torch.randn(hidden.shape, generator=generator).to(head.dtype)).requires_grad_()
    labels = torch.randint(len(head), (many,), generator=generator)
    heads, weights = Heads(Head(head), Head(head)), OutputWeights(1.0, 0.7, 2.0)

    def ours(n: int = tokens) -> None:
        some = student if n == many else student[:n]
        output_loss(some, hidden[:n], labels[:n], heads, weights, compiled=True)[0].backward()

    def naive() -> None:
        logits, teacher_logits = ((x[:tokens] @ head.T).float() for x in (student, hidden))
        targets = F.log_softmax(teacher_logits / 2.0, dim=1)
        kl = F.kl_div(F.log_softmax(logits / 2.0, dim=1), targets, log_target=True, reduction="batchmean")
        (F.cross_entropy(logits, labels[:tokens]) + 0.7 * 4.0 * kl).backward()

    @torch.no_grad()
    def products() -> None:
        for x, y in zip(student[:tokens].split(384), hidden[:tokens].split(384)):
            logits, _ = x @ head.T, y @ head.T
            logits @ head

    shape = f"{tokens} x {len(head)}, d = {head.shape[1]}, {name_of(head.dtype)}"
    lines = [
        speed("output loss against all logits at once", shape, tokens, side_by_side(naive, ours), 2.5),
        speed("output loss against its head products", shape, tokens, side_by_side(products, ours), 0.6),
    ]
    ours(many)  # the gradient is there from now on, so that it is not counted
    memory = memory_beyond(lambda: ours(many))
    shape = shape.replace(f"{tokens} x", f"{many} x")
    return [
        *lines,
        line("output loss, memory beyond inputs and gradient", shape, round(memory), "MB", 256, memory <= 256),
    ]


PARTS = {
    "harvest": bench_harvest,
    "busy": busy.bench_busy,
    "loss": bench_loss,
    "senses": clustering.bench_senses,
    "training": training.bench_training,
    "sampled": training.bench_sampled,
    "cloze": cloze.bench_cloze,
    "lexicon": lexicon.bench_lexicon,
    "page": page.bench_page,
    "scaling": scaling.main,
}


def main() -> None:
    available = {"cloze": cloze.available(), "page": page.available()}
    chosen = sys.argv[1:] or [part for part in PARTS if available.get(part, True)]
    for part in chosen:
        if part not in PARTS:
            raise SystemExit(f"no benchmark {part!r}; there are: {', '.join(PARTS)}")
    for part in chosen:
        rows = [{**here(), **measured} for measured in PARTS[part]() or []]
        append(FOLDER / "results.csv", COLUMNS, rows)
        for measured in rows:
            verdict = "met" if measured["met"] else "not met"
            beside = " against {reference_value}, ratio {ratio}".format(**measured) if measured["ratio"] else ""
            print("{figure}: {value} {unit}{beside}, target {target}:".format(**measured, beside=beside), verdict)


if __name__ == "__main__":
    main()
