"""The one error that a user can mend, and what is said of others."""

import errno


class UserError(Exception):
    """Something the user can mend: one line that names the thing and the way out."""


def one_line(error: BaseException) -> str:
    """The kind of an error and its message, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def is_disk_full(error: BaseException) -> bool:
    """Whether `error` says that no space is left (safetensors and Arrow wrap the system's error)."""
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error)
