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
import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dskd.codes.additive import CENTRES, decode, encode, packed, product_tables, residual_tables, unpacked
from dskd.codes.divergence import Teacher, head_metric, state_kl, teacher_of
from dskd.codes.keyed import cluster_dictionary, nearest_rows, random_rows, token_means
from dskd.codes.sparse import draw_shares, sampled_tokens, sparse_kl, top_tokens
from dskd.infra.arithmetic import pin
from dskd.infra.output import output
from dskd.infra.randomness import hash_integers
from dskd.model.logits import Head, head_of, widened
from dskd.params import SensesParams
from dskd.pipeline import stages
from dskd.pipeline.inputs import cached_states, load_teacher
from dskd.report.figures import rate_distortion
from dskd.senses.cluster import build_senses
from dskd.senses.store import Senses
from dskd.states.reservoir import Chunk, _smallest, gathered
from dskd.states.store import States

ROWS, BUILD = Path("docs/trials/codes.csv"), Path("build/codes")
SEED = 0
BLOCKS, STEP = 32, 8  # blocks of the held-out text, drawn by the seed, of which every eighth position is measured
OF_FREQUENCY = 8192  # training positions whose mean distribution stands for tokens that a code does not keep
SAMPLE, ITERATIONS = 65536, 6  # training states of a codebook, and steps of its k-means
RESIDUAL = [2, 4, 8, 1, 16, 32]  # bytes for what another code leaves; token and sense take two
TOP = [1, 2, 3, 4, 8, 16, 32]
DRAWS = {4: 2.0, 16: 3.0, 64: 4.0}  # draws, and how many draws the fixed proportions count for


