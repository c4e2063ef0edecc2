"""What the tables of a code are made of: the teacher's states of the training text, as they compare after the head."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dskd.codes.divergence import head_metric
from dskd.codes.reading import guess, with_one
from dskd.infra.randomness import hash_integers
from dskd.model.logits import Head
from dskd.params import SensesParams
from dskd.senses.cluster import build_senses
from dskd.senses.store import Senses
from dskd.states.reservoir import Chunk, gathered, smallest
from dskd.states.store import States, take_positions

SAMPLE = 65536  # training states of a codebook


class Material(NamedTuple):
    """What tables are made of. `x` is a state in the metric of the head (`divergence.head_metric`)."""

    states: States  # of the training text
    keys: Tensor  # (n,) the token that the teacher predicts at each of its positions
    metric: Tensor  # (d, d) float32
    settings: SensesParams

    @property
    def sample(self) -> Tensor:
        """(s,) int64, the positions that codebooks are made of."""
        generator = torch.Generator().manual_seed(self.settings.seed + 1)
        return torch.randperm(len(self.keys), generator=generator)[:SAMPLE]

    def x(self, positions: Tensor) -> Tensor:
        """(p, d) float32 at these positions."""
        return take_positions(self.states.hidden_states, positions).float() @ self.metric

    def below(self, positions: Tensor) -> Tensor:
        """(p, d) the states there that enter the student's first trained layer."""
        return take_positions(self.states.split_states, positions)


def material_of(states: States, head: Head, settings: SensesParams) -> Material:
    """The material that these states of a text are.

    Args:
        head: widened (`model.logits.widened`).
    """
    return Material(states, torch.cat([shard.flatten() for shard in states.predicted]), head_metric(head), settings)


def of_dictionary(of: Material) -> Tensor:
    """The positions that a dictionary is made of: as many of each predicted token as the reservoir may hold."""
    hashes = hash_integers(of.settings.seed, np.arange(len(of.keys)))
    kept, _ = smallest(of.keys.numpy(), hashes, of.settings.reservoir, int(of.keys.max()) + 1)
    return torch.from_numpy(kept).nonzero().squeeze(1)


def token_senses(of: Material, line: Tensor | None = None) -> Senses:
    """The senses of the predicted tokens, under the run's settings for senses; with `line` (d + 1, d), those of what
    this map of the state below leaves."""
    here, (seen, counts) = of_dictionary(of), of.keys.unique(return_counts=True)
    x = of.x(here)
    if line is not None:
        x -= guess(of.below(here), line)
    return build_senses(gathered([Chunk(of.keys[here].int(), here, x, seen.int(), counts)]), of.settings)


def context_line(of: Material) -> Tensor:
    """The linear map (d + 1, d) from the state that enters the first trained layer, and a one, to the last state: least
    squares over the sample, with a slight ridge."""
    below = with_one(of.below(of.sample)).double()
    gram = below.T @ below
    gram.diagonal().add_(1e-3 * gram.diagonal().mean())
    return torch.linalg.solve(gram, below.T @ of.x(of.sample).double()).float()


def rounded(senses: Senses) -> Senses:
    """The dictionary with its centroids as a code stores them, in bfloat16."""
    return senses._replace(centroids=stored(senses.centroids))


def stored(table: Tensor) -> Tensor:
    """The numbers of a table as they are read back, float32."""
    return table.bfloat16().float()
