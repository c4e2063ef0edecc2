"""How much of the teacher a code of a few bytes a token keeps: KL(teacher ‖ code) on held-out text, without training.

    python tests/tools/codes.py

It needs the artifacts of a run. Dictionaries and codebooks are made of the training text's states, and the KL is
measured on blocks of the held-out text. Rows go to docs/trials/codes.csv, and rows that are there are not made again;
codes.svg beside it shows them. What the teacher says and the tables lie in build/codes, so a run that was stopped goes
on. One thread computes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dskd.codes.additive import CENTRES, encode, packed, product_tables, residual_tables, unpacked
from dskd.codes.codec import ITERATIONS, Code, book_of, encode_states, left_of_sample
from dskd.codes.divergence import Teacher, state_kl, teacher_of
from dskd.codes.keyed import cluster_dictionary, token_means
from dskd.codes.material import Material, context_line, material_of, of_dictionary, rounded, stored, token_senses
from dskd.codes.reading import read_back
from dskd.codes.sparse import draw_shares, sampled_tokens, sparse_kl, top_tokens
from dskd.infra.arithmetic import pin
from dskd.infra.output import output
from dskd.model.logits import Head, head_of, widened
from dskd.pipeline import stages
from dskd.pipeline.inputs import cached_states, load_teacher
from dskd.report.figures import rate_distortion
from dskd.senses.store import Senses
from dskd.states.store import States, take_positions

ROWS, BUILD = Path("docs/trials/codes.csv"), Path("build/codes")
SEED = 0
BLOCKS, STEP = 32, 2  # blocks of the held-out text, drawn by the seed, of which every second position is measured
OF_FREQUENCY = 8192  # training positions whose mean distribution stands for tokens that a code does not keep
RESIDUAL = [2, 4, 8, 1, 16, 32]  # bytes for what another code leaves; token and sense take two
TOP = [1, 2, 3, 4, 8, 16, 32]
DRAWS = {4: 2.0, 16: 3.0, 64: 4.0}  # draws, and how many draws the fixed proportions count for


class Setting(NamedTuple):
    """What codes are made of, and measured with. `x` are states in the metric of the head, (n, d) float32."""

    material: Material  # the training text
    heldout: Tensor  # (n, d) bfloat16, the teacher's states at the positions that are measured
    keys: Tensor  # (n,) the tokens that the teacher predicts there
    below: Tensor  # (n, d) bfloat16, the states that enter the student's first trained layer
    x: Tensor
    teacher: Teacher  # at these positions
    head: Head
    log_u: Tensor  # (V,) float32, of the mean distribution on training text


def kept(name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors that are made once and lie in build/codes."""
    path = BUILD / f"{name}.safetensors"
    if not path.exists():
        keep(name, make())
    return load_file(path)


def keep(name: str, tensors: dict[str, Tensor]) -> None:
    with output(BUILD / f"{name}.safetensors") as partial:
        save_file({key: value.contiguous() for key, value in tensors.items()}, partial)


