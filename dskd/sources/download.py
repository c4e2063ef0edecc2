"""One file from the network to disk, or one line that says why not."""

from base64 import b64encode
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from tqdm import tqdm

from dskd.errors import is_disk_full, one_line, without_passwords

TIMEOUT = 10  # seconds without an answer


class DownloadError(Exception):
    """What its URL did that a file cannot be had, in one line; `answered`: whether the host gave an answer at all."""

    def __init__(self, why: str, answered: bool = True):
        super().__init__(without_passwords(why))
        self.answered = answered


def download(url: str, target: Path, largest: int) -> None:
    """Write what a URL holds to `target`, as it comes; a bar on stderr shows what takes longer than a second.

    The environment's proxies are used. A redirect that leads from a safe address to one that is not is refused. A user
    and password in the URL go to its own host alone, and into no message.

    Args:
        largest: bytes; a longer file is refused.

    Raises:
        DownloadError: no answer, one with another status than success, a file that is too long or cut off. What came
            of it is left at `target`.
    """
    with open(target, "wb") as file:
        try:
            request = Request(without_passwords(url), headers={"User-Agent": "dskd"})
            if (parts := urlsplit(url)).username is not None:
                secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
                request.add_unredirected_header("Authorization", f"Basic {b64encode(secret).decode()}")
            with build_opener(_SafeRedirects).open(request, timeout=TIMEOUT) as answer:
                total, size, name = answer.length, 0, Path(urlsplit(url).path).name
                # Quick ones need no bar: a benchmark has several small files.
                with tqdm(total=total, desc=name, unit="B", unit_scale=True, disable=total is None, delay=1) as bar:
                    while piece := answer.read(1 << 16):
                        size += file.write(piece)
                        if max(size, total or 0) > largest:
                            raise DownloadError(f"is larger than {largest >> 20} MiB")
                        bar.update(len(piece))
            if size < (total or 0):
                raise DownloadError(f"broke off after {size} of {total} bytes")
        except HTTPError as error:
            error.close()
            raise DownloadError(f"answered {error.code} {' '.join(error.reason.split())}") from None
        except (OSError, HTTPException, ValueError) as error:  # ValueError: the URL is none
            if is_disk_full(error):
                raise
            raise DownloadError(f"could not be reached ({one_line(error)})", answered=False) from None


def is_safe(url: str) -> bool:
    """Whether nobody can read or change on its way what comes from a URL: https, or a server on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost"))


class _SafeRedirects(HTTPRedirectHandler):
    def redirect_request(self, request, answer, code, message, headers, url):
        if is_safe(request.full_url) and not is_safe(url):
            shown = url.partition("?")[0]  # what follows may be a key
            raise HTTPError(url, code, f"and leads to {shown}, which is no https", headers, answer)
        return super().redirect_request(request, answer, code, message, headers, url)
