"""What a student is cut from: the teacher, or another model with the teacher's vocabulary (`student.source`).

Such a model stands in the teacher's place: a student is cut from it, written and loaded as from a teacher. Three things
differ. Its frozen layers are not the teacher's, so they run at every step. Its logits come from a head of its own. And
its states lie in a space of their own, so a linear map leads to the teacher's where a loss compares the two; the map
trains with the layers and is thrown away afterwards.
"""

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dskd.errors import UserError
from dskd.infra.artifacts import SOURCES, require
from dskd.infra.made_of import check_parameters
from dskd.model.cut import check_cut
from dskd.model.load import load_decoder
from dskd.params import Params, StudentParams

ORIGIN = f"{SOURCES}/student"  # there, where `student.source` names a model


def load_origin(
    params: Params, teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path = ORIGIN
) -> PreTrainedModel:
    """The model that the student is cut from, on the teacher's device: the teacher itself, if no other is named.

    Raises:
        UserError: it is of another source, its vocabulary is not the teacher's, or no such student can be cut from it.
    """
    if params.student.source is None:
        return teacher
    check_parameters(folder, "sources", params)
    origin, own = load_decoder(require(folder, "sources"), params.runtime.dtype)
    names = f"sources.teacher ({params.sources.teacher.source})", f"student.source ({params.student.source.source})"
    check_vocabularies(names, (tokenizer, own), (teacher.config.vocab_size, origin.config.vocab_size))
    wanted, layers = params.student.layers, origin.config.num_hidden_layers
    if wanted > layers:
        raise UserError(f"student.layers = {wanted}, but {names[1]} has {layers}: take at most {layers}")
    check_cut(params.student, origin)
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


def teacher_split(student: StudentParams, teacher_layers: int) -> StudentParams:
    """The cut by which the teacher is split for its states.

    A student of another model has no use for the states at the split. They are taken where a student of so many layers
    would have them all the same, so that the states on disk serve both kinds.
    """
    if student.source is None:
        return student
    layers = min(student.layers, teacher_layers)
    trained = min(student.trained, layers)
    return student.model_copy(update={"cut": "first", "layers": layers, "trained": trained})
