"""A program: fetch one archive from the package index that pip is configured for, and leave it as it came.

`pip download` runs the build code of a source archive, to learn what it is called. This takes pip's own way to an index
(configuration, environment, find-links, credentials, proxies, certificates) up to the file, and no step further.

    python pip_file.py NAME==VERSION [options of `pip download`]
"""

import os
import sys

try:
    from pip._internal.cli.cmdoptions import make_target_python
    from pip._internal.commands.download import DownloadCommand
    from pip._internal.exceptions import DistributionNotFound, NetworkConnectionError
    from pip._internal.network.utils import HEADERS, raise_for_status, response_chunks
    from pip._vendor.packaging.specifiers import SpecifierSet
except ImportError as error:
    sys.exit(f"ERROR: this pip is not known here, take one from 22 to 26: {error}")
from tqdm import tqdm

LARGEST = 4 << 30  # bytes


class FileCommand(DownloadCommand):
    """`pip download` with its options, which ends where the file is there."""

    def run(self, options, args):
        """Write the archive into the folder `--dest`, under its own name."""
        (requirement,) = args
        name, _, version = requirement.partition("==")
        session = self.get_default_session(options)
        target_python = make_target_python(options)
        finder = self._build_package_finder(options, session, target_python, ignore_requires_python=True)
        found = finder.find_best_candidate(name, SpecifierSet(f"=={version}")).best_candidate
        if found is None:
            others = sorted({candidate.version for candidate in finder.find_all_candidates(name)})
            known = f"the newest is {others[-1]}" if others else "there is none of this kind"
            raise DistributionNotFound(f"No matching distribution found for {requirement} ({known})")
        response = session.get(found.link.url_without_fragment, headers=HEADERS, stream=True)
        raise_for_status(response)
        self.write(response, os.path.join(options.download_dir, os.path.basename(found.link.filename)))
        return 0

    def write(self, response, path):
        """The body of an answer; less than was promised is an error."""
        size, total = 0, int(response.headers.get("Content-Length") or 0)
        bar = tqdm(
            desc=os.path.basename(path), total=total or None, unit="B", unit_scale=True, delay=1, file=sys.stdout
        )
        with open(path, "wb") as file, bar:
            for chunk in response_chunks(response):
                size += file.write(chunk)
                if max(size, total) > LARGEST:
                    raise NetworkConnectionError(f"the file is larger than {LARGEST >> 30} GiB")
                bar.update(len(chunk))
        if size < total:
            raise NetworkConnectionError(f"connection broken after {size} of {total} bytes")


if __name__ == "__main__":
    sys.exit(FileCommand("download", "Fetch one archive.").main(sys.argv[1:]))