def read_setting(params) -> Setting:
    """The states, and what the teacher says at the held-out positions."""
    model, _ = load_teacher(params)
    head, generator = widened(head_of(model)), torch.Generator().manual_seed(SEED)
    material = material_of(cached_states("train"), head, params.senses)
    some, zeros = torch.randperm(len(material.keys), generator=generator)[:OF_FREQUENCY], torch.zeros(len(head.weight))
    states = take_positions(material.states.hidden_states, some)
    log_u = kept("mean_p", lambda: {"p": teacher_of(states, head, 1, zeros).mean_p})["p"].log()
    states = cached_states("heldout")
    blocks = torch.randperm(states.blocks, generator=generator)[:BLOCKS].sort().values
    places = (blocks[:, None] * states.length + torch.arange(STEP // 2, states.length, STEP)).flatten()
    heldout, keys, below = (column[places] for column in columns(states))
    teacher = Teacher(**kept("heldout", lambda: teacher_of(heldout, head, max(TOP), log_u)._asdict()))
    return Setting(
        material=material,
        heldout=heldout,
        keys=keys,
        below=below,
        x=heldout.float() @ material.metric,
        teacher=teacher,
        head=head,
        log_u=log_u,
    )


def columns(states: States) -> tuple[Tensor, Tensor, Tensor]:
    """Last hidden states, predicted tokens and the states below, of all positions."""
    return tuple(
        torch.cat(shards).flatten(0, 1) for shards in (states.hidden_states, states.predicted, states.split_states)
    )


def predicted_senses(of: Setting, name: str = "senses", line: Tensor | None = None) -> Senses:
    """`token_senses`, made once and rounded as they are stored."""
    return rounded(Senses(**kept(name, lambda: token_senses(of.material, line)._asdict())))


def line_of(of: Setting) -> Tensor:
    return kept("context", lambda: {"line": context_line(of.material)})["line"]


def word_free_senses(of: Setting, centres: Tensor) -> Senses:
    """A dictionary of the same states, with clusters as keys: 256 of them, with 256 senses each."""

    def make() -> dict[str, Tensor]:
        x = of.material.x(of_dictionary(of.material))
        return cluster_dictionary(x, centres, CENTRES, SEED, ITERATIONS)._asdict()

    return rounded(Senses(**kept("word_free", make)))


def with_rest(of: Setting, code: Code, number: int, name: str) -> Code:
    """A code with so many tables for what it leaves, rounded as they are stored; more are made when needed."""
    known = [table.float() for _, table in sorted(kept(name, dict).items())]
    if len(known) < number:
        known = residual_tables(left_of_sample(code, of.material), number, SEED, ITERATIONS, known)
        keep(name, {f"{i:02d}": table.bfloat16() for i, table in enumerate(known)})
    return code._replace(rest=tuple(stored(table) for table in known[:number]))


class Rows:
    """The rows of docs/trials/codes.csv: a code, its bytes, and the KL of each block."""

    def __init__(self, of: Setting) -> None:
        self.of = of
        self.done = pd.read_csv(ROWS) if ROWS.exists() else pd.DataFrame({"code": []})

    def lacks(self, code: str) -> bool:
        return code not in set(self.done["code"])

    def add(self, code: str, size: int, codebook: int, kl: Tensor) -> None:
        """Add a code that takes `size` bytes at the held-out positions, and tables of `codebook` bytes."""
        blocks = kl.double().view(BLOCKS, -1).mean(dim=1)
        row = {"code": code, "bytes": size / len(kl), "codebook_bytes": codebook, "kl": float(blocks.mean())}
        row |= {f"block_{i}": float(value) for i, value in enumerate(blocks)}
        self.done = pd.concat([self.done, pd.DataFrame([row])], ignore_index=True)
        ROWS.parent.mkdir(parents=True, exist_ok=True)
        self.done.to_csv(ROWS, index=False, float_format="%.6g")
        print(f"{code:28} {row['bytes']:8.3f} bytes  KL {row['kl']:.3f}", flush=True)

    def measure(self, name: str, code: Code, codes: Tensor | None = None, spare: int = 0) -> None:
        """Measure a code as it comes back from its bytes.

        Args:
            codes: (n, m) of the held-out states; made by the code itself, if they are not given.
            spare: bytes of codebooks that the tables do not show.
        """
        if self.lacks(name):
            of, book = self.of, book_of(code, self.of.material.metric)
            if codes is None:
                codes = encode_states(code, of.x, of.keys, of.below)
            small = packed(codes, book.tables)
            found = unpacked(small, book.tables) if book.tables else codes
            states = read_back(book, found, of.below, torch.bfloat16)
            line = 0 if code.line is None else 2 * code.line.numel()
            tables = spare + line + sum(2 * table.numel() for table in book.tables)
            self.add(name, small.bytes, tables, state_kl(states, of.heldout, of.teacher, of.head))


def top_codes(rows: Rows, of: Setting) -> None:
    """Codes that keep the probabilities of the most probable tokens."""
    given, frequency = (of.heldout, of.teacher, of.head, of.log_u), 2 * len(of.log_u)
    for k in [0, *TOP]:
        if rows.lacks(code := f"top {k}"):
            found, size = top_tokens(of.teacher, k, of.log_u)
            rows.add(code, size, frequency, sparse_kl(found, *given))


def drawn_codes(rows: Rows, of: Setting) -> None:
    """Codes that keep tokens drawn from the teacher's distribution, as often as they were drawn."""
    given, frequency = (of.heldout, of.teacher, of.head, of.log_u), 2 * len(of.log_u)
    if any(rows.lacks(f"draws {m}") for m in DRAWS):
        drawn = sampled_tokens(of.heldout, of.head, max(DRAWS), SEED)
        for m, weight in DRAWS.items():
            found, size = draw_shares(drawn[:, :m], weight, of.log_u)
            if rows.lacks(f"draws {m}"):
                rows.add(f"draws {m}", size, frequency, sparse_kl(found, *given))


def dictionary_codes(rows: Rows, of: Setting) -> None:
    """Token and sense, and the controls: the token alone, and another sense of it."""
    senses = predicted_senses(of)
    rows.measure("senses", Code(senses))
    rows.measure("token mean", Code(rounded(token_means(senses))))
    rows.measure("random sense", Code(senses, drawn=SEED))


def word_free_dictionary(rows: Rows, of: Setting) -> None:
    """The control of a dictionary of as many states whose keys are clusters."""
    if rows.lacks("word-free senses"):
        first = with_rest(of, Code(), 1, "alone").tables
        free = Code(word_free_senses(of, first[0]))
        rows.measure("word-free senses", free, encode_states(free, of.x, encode(of.x, first)[:, 0], of.below))


def senses_and_rest(rows: Rows, of: Setting, m: int) -> None:
    """Token and sense, and m bytes for what they leave."""
    if rows.lacks(name := f"senses + {m}"):
        rows.measure(name, with_rest(of, Code(predicted_senses(of)), m, "after_senses"))


def alone(rows: Rows, of: Setting, m: int) -> None:
    """A residual quantiser of m bytes, which knows no words."""
    if rows.lacks(name := f"residual {m}"):
        rows.measure(name, with_rest(of, Code(), m, "alone"))


def context_and_rest(rows: Rows, of: Setting, m: int) -> None:
    """A linear map of the state that enters the first trained layer, and m bytes for what it leaves. The map needs no
    bytes a token: the layers below are frozen, and a student's training makes these states anyway."""
    if rows.lacks(name := f"context + {m}" if m else "context"):
        rows.measure(name, with_rest(of, Code(line=line_of(of)), m, "after_context"))


def context_dictionary(rows: Rows, of: Setting) -> None:
    """The same map, and token and sense, or token alone, for what it leaves."""
    if rows.lacks("context + senses") or rows.lacks("context + token mean"):
        line = line_of(of)
        senses = predicted_senses(of, "senses_after_context", line)
        rows.measure("context + senses", Code(senses, line=line))
        rows.measure("context + token mean", Code(rounded(token_means(senses)), line=line))


def product(rows: Rows, of: Setting, m: int) -> None:
    """A product quantiser of m bytes. Its tables hold d numbers for each of 256 rows, and its axes d² more."""
    if rows.lacks(name := f"product {m}"):
        made = product_tables(of.material.x(of.material.sample), m, SEED, ITERATIONS)
        code, d = Code(rest=tuple(map(stored, made))), of.x.shape[1]
        rows.measure(name, code, spare=2 * d * (CENTRES + d) - sum(2 * table.numel() for table in code.tables))


def main() -> None:
    params = stages.begin()
    pin(1)
    BUILD.mkdir(parents=True, exist_ok=True)
    of = read_setting(params)
    rows = Rows(of)
    dictionary_codes(rows, of)
    top_codes(rows, of)
    for m in (1, 2):
        alone(rows, of, m)
    context_and_rest(rows, of, 0)
    for m in RESIDUAL:
        senses_and_rest(rows, of, m)
        alone(rows, of, m + 2)
        context_and_rest(rows, of, m)
        if m == 2:
            word_free_dictionary(rows, of)
            context_dictionary(rows, of)
    drawn_codes(rows, of)
    for m in (18, 36):
        product(rows, of, m)
    with plt.rc_context({"svg.hashsalt": "dskd"}):
        rate_distortion(rows.done).savefig(ROWS.with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
