"""Hashes and sizes of files and folders."""

import hashlib
import shutil
from pathlib import Path

import dskd

SUMS = "SHA256SUMS"  # in a folder of artifacts; `sha256sum --check SHA256SUMS` understands it too


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


def sha256_tree(path: str | Path) -> str:
    """Hex SHA-256 of a file, or of what `SHA256SUMS` says or would say of a folder's files."""
    path = Path(path)
    return sha256_file(path) if path.is_file() else hashlib.sha256(_sums(path).encode()).hexdigest()


def _sums(folder: Path) -> str:
    """`<SHA-256>  <relative path>`, a line for each file below `folder`, in path order."""
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p != folder / SUMS)
    return "".join(f"{sha256_file(folder / name)}  {name}\n" for name in sorted(names))


def size_mb(path: str | Path) -> float:
    """Megabytes of a file, or of all files below a folder."""
    path = Path(path)
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def fingerprint(*parts: object) -> str:
    """One hash of this package's code and of all else that an output depends on: paths stand for their content, the
    rest for its text."""
    code = sorted(Path(dskd.__file__).parent.rglob("*.py"))
    texts = [sha256_tree(part) if isinstance(part, Path) else repr(part) for part in (*code, *parts)]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