class Setting(NamedTuple):
    """What codes are made from, and measured with. `x` are states in the metric of the head, (n, d) float32."""

    train: Tensor  # (n, d) bfloat16, the teacher's states of the training text
    train_keys: Tensor  # (n,) the tokens that the teacher predicts there
    train_below: Tensor  # (n, d) bfloat16, the states that enter the student's first trained layer
    sample: Tensor  # (s,) the training states that codebooks are made of
    sample_x: Tensor
    heldout: Tensor
    heldout_keys: Tensor
    heldout_below: Tensor
    x: Tensor  # of the held-out text
    teacher: Teacher  # at the held-out positions
    head: Head
    metric: Tensor  # (d, d) float32
    log_u: Tensor  # (V,) float32, of the mean distribution on training text
    senses: SensesParams


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
    metric = head_metric(head)
    train, train_keys, train_below = columns(cached_states("train"))
    some, zeros = torch.randperm(len(train), generator=generator)[:OF_FREQUENCY], torch.zeros(len(head.weight))
    log_u = kept("mean_p", lambda: {"p": teacher_of(train[some], head, 1, zeros).mean_p})["p"].log()
    states = cached_states("heldout")
    blocks = torch.randperm(states.blocks, generator=generator)[:BLOCKS].sort().values
    places = (blocks[:, None] * states.length + torch.arange(STEP // 2, states.length, STEP)).flatten()
    heldout, heldout_keys, heldout_below = (column[places] for column in columns(states))
    teacher = Teacher(**kept("heldout", lambda: teacher_of(heldout, head, max(TOP), log_u)._asdict()))
    sample = torch.randperm(len(train), generator=torch.Generator().manual_seed(SEED + 1))[:SAMPLE]
    return Setting(
        train=train,
        train_keys=train_keys,
        train_below=train_below,
        sample=sample,
        sample_x=train[sample].float() @ metric,
        heldout=heldout,
        heldout_keys=heldout_keys,
        heldout_below=heldout_below,
        x=heldout.float() @ metric,
        teacher=teacher,
        head=head,
        metric=metric,
        log_u=log_u,
        senses=params.senses,
    )


def columns(states: States) -> tuple[Tensor, Tensor, Tensor]:
    """Last hidden states, predicted tokens and the states below, of all positions."""
    return tuple(
        torch.cat(shards).flatten(0, 1) for shards in (states.hidden_states, states.predicted, states.split_states)
    )


def of_dictionary(of: Setting) -> Tensor:
    """Which training states a dictionary is made of: as many of each predicted token as the reservoir may hold."""
    hashes = hash_integers(of.senses.seed, np.arange(len(of.train)))
    return torch.from_numpy(_smallest(of.train_keys.numpy(), hashes, of.senses.reservoir, len(of.log_u))[0]).nonzero()[
        :, 0
    ]


def token_senses(of: Setting, name: str = "senses", line: Tensor | None = None) -> Senses:
    """The senses of the predicted tokens, under the run's settings for senses; with `line` (d + 1, d), those of what
    this map of the state below leaves."""

    def make() -> dict[str, Tensor]:
        here, (seen, counts) = of_dictionary(of), of.train_keys.unique(return_counts=True)
        x = of.train[here].float() @ of.metric
        if line is not None:
            x -= with_one(of.train_below[here]) @ line
        sample = gathered([Chunk(of.train_keys[here].int(), here, x, seen.int(), counts)])
        return build_senses(sample, of.senses)._asdict()

    return rounded(Senses(**kept(name, make)))


def context_line(of: Setting) -> Tensor:
    """The linear map (d + 1, d) from the state that enters the first trained layer, and a one, to the last state."""

    def make() -> dict[str, Tensor]:
        below = with_one(of.train_below[of.sample]).double()
        gram = below.T @ below
        gram.diagonal().add_(1e-3 * gram.diagonal().mean())
        return {"line": torch.linalg.solve(gram, below.T @ of.sample_x.double()).float()}

    return kept("context", make)["line"]


def with_one(states: Tensor) -> Tensor:
    return torch.cat([states.float(), torch.ones(len(states), 1)], dim=1)


def word_free_senses(of: Setting, centres: Tensor) -> Senses:
    """A dictionary of the same states, with clusters as keys: 256 of them, with 256 senses each."""

    def make() -> dict[str, Tensor]:
        x = of.train[of_dictionary(of)].float() @ of.metric
        return cluster_dictionary(x, centres, CENTRES, SEED, ITERATIONS)._asdict()

    return rounded(Senses(**kept("word_free", make)))


def rounded(senses: Senses) -> Senses:
    return senses._replace(centroids=senses.centroids.bfloat16().float())


def tables(name: str, x: Tensor, number: int) -> list[Tensor]:
    """The first tables of a residual quantiser of states x, rounded as they are stored; more are made when needed."""
    known = [table.float() for _, table in sorted(kept(name, dict).items())]
    if len(known) < number:
        known = residual_tables(x, number, SEED, ITERATIONS, known)
        keep(name, {f"{i:02d}": table.bfloat16() for i, table in enumerate(known)})
    return [table.bfloat16().float() for table in known[:number]]


class Rows:
    """The rows of docs/trials/codes.csv: a code, its bytes, and the KL of each block."""

    def __init__(self, of: Setting) -> None:
        self.of, self.back = of, torch.linalg.inv(of.metric.double()).float()
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

    def measure(self, code: str, codes: Tensor, by: list[Tensor], before: Tensor | float = 0.0, spare: int = 0) -> None:
        """Measure codes (n, m) by these tables, as they come back from their bytes, added to what is known `before`.

        Args:
            spare: bytes of codebooks that the tables do not show.
        """
        if self.lacks(code):
            stored = packed(codes, by)
            x = decode(unpacked(stored, by), by) if by else 0.0
            states = ((x + before) @ self.back).bfloat16()
            kl = state_kl(states, self.of.heldout, self.of.teacher, self.of.head)
            self.add(code, stored.bytes, spare + sum(2 * table.numel() for table in by), kl)


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
    senses = token_senses(of)
    means, table = rounded(token_means(senses)), [senses.centroids]
    rows.measure("senses", nearest_rows(of.x, of.heldout_keys, senses)[:, None], table)
    rows.measure("token mean", nearest_rows(of.x, of.heldout_keys, means)[:, None], [means.centroids])
    rows.measure("random sense", random_rows(of.x, of.heldout_keys, senses, SEED)[:, None], table)


def word_free_dictionary(rows: Rows, of: Setting) -> None:
    """The control of a dictionary of as many states whose keys are clusters."""
    if rows.lacks("word-free senses"):
        first = tables("alone", of.sample_x, 1)
        free = word_free_senses(of, first[0])
        rows.measure("word-free senses", nearest_rows(of.x, encode(of.x, first)[:, 0], free)[:, None], [free.centroids])


def senses_and_rest(rows: Rows, of: Setting, m: int) -> None:
    """Token and sense, and m bytes for what they leave."""
    if rows.lacks(code := f"senses + {m}"):
        senses = token_senses(of)
        table, at = senses.centroids, nearest_rows(of.x, of.heldout_keys, senses)
        left = of.sample_x - table[nearest_rows(of.sample_x, of.train_keys[of.sample], senses)]
        by = tables("after_senses", left, m)
        rows.measure(code, torch.cat([at[:, None], encode(of.x - table[at], by)], dim=1), [table, *by])


def alone(rows: Rows, of: Setting, m: int) -> None:
    """A residual quantiser of m bytes, which knows no words."""
    if rows.lacks(code := f"residual {m}"):
        by = tables("alone", of.sample_x, m)
        rows.measure(code, encode(of.x, by), by)


def context_and_rest(rows: Rows, of: Setting, m: int) -> None:
    """A linear map of the state that enters the first trained layer, and m bytes for what it leaves. The map needs no
    bytes a token: the layers below are frozen, and a student's training makes these states anyway."""
    if rows.lacks(code := f"context + {m}" if m else "context"):
        line = context_line(of)
        guess = with_one(of.heldout_below) @ line
        by = tables("after_context", of.sample_x - with_one(of.train_below[of.sample]) @ line, m) if m else []
        codes = encode(of.x - guess, by) if m else torch.empty(len(of.x), 0)
        rows.measure(code, codes, by, guess, spare=2 * line.numel())


def context_dictionary(rows: Rows, of: Setting) -> None:
    """The same map, and token and sense, or token alone, for what it leaves."""
    if rows.lacks("context + senses") or rows.lacks("context + token mean"):
        line = context_line(of)
        guess, senses = with_one(of.heldout_below) @ line, token_senses(of, "senses_after_context", line)
        for code, dictionary in (("senses", senses), ("token mean", rounded(token_means(senses)))):
            at = nearest_rows(of.x - guess, of.heldout_keys, dictionary)[:, None]
            rows.measure(f"context + {code}", at, [dictionary.centroids], guess, spare=2 * line.numel())


def product(rows: Rows, of: Setting, m: int) -> None:
    """A product quantiser of m bytes. Its tables hold d numbers for each of 256 rows, and its axes d² more."""
    if rows.lacks(code := f"product {m}"):
        by = [table.bfloat16().float() for table in product_tables(of.sample_x, m, SEED, ITERATIONS)]
        d = of.x.shape[1]
        rows.measure(code, encode(of.x, by), by, spare=2 * d * (CENTRES + d) - sum(2 * table.numel() for table in by))


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
