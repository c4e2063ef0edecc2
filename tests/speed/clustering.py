"""The senses of the run's sample, and of tokens with 2 000 states each, beside a scikit-learn loop over the same sets.

Needs the artifacts of `senses`.
"""

from pathlib import Path

import torch
from sklearn.cluster import KMeans
from speed.measure import line, seconds

from dskd.infra import artifacts
from dskd.infra.arithmetic import squared_distances
from dskd.params import SensesParams
from dskd.pipeline import stages
from dskd.senses.cluster import build_senses
from dskd.states.reservoir import Reservoir, open_reservoir

MANY = 2000  # states a token, the paper's most


def bench_senses() -> list[dict]:
    settings = stages.begin().senses.model_copy(update={"min_states": 1})  # scikit-learn dissolves no cluster
    sample = open_reservoir(Path(artifacts.RESERVOIR))
    return [*_compare(sample, settings), *_compare(_dense(sample, 40), settings)]


def _compare(sample: Reservoir, settings: SensesParams) -> list[dict]:
    sets = _sets(sample, settings.k)
    found = {}

    def ours() -> None:
        found["senses"] = build_senses(sample, settings)

    def theirs() -> None:
        found["models"] = [
            KMeans(settings.k, n_init=1, max_iter=settings.iterations, random_state=settings.seed).fit(rows.numpy())
            for _, rows in sets
        ]

    pair = seconds(theirs), seconds(ours)
    senses = found["senses"]
    inertia = sum(_inertia(rows, senses.centroids[list(senses.rows(token))].float()) for token, rows in sets)
    reference = sum(model.inertia_ for model in found["models"])
    shape = f"{len(sets):,} tokens with more than {settings.k} states, {sum(len(rows) for _, rows in sets):,} states"
    ratio = pair[0] / pair[1]
    return [
        line(
            "senses against a scikit-learn loop", shape, round(pair[1], 1), "s", 3.0, ratio >= 3.0,
            round(pair[0], 1), round(ratio, 3),
        ),
        line(
            "k-means, inertia beside scikit-learn's", shape, round(inertia), "squared distance", 1.01,
            inertia <= 1.01 * reference, round(reference), round(inertia / reference, 4),
        ),
    ]  # fmt: skip


def _dense(sample: Reservoir, tokens: int) -> Reservoir:
    """So many tokens with `MANY` real states each: those of the most frequent tokens, whatever their own token is."""
    most = sample.sizes.argsort(descending=True, stable=True)[: -(-tokens * MANY // int(sample.sizes.max()))]
    of_most = torch.isin(torch.arange(len(sample.tokens)).repeat_interleave(sample.sizes), most)
    places = of_most.nonzero().squeeze(1)[: tokens * MANY]
    each = torch.full((tokens,), MANY)
    return sample._replace(
        tokens=torch.arange(tokens, dtype=torch.int32), occurrences=each, sizes=each,
        positions=sample.positions[places], rows=sample.rows[places],
    )  # fmt: skip


def _sets(sample: Reservoir, k: int) -> list[tuple[int, torch.Tensor]]:
    """The states of every token that has more of them than senses: token, (n, d) float32."""
    places = torch.arange(len(sample.positions)).split(sample.sizes.tolist())
    return [(t, sample.take(p).float()) for t, p in zip(sample.tokens.tolist(), places) if len(p) > k]


def _inertia(rows: torch.Tensor, centroids: torch.Tensor) -> float:
    return float(squared_distances(rows[None], centroids[None])[0].min(dim=1).values.sum())
