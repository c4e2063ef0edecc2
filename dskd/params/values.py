"""What the values of parameters may be, how they are read, and what a message says of one that is wrong."""

from pathlib import Path
from reprlib import Repr
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from dskd.errors import UserError, one_line

# What a YAML parser raises: its own errors, Python's for a bad date or number, and RecursionError for deep nesting.
UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, RuntimeError, YAMLError)
short = Repr()  # shortens a value in a message: with YAML aliases a file of a few lines can hold an endless one
short.maxstring = short.maxother = 200
short.maxlevel = 2
short.repr_int = lambda value, _: repr(value) if abs(value) < 10**100 else "a number of hundreds of digits"


def at_most(most: int) -> AfterValidator:
    """A bound that stops slips of the hand here, and not hours later where memory or 64 bits end."""

    def check(value: int) -> int:
        if value > most:
            raise ValueError(f"{short.repr(value)} is more than {most}")
        return value

    return AfterValidator(check)


Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1), at_most(2**31 - 1)]
CountOrNone = Annotated[int, Field(ge=0), at_most(2**31 - 1)]
Tokens = Annotated[int, Field(ge=1), at_most(10**12)]
Workers = Annotated[int, Field(ge=1), at_most(4096)]
LARGEST_SEED = 2**32 - 1
Seed = Annotated[int, Field(ge=0), at_most(LARGEST_SEED)]


class Group(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def read_yaml(yaml: YAML, path: str | Path):
    """What a YAML file holds; UserError if it cannot be read."""
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"))
    except (*UNREADABLE, OSError) as error:
        raise UserError(f"{path} cannot be read: {one_line(error)[:300]}") from None


def fault_of(fault: dict) -> str:
    """What pydantic found wrong with one value, in a few words that name it."""
    parts = (str(part) for part in fault["loc"])
    key = ".".join(part if part.isprintable() and len(part) < 200 else short.repr(part) for part in parts) or "file"
    if fault["type"] == "extra_forbidden":
        return f"{key} is not a parameter (a typing error?)"
    if fault["type"] == "missing":
        return f"{key} is missing"
    if fault["type"] == "value_error":
        return f"{key}: {fault['ctx']['error']}"
    return f"{key} = {short.repr(fault['input'])}: {fault['msg'][0].lower()}{fault['msg'][1:]}"
