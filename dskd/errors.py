"""The one error that a user can mend, and what is said of others."""

import errno
import re

LONGEST = 1000  # characters of another library's message; some quote all of what they could not read


class UserError(Exception):
    """Something the user can mend: one line that names the thing and the way out. It names no password."""

    def __init__(self, message: str):
        super().__init__(without_passwords(message))


def one_line(error: BaseException) -> str:
    """The kind of an error and its message, in one line; of a long one the beginning and the end."""
    line = without_passwords(" ".join(f"{type(error).__name__}: {error}".split()))
    half = LONGEST // 2
    return line if len(line) <= LONGEST else f"{line[:half]} ... {line[-half:]}"


def without_passwords(text: str) -> str:
    """The text without user and password in the addresses that it holds (https://user:password@host/)."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)


def is_disk_full(error: BaseException) -> bool:
    """Whether `error` says that no space is left (safetensors and Arrow wrap the system's error)."""
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error)


def no_memory(kind: str, message: str) -> str | None:
    """The one line on an error of this kind and message where it says that no memory could be had; None where it does
    not. torch says so by errors of its own."""
    named = kind in ("MemoryError", "OutOfMemoryError")
    if not (named or (kind == "RuntimeError" and re.search(r"can't allocate memory|out of memory", message))):
        return None
    size = re.search(r"tried to allocate ([\d.]+ (?:bytes|[KMGT]iB))", message, re.IGNORECASE)
    said = size[1] if size else message.partition("\n")[0] or "no more could be had"
    return f"out of memory ({said}): free some, or take smaller numbers"
