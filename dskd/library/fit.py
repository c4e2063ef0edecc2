"""How well a sense dictionary fits text that it was not made of."""

from collections.abc import Iterable

import torch
from torch import Tensor

from dskd.errors import UserError
from dskd.senses.store import Senses


def fit_figures(senses: Senses, read: Iterable[tuple[Tensor, Tensor]], most: int) -> dict[str, float]:
    """The share of the variance of a model's states that senses explain, rounded to four digits.

    Args:
        read: states (n, d) and the token (n,) that follows each, part after part.
        most: states that are read.

    Returns:
        `heldout_states`; `variance`, with the nearest sense of each state's token; `variance_one_sense`, with the mean
        of the token's senses. A token without senses explains nothing.

    Raises:
        UserError: the states have another width than the senses, or all are alike.
    """
    whole, rest, single = [], [], []
    weights = senses.counts[:, None].double()
    mean = ((senses.centroids.double() * weights).sum(dim=0) / weights.sum()).float()
    for states, tokens in read:
        check_width(states, senses)
        for state, token in zip(states.float(), tokens.tolist()):
            here = senses.rows(token)
            vectors = senses.centroids[here.start : here.stop].float()
            whole.append((state - mean).square().sum())
            if not len(here):
                rest.append(whole[-1])
                single.append(whole[-1])
                continue
            of = weights[here.start : here.stop].float()
            rest.append((state - vectors).square().sum(dim=1).min())
            single.append((state - (vectors * of).sum(dim=0) / of.sum()).square().sum())
        if len(whole) >= most:
            break
    total, by_senses, by_one = (float(torch.stack(part[:most]).double().sum()) for part in (whole, rest, single))
    if not total > 0:
        raise UserError("the states do not differ from the mean of the senses, so there is no variance to explain")
    return {
        "heldout_states": min(most, len(whole)),
        "variance": round(1 - by_senses / total, 4),
        "variance_one_sense": round(1 - by_one / total, 4),
    }


def check_width(states: Tensor, senses: Senses) -> None:
    """Raise UserError where states (..., d) have another width than the senses."""
    width, own = senses.centroids.shape[1], states.shape[-1] if states.dim() else 0
    if own != width:
        raise UserError(f"the states have {own} dimensions, the senses {width}: take the teacher's")


def check_distances(distances: Tensor) -> None:
    """Raise UserError where a distance from a state to a sense is not finite: no sense would be the nearest."""
    if not distances.isfinite().all():
        raise UserError(
            "a state of the teacher is not finite, or too large for its square to be: load the teacher in bfloat16 or "
            "float32, and see that its inputs are whole"
        )
