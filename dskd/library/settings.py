"""What a sense dictionary and its targets are made with, each with a value that works. The names and meanings are those
of params.yaml (docs/parameters.md)."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from dskd.errors import UserError
from dskd.params import SensesParams, TargetsParams

Kind = TypeVar("Kind", bound=BaseModel)


class DictionarySettings(NamedTuple):
    """How a text becomes a sense dictionary: `senses` and `harvest` of params.yaml, with the defaults of its run."""

    key: str = "observed"  # the token that a state belongs to: "observed" next in the text, or "predicted" there
    k: int = 10  # most senses of a token
    min_states: int = 2  # fewest states that a sense stands for; 1 keeps single states, as the paper does
    reservoir: int = 160  # most states of a token that are kept and clustered
    iterations: int = 30  # of k-means, at most
    contexts: int = 3  # places in the text that are kept for each sense
    seed: int = 0  # of the sample and of k-means++
    length: int = 256  # tokens of a block, and so the longest context (L)

    def params(self) -> SensesParams:
        """The same for the pipeline's functions; UserError names a value that is wrong."""
        values = {name: value for name, value in self._asdict().items() if name != "length"}
        return checked(SensesParams, {"text": "own", "tokens": 1, "gloss_share": 0.0, **values})


class TargetSettings(NamedTuple):
    """Which positions and senses a sense loss takes: `targets` of params.yaml, with the defaults of its run."""

    neighbours: int = 5  # of the nearest senses pull a position, and as many push it (kappa)
    max_synonyms: int = 25  # of a token, those that most senses support
    max_antonyms: int = 25
    related_share: float = 0.4  # of a row's positions with a relation are supervised, and as many others beside them
    related_min: int = 25  # but at least so many with a relation, if the row has them
    seed: int = 0  # of that choice

    def params(self) -> TargetsParams:
        """The same for the pipeline's functions; UserError names a value that is wrong."""
        return checked(TargetsParams, self._asdict())


def checked(kind: type[Kind], values: dict) -> Kind:
    """The parameters of this kind; UserError, one line, names what is wrong."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise UserError("; ".join(map(_said, error.errors()))) from None


def _said(fault: Mapping[str, Any]) -> str:
    """What pydantic says of one value, or of several together, which have no place."""
    value = f"{fault['loc'][0]} = {fault['input']!r}: " if fault["loc"] else ""
    return value + fault["msg"].removeprefix("Value error, ")
