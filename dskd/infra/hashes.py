"""What files, folders and texts are known by: hashes, sizes, letters."""

import hashlib
import os
import re
import shutil
import unicodedata
from pathlib import Path

import dskd
from dskd.errors import UserError

SUMS = "SHA256SUMS"  # in a folder of artifacts; `sha256sum --check SHA256SUMS` understands it too
_NO_LETTERS = re.compile(r"[\W_]+")


def letters(text: str) -> str:
    """The letters and digits of a text, in lower case; other forms of a letter (NFKC) are the same."""
    return _NO_LETTERS.sub("", unicodedata.normalize("NFKC", text).lower())


def remove(path: str | Path) -> None:
    """Delete a file, link or folder; nothing happens where there is none."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(path: str | Path) -> tuple[int, ...] | None:
    """What tells a file from another that takes its name, without reading it; None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def sha256_tree(path: str | Path) -> str:
    """Hex SHA-256 of a file, or of the `checksum_lines` of a folder. FileNotFoundError where there is neither: a hash
    of nothing would fit another nothing."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing, and has no hash")
    return sha256_file(path) if path.is_file() else hashlib.sha256(os.fsencode(checksum_lines(path))).hexdigest()


def checksum_lines(folder: Path) -> str:
    """`<SHA-256>  <relative path>`, a line for each file below `folder`, in path order, as `sha256sum` writes it.

    The folder's own `SHA256SUMS` is no file of it where it says just this. Any other file of this name is one.

    Raises:
        UserError: something there is neither a file nor a folder: a pipe, or a link to a folder or to nothing.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in files_below(folder))
    lines = {name: _line(sha256_file(folder / name), name) for name in names}
    text = "".join(line for name, line in lines.items() if name != SUMS)
    if SUMS in lines and (folder / SUMS).read_bytes() != os.fsencode(text):
        return "".join(lines.values())
    return text


def read_checksums(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256, as the folder's file `SHA256SUMS` says; ValueError where it is no such file."""
    found = {}
    *lines, end = os.fsdecode((folder / SUMS).read_bytes()).split("\n")
    if end:
        raise ValueError("it has no end")
    for line in lines:
        escaped, digest, name = re.fullmatch(r"(\\?)([0-9a-f]{64})  (.+)", line).groups()
        found[re.sub(r"\\([nr\\])", lambda m: _UNESCAPED[m[1]], name) if escaped else name] = digest
    return found


# As `sha256sum` does it, so that no name can look like another line.
_ESCAPED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_UNESCAPED = {escaped[1]: character for character, escaped in _ESCAPED.items()}


def _line(digest: str, name: str) -> str:
    escaped = "".join(_ESCAPED.get(character, character) for character in name)
    return f"{digest}  {name}\n" if escaped == name else f"\\{digest}  {escaped}\n"


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder; UserError where there is something that is neither a file nor a folder."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            found.append(path)
        elif path.is_symlink() or not path.is_dir():
            what = "a link to a folder" if path.is_dir() else "a link to nothing" if path.is_symlink() else "no file"
            raise UserError(f"{ascii(str(path))[1:-1]} is {what}: put a file or a folder in its place")
    return found


def size_mb(path: str | Path) -> float:
    """Megabytes of a file, or of all files below a folder."""
    path = Path(path)
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def check_code(root: Path) -> None:
    """Raise UserError where the project has other code than this, as where two clones share an environment and only one
    is installed in it: `dvc.lock` would tell of code that did not run."""
    here, own = Path(dskd.__file__).parent, root / "dskd"
    if not (own / "__init__.py").is_file() or own.samefile(here):
        return
    names = {path.relative_to(folder) for folder in (here, own) for path in folder.rglob("*.py")}
    for name in sorted(names):
        files = here / name, own / name
        if not all(file.is_file() for file in files) or len({file.read_bytes() for file in files}) > 1:
            raise UserError(
                f"this is the code of {here}, and {own} has other code ({name}): run `python -m dskd` in {root}, or "
                f"first `pip install -e {root}`"
            )


def fingerprint(*parts: object) -> str:
    """One hash of this package's code and of all else that an output depends on: paths stand for their content, the
    rest for its text."""
    code = sorted(Path(dskd.__file__).parent.rglob("*.py"))
    texts = [sha256_tree(part) if isinstance(part, Path) else repr(part) for part in (*code, *parts)]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
