"""A student that is not cut from the teacher but from another model with the teacher's vocabulary (`student.source`).

For `decoder` that model stands in the teacher's place: a student is cut from it, written and loaded as from a teacher.
What differs: its frozen layers are not the teacher's, so that they run on the tokens at every step; its logits come
from its own head; and its states lie in a space of their own, from which a linear map leads to the teacher's where a
loss compares the two. The map trains with the layers and is thrown away after: inference needs nothing of it.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dskd import decoder
from dskd.architecture import logit_map, part, run_part
from dskd.artifacts import SOURCES, UserError, require
from dskd.losses import LogitMap
from dskd.params import Params, Student
from dskd.states import States, take_blocks

ORIGIN = f"{SOURCES}/student"  # there, where `student.source` names a model
_BLOCKS, _BATCH = 64, 4  # that the map is fitted on, and of these in memory at one time


class OwnStudent(NamedTuple):
    """What such a student has where others have the teacher's; all but the projection is frozen."""

    lower: PreTrainedModel  # ids -> states that enter the first trained layer
    head: Tensor  # (V, d_student)
    logit_map: LogitMap | None
    ids: Tensor  # (n, L) the tokens of the blocks that are trained or scored on
    projection: nn.Linear | None = None  # its last states -> the teacher's, float32; where a loss asks for it


def own_student(origin: PreTrainedModel, student: Student, ids: Tensor) -> OwnStudent:
    """What the student has of `origin`, for blocks with these `ids` (n, L); without a projection."""
    head = origin.get_output_embeddings().weight
    return OwnStudent(decoder.trunk(origin, student), head, logit_map(origin), ids)


def load_origin(
    params: Params, teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path = ORIGIN
) -> PreTrainedModel:
    """The model that the student is cut from, on the teacher's device: the teacher itself, if no other is named.

    Raises:
        UserError: its vocabulary is not the teacher's, or no such student can be cut from it.
    """
    if params.student.source is None:
        return teacher
    origin, own = decoder.load_decoder(require(folder, "sources"), params.runtime.dtype)
    names = f"sources.teacher ({params.sources.teacher.source})", f"student.source ({params.student.source.source})"
    check_vocabularies(names, (tokenizer, own), (teacher.config.vocab_size, origin.config.vocab_size))
    wanted, layers = params.student.layers, origin.config.num_hidden_layers
    if wanted > layers:
        raise UserError(f"student.layers = {wanted}, but {names[1]} has {layers}: take at most {layers}")
    decoder.check_cut(params.student, origin)
    return origin.to(teacher.device)


def check_vocabularies(
    names: tuple[str, str], tokenizers: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase], sizes: tuple[int, int]
) -> None:
    """Raise UserError unless both models mean the same tokens by the same ids, and have as many logits (`sizes`)."""
    one, other = (tokenizer.get_vocab() for tokenizer in tokenizers)
    both, way_out = " and ".join(names), "name a student.source with the teacher's tokenizer"
    if one != other:
        first, _ = min(one.items() ^ other.items(), key=lambda item: (item[1], item[0]))
        ids = " and ".join(f"the id {found[first]}" if first in found else "no id" for found in (one, other))
        raise UserError(
            f"{both} have different vocabularies, of {len(one)} and {len(other)} tokens: {first!r} has {ids}; {way_out}"
        )
    if sizes[0] != sizes[1]:
        raise UserError(f"{both} have the same tokens, but {sizes[0]} and {sizes[1]} logits; {way_out} and as many")


def teacher_split(student: Student, teacher_layers: int) -> Student:
    """The cut by which the teacher is split for its states.

    A student of another model has no use for the states at the split. They are taken where a student of so many layers
    would have them all the same, so that the states on disk serve both kinds.
    """
    if student.source is None:
        return student
    layers = min(student.layers, teacher_layers)
    trained = min(student.trained, layers)
    return student.model_copy(update={"cut": "first", "layers": layers, "trained": trained})


@torch.no_grad()
def fitted_projection(origin: PreTrainedModel, student: Student, ids: Tensor, states: States) -> nn.Linear:
    """The affine map that takes the untrained student's last states nearest to the teacher's: least squares over up to
    64 blocks spread evenly over the text, with a slight ridge, in float64; so it is no matter of chance.

    Args:
        ids: (n, L) tokens of the blocks that `states` are the teacher's of.
    """
    whole = part(origin, decoder.student_layers(student, origin.config.num_hidden_layers), norm=True)
    gram = cross = 0
    for blocks in torch.arange(len(ids))[:: -(-len(ids) // _BLOCKS)].split(_BATCH):
        found = F.pad(run_part(whole, ids=ids[blocks]).flatten(0, 1).double(), (0, 1), value=1.0)
        wanted = take_blocks(states.hidden_states, blocks).flatten(0, 1).to(found)
        gram, cross = gram + found.T @ found, cross + found.T @ wanted
    gram.diagonal().add_(1e-6 * gram.diagonal().mean())
    solution = torch.linalg.solve(gram, cross).T
    projection = skip_init(nn.Linear, solution.shape[1] - 1, solution.shape[0], device=solution.device)
    projection.weight.copy_(solution[:, :-1])
    projection.bias.copy_(solution[:, -1])
    return projection
