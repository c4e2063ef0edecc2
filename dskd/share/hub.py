"""Push and pull by the hub's own client, which knows HF_ENDPOINT, HF_TOKEN and the login of `hf auth login`."""

import re
import sys
import tempfile
import warnings
from glob import escape
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import RepositoryNotFoundError

from dskd.errors import UserError, without_passwords
from dskd.infra.artifacts import reading
from dskd.infra.hashes import SUMS, files_below, read_checksums, remove, sha256_file, size_mb
from dskd.infra.output import output
from dskd.library.hub import asking
from dskd.share.bundle import CARD, OF_THE_HUB, check_names, pack, shared
from dskd.sources.readers import work_folder
from dskd.students.model_card import LICENCE_FILE


def push(name: str, repository: str, public: bool = False, dry: bool = False) -> None:
    """Upload a student, the dictionary or the lexicon, after it was said what that is and how large.

    Args:
        name: as `shared` takes it.
        repository: OWNER/NAME; it is made where there is none.
        public: whether all may see the repository; it must be as it is said to be.
        dry: say what would be uploaded, and send and ask nothing.

    Raises:
        UserError: there is nothing whole to share, the repository is public where that was not asked for (or not
            public where it was), it has other files, or the hub refuses or cannot be reached.
    """
    _check(repository)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        what = pack(name, folder, repository)
        files = sorted(files_below(folder))
        seen = "public" if public else "private"
        print(f"{what.title}, to the {seen} {what.repo_type} {repository} at {without_passwords(constants.ENDPOINT)}:")
        for file in files:
            print(f"{size_mb(file) * 1000:12,.1f} kB  {file.relative_to(folder).as_posix()}")
        print(f"{sum(map(size_mb, files)) * 1000:12,.1f} kB  in {len(files)} files; its licences are in {LICENCE_FILE}")
        if dry:
            print("nothing was sent")
            return
        sys.stdout.flush()  # before the bars on stderr
        api = HfApi()
        with asking(repository, "written"):
            _prepare(api, repository, what.repo_type, public, {file.relative_to(folder).as_posix() for file in files})
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")  # the contexts
                done = api.upload_folder(
                    folder_path=folder, repo_id=repository, repo_type=what.repo_type, commit_message=what.title
                )
    print(f"sent as revision {done.oid}")


def pull(name: str, repository: str) -> Path:
    """Download what `push` uploaded to its place in the project, which must be free, and return that place. It appears
    whole, or not at all.

    Args:
        name: as `shared` takes it; a student gets this name, whatever it had.
        repository: OWNER/NAME or OWNER/NAME@REVISION.

    Raises:
        UserError: something is there already, the repository holds no such thing, or something else than data and
            text, a file differs from its checksum or has none, or the hub cannot be reached.
    """
    repository, at, revision = repository.partition("@")
    _check(repository)
    if at and not revision:  # as of a variable of the shell that is empty
        raise UserError(f"{repository}@ names no revision: write one after the @, or {repository} for the newest")
    what = shared(name)
    if what.place.exists():
        raise UserError(f"{what.place} is there already: move it away, and run again")
    with asking(repository, "read"):
        info = HfApi().repo_info(repository, repo_type=what.repo_type, revision=revision or None)
    names = {file.rfilename for file in info.siblings} - {OF_THE_HUB}
    check_names(names, repository)
    if lacking := [needed for needed in (what.heart, CARD, LICENCE_FILE, SUMS) if needed not in names]:
        raise UserError(f"{repository} has no {lacking[0]}: it is no {what.title} that `python -m dskd push` sent")
    with output(what.place) as partial, work_folder(partial) as work:
        got = work / "got"
        with asking(repository, "read"):  # the names that were looked at, whatever the hub says now
            looked_at = [escape(name) for name in sorted(names)]
            snapshot_download(
                repository, repo_type=what.repo_type, revision=info.sha, local_dir=got, allow_patterns=looked_at
            )
        remove(got / ".cache")
        _verify(got, repository)
        (got / what.heart if name == "lexicon" else got).rename(partial)
    return what.place


def _check(repository: str) -> None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII):
        raise UserError(f"{repository!r} is no repository: write OWNER/NAME")


def _prepare(api: HfApi, repository: str, kind: str, public: bool, sent: set[str]) -> None:
    """Make the repository, or make sure that what is there is what was meant."""
    try:
        info = api.repo_info(repository, repo_type=kind)
    except RepositoryNotFoundError:
        api.create_repo(repository, repo_type=kind, private=not public)
        return
    if bool(info.private) == public:
        seen, asked = ("private", "with --public") if public else ("public", "without --public")
        raise UserError(f"{repository} is {seen}, and push was called {asked}: change one of the two")
    others = {file.rfilename for file in info.siblings or ()} - sent - {OF_THE_HUB}
    if others:
        name = ascii(min(others))[1:-1]
        raise UserError(
            f"{repository} has {name}, which is no part of this: take another repository, or delete it there"
        )


def _verify(folder: Path, repository: str) -> None:
    """Raise UserError unless the folder has just the files that its checksums name, as they say."""
    with reading(f"{repository}: {SUMS}"):
        sums = read_checksums(folder)
    found = {file.relative_to(folder).as_posix(): file for file in files_below(folder)}
    for name in sorted(sums.keys() | found.keys() - {SUMS}):
        shown = ascii(name)[1:-1]
        if name not in sums:
            raise UserError(f"{repository}: {shown} has no line in {SUMS}: nobody says that it belongs there")
        if name not in found or sha256_file(found[name]) != sums[name]:
            raise UserError(
                f"{repository}: {shown} is not what its line in {SUMS} says: have it pushed again, or take another "
                "revision"
            )
