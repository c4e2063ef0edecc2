"""What a GPU makes of it: first whether every path is right, then speeds beside what the card and others can.

    make gpu      on a machine with a GPU, in under ten minutes; nothing is fetched

The teacher has the shape of SmolLM2-135M and random weights, and the text is random: neither changes a speed. Without
a GPU all of it runs on the processor at a tiny size, so that the script itself is tried. Rows go to gpu.csv beside this
file, with the card's name. Liger-Kernel and faiss are compared with where they are installed.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accelerate.utils import send_to_device
from senses.test_kmeans import ragged
from speed.measure import COLUMNS, FOLDER, append, here, line, name_of, side_by_side
from students.test_losses import example, naive_output_loss, value_and_gradient
from students.test_sampled_vocabulary import sampled_loss
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from dskd.infra import processes
from dskd.model.logits import Head, head_of
from dskd.params import DistillParams, HarvestParams, Objective, StudentParams
from dskd.report.decoder_shape import Shape, forward_flops, head_flops, read_shape, training_flops
from dskd.senses.kmeans import kmeans
from dskd.states.harvest import harvest
from dskd.states.store import Text, open_states
from dskd.students.output_loss import Heads, OutputWeights, output_loss
from dskd.students.sampled_vocabulary import Sampling, draw_vocabulary
from dskd.students.store import new_student
from dskd.students.train import Recipe, train

KD = Objective(ce=1.0, kl=0.7, hidden=0.0, sense=0.0, margin=1.0, targets="none")
WEIGHTS = OutputWeights(1.0, 0.7, 2.0)
DRAWN, TOP = 4096, 16  # tokens that a step of a sampled vocabulary draws; likely tokens at each position


class Size(NamedTuple):
    """How large all is."""

    shape: Shape
    student: StudentParams
    blocks: int  # of the text
    length: int  # tokens of a block
    batch: int  # blocks of a step, and of a forward pass
    matrix: int  # rows of the square matrices that the card's rate is measured with
    sets: int  # of k-means, of 2 000 vectors each
    dtype: torch.dtype


GPU = Size(
    read_shape("SmolLM2-135M"), StudentParams(cut="lower_last", layers=24, trained=4), 2048, 256, 64, 8192, 512,
    torch.bfloat16,
)  # fmt: skip
TINY_SHAPE = Shape(
    hidden_size=32, intermediate_size=64, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=500,
)  # fmt: skip
TINY = Size(TINY_SHAPE, StudentParams(cut="lower_last", layers=4, trained=2), 8, 16, 2, 64, 2, torch.float32)


def check(device: torch.device) -> list[dict]:
    """The largest difference of a value or gradient from float64, as a share of its largest number."""
    student, teacher, head, labels = (tensor.detach().to(device) for tensor in example())
    exact = student.clone().requires_grad_()
    true = value_and_gradient(naive_output_loss(exact, teacher, head, labels, *WEIGHTS[:3])[0], exact)
    rows = []
    for name, compiled, vocabulary in (
        ("output loss", False, None),
        ("output loss, compiled", True, None),
        ("output loss, sampled vocabulary of all tokens", False, draw_vocabulary(Sampling(99, 37, 0), labels.cpu(), 0)),
    ):
        narrow = student.float().requires_grad_()
        given, both = (narrow, teacher.float()), Heads(Head(head.float()), Head(head.float()))
        if vocabulary is None:
            loss = output_loss(*given, labels, both, WEIGHTS, chunk=4, compiled=compiled)[0]
        else:
            loss = sampled_loss(*given, both, labels, send_to_device(vocabulary, device), WEIGHTS)[0]
        found = value_and_gradient(loss, narrow)
        off = max(float((f.double() - t).abs().max() / t.abs().max()) for f, t in zip(found, true))
        rows.append(line(f"{name}, off float64", "13 x 37, float32", f"{off:.1e}", "share", 1e-5, off <= 1e-5))

    x, sizes, keys = ragged()
    there = kmeans(*(tensor.to(device) for tensor in (x, sizes, keys)), 5, seed=0, iterations=30)[1].cpu()
    same = float((there == kmeans(x.double(), sizes, keys, 5, seed=0, iterations=30)[1]).double().mean())
    rows.append(line("k-means, assigned as in float64", "ragged sets, float32", same, "share", 1, same == 1))
    return rows


def timed(function: Callable[[], object]) -> Callable[[], None]:
    """The function, with a wait for the card at its end."""

    def run() -> None:
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return run


def median(function: Callable[[], object], rounds: int = 3) -> float:
    return side_by_side(timed(function), lambda: None, rounds)[0]


def matrix_rate(size: Size, device: torch.device) -> float:
    """Operations a second of a product of two square matrices."""
    a = torch.randn(size.matrix, size.matrix, device=device).to(size.dtype)
    return 2 * size.matrix**3 / median(lambda: a @ a)


def make_teacher(size: Size, device: torch.device) -> LlamaForCausalLM:
    config = LlamaConfig(
        **size.shape.model_dump(exclude={"model_type", "head_dim", "tie_word_embeddings"}),
        max_position_embeddings=2048, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(config).to(device, size.dtype).eval().requires_grad_(False)


def run_stages(size: Size, device: torch.device, rate: float) -> list[dict]:
    """Harvest, and training with the whole and with a sampled vocabulary."""
    teacher, shape = make_teacher(size, device), size.shape
    ids = torch.randint(shape.vocab_size, (size.blocks, size.length + 1), dtype=torch.int32)
    tokens, label = size.blocks * size.length, f"{size.blocks} x {size.length} tokens, {name_of(size.dtype)}"
    layers, rows = size.student.trained, []
    with tempfile.TemporaryDirectory() as folder:
        settings = HarvestParams(batch_size=size.batch, shard_blocks=size.blocks, top_tokens=min(TOP, shape.vocab_size))

        def read(number: int = 0) -> None:
            harvest(teacher, {"train": ids}, size.student, settings, Path(folder) / f"{number}", "gpu", size.dtype)

        read()  # warms up
        seconds = median(lambda: read(1), rounds=1)
        flops = forward_flops(shape, shape.num_hidden_layers, tokens, size.length) + head_flops(shape, tokens)
        rows += of_rate("harvest", label, tokens / seconds, flops / seconds / rate)

        text = Text(open_states(Path(folder) / "0", "train"), ids[:, 1:].long(), ids[:, :-1])
        for name, drawn in (("training", None), ("training, sampled vocabulary", min(DRAWN, shape.vocab_size // 4))):
            settings = DistillParams(
                objectives=["kd"], seeds=[0], epochs=1.0, batch_size=size.batch, learning_rate=1e-3, weight_decay=0.0,
                warmup_share=0.1, clip_norm=1.0, temperature=2.0, beta=0.0, sampled_vocabulary=drawn,
                checkpoint_steps=10**6, log_steps=10,
            )  # fmt: skip

            def teach(settings: DistillParams = settings) -> None:
                with tempfile.TemporaryDirectory() as work:
                    student = new_student(teacher, teacher, size.student)
                    train(student, head_of(teacher), text, None, Recipe(KD, settings, 0), Path(work))

            teach(settings.model_copy(update={"epochs": 0.05}))  # compiles
            seconds = median(teach, rounds=1)
            flops = training_flops(shape, layers, tokens, size.length, kl=True)
            share = None if drawn else flops / seconds / rate
            rows += of_rate(name, f"{label}, {layers} trained layers", tokens / seconds, share)
    return rows


def of_rate(name: str, shape: str, tokens: float, share: float | None) -> list[dict]:
    rows = [line(name, shape, round(tokens), "tokens/s", "", "")]
    if share is not None:
        rows.append(line(f"{name}, of the card's matrix rate", shape, round(share, 3), "share", 0.5, share >= 0.5))
    return rows


def output_losses(size: Size, device: torch.device) -> list[dict]:
    """Ours beside plain PyTorch and Liger-Kernel's: seconds and memory of value and gradient."""
    n, d, v = size.batch * size.length, size.shape.hidden_size, size.shape.vocab_size
    head = (torch.randn(v, d, device=device) / d**0.5).to(size.dtype)
    teacher = torch.randn(n, d, device=device).to(size.dtype)
    student = (teacher + 0.3 * torch.randn_like(teacher)).requires_grad_()
    labels = torch.randint(v, (n,), device=device)
    heads = Heads(Head(head), Head(head))

    def ours() -> None:
        output_loss(student, teacher, labels, heads, WEIGHTS, chunk=4096, compiled=True)[0].backward()

    def plain() -> None:
        logits, of_teacher = ((x @ head.T).float() for x in (student, teacher))
        log_q, log_p = ((x / WEIGHTS.temperature).log_softmax(dim=1) for x in (logits, of_teacher))
        kl = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
        (F.cross_entropy(logits, labels) + WEIGHTS.kl * WEIGHTS.temperature**2 * kl).backward()

    others = {"plain PyTorch": plain}
    if liger := _liger(student, teacher, head, labels):
        others["Liger-Kernel"] = liger
    rows, shape = [], f"{n} x {v}, d = {d}, {name_of(size.dtype)}"
    for name, other in others.items():
        theirs, own = side_by_side(timed(other), timed(ours), rounds=3)
        of = f"output loss against {name}"
        ratio = round(theirs / own, 3)
        rows.append(line(of, shape, round(n / own), "tokens/s", 1, ratio >= 1, round(n / theirs), ratio))
        rows.append(line(f"{of}, memory", shape, memory(ours), "MB", "", "", memory(other)))
    return rows


