"""What goes wrong between here and the Hugging Face hub, as one line without secrets; and a copy of a repository."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dskd.errors import UserError, is_disk_full, one_line

_NAME = re.compile(r"hf:([\w-][\w.-]*/[\w-][\w.-]*)(?:@(.+))?", re.ASCII)


def fetched(place: str, patterns: Iterable[str]) -> Path:
    """The folder with a copy of a repository, "hf:owner/name" or "hf:owner/name@revision", in the hub's own cache.

    Args:
        patterns: of the files' names; no other file is fetched.

    Raises:
        UserError: the name is none, or the hub refuses or cannot be reached.
    """
    if not (found := _NAME.fullmatch(place)):
        raise UserError(f"{place} names no repository: write hf:owner/name or hf:owner/name@revision")
    from huggingface_hub import snapshot_download

    with asking(place, "read"):
        return Path(snapshot_download(found[1], revision=found[2], allow_patterns=list(patterns)))


@contextmanager
def asking(repository: str, done: str) -> Iterator[None]:
    """What goes wrong in the block becomes a UserError of one line, without token, password or signed address. A full
    disk stays what it is.

    Args:
        done: "read" or "written": what could not be done.
    """
    from huggingface_hub import constants, get_token

    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the hub raises its own, the HTTP library's and the system's errors
        if is_disk_full(error):
            raise
        why = f"check that it answers and that your HF_TOKEN may {'write' if done == 'written' else 'read'} there"
        if constants.HF_HUB_OFFLINE:
            why = "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"
        cause = re.sub(r"(https?://[^\s?]+)\?\S*", r"\1", one_line(error.__cause__ or error))  # a signature follows ?
        if token := get_token():
            cause = cause.replace(token, "...")
        raise UserError(
            f"{repository} could not be {done} at {constants.ENDPOINT} ({why}, and run again); {cause}"
        ) from None
