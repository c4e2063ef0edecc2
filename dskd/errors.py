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