def _liger(student: Tensor, teacher: Tensor, head: Tensor, labels: Tensor) -> Callable[[], None] | None:
    try:
        from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss
    except ImportError:
        return None
    soft = WEIGHTS.kl * WEIGHTS.temperature**2
    loss = LigerFusedLinearJSDLoss(1.0, soft, beta=0.0, temperature=WEIGHTS.temperature)
    return lambda: loss(student, head, teacher, head, labels).backward()


def memory(function: Callable[[], object]) -> int | str:
    """Megabytes on the card beyond what was there; empty without a card."""
    if not torch.cuda.is_available():
        return ""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    timed(function)()
    return round((torch.cuda.max_memory_allocated() - before) / 1e6)


def clustering(size: Size, device: torch.device) -> list[dict]:
    """k-means of many sets of 2 000 vectors beside faiss, one set after the other."""
    n, k, d = 2000 if device.type == "cuda" else 50, 10, size.shape.hidden_size
    x = torch.randn(size.sets, n, d, device=device)
    sizes, keys = torch.full((size.sets,), n, device=device), torch.arange(size.sets, device=device)
    own = median(lambda: kmeans(x, sizes, keys, k, seed=0, iterations=30))
    shape, rate = f"{size.sets} sets of {n} x {d}, k = {k}, 30 iterations", size.sets * n / own
    try:
        import faiss
    except ImportError:
        return [line("k-means", shape, round(rate), "states/s", "", "")]

    def theirs() -> None:
        for rows in x.cpu().numpy():
            faiss.Kmeans(d, k, niter=30, gpu=device.type == "cuda").train(rows)

    taken = median(theirs, rounds=1)
    reference, ratio = size.sets * n / taken, round(taken / own, 3)
    return [line("k-means against faiss", shape, round(rate), "states/s", 1, ratio >= 1, round(reference), ratio)]


def main() -> int:
    device = processes.state().device
    size = GPU if device.type == "cuda" else TINY
    rate = matrix_rate(size, device)
    rows = check(device)
    right = all(row["met"] for row in rows)
    shape = f"{size.matrix} rows, {name_of(size.dtype)}"
    rows.append(line("product of two square matrices", shape, f"{rate:.3g}", "FLOP/s", "", ""))
    rows += [*run_stages(size, device, rate), *output_losses(size, device), *clustering(size, device)]
    card = torch.cuda.get_device_name() if device.type == "cuda" else ""
    for row in rows:
        print("{figure}, {shape}: {value} {unit}".format(**row), row["met"])
    if card:
        append(FOLDER / "gpu.csv", COLUMNS, [{**here(), "machine": card, **row} for row in rows])
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
