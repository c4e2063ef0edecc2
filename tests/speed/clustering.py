"""The senses of the whole training text beside a scikit-learn loop over the same sets of states.

Needs the artifacts of `harvest`.
"""

import torch
from sklearn.cluster import KMeans
from speed.measure import line, seconds

from dskd.infra.arithmetic import squared_distances
from dskd.pipeline import stages
from dskd.pipeline.inputs import cached_states
from dskd.pipeline.inputs import labels as labels_of
from dskd.senses.cluster import build_senses, reservoir
from dskd.states.store import take_positions


def bench_senses() -> list[dict]:
    params = stages.begin()
    states, labels, settings = cached_states("train"), labels_of("train"), params.senses
    sets = _sets(states, settings)
    found = {}

    def ours() -> None:
        found["senses"] = build_senses(states, labels, settings)

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


def _sets(states, settings) -> list[tuple[int, torch.Tensor]]:
    """The states of every token that has more of them than senses: token, (n, d) float32."""
    tokens, _, positions, sizes = reservoir(states.predicted, settings.seed, settings.reservoir)
    by_token = zip(tokens.tolist(), positions.split(sizes.tolist()))
    return [(t, take_positions(states.hidden_states, p).float()) for t, p in by_token if len(p) > settings.k]


def _inertia(rows: torch.Tensor, centroids: torch.Tensor) -> float:
    return float(squared_distances(rows[None], centroids[None])[0].min(dim=1).values.sum())
