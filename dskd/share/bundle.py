"""What of a run can be shared, and the folder that goes to the hub: the files, a card, the licences, checksums."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.artifacts import reading, require
from dskd.infra.hashes import SUMS, checksum_lines, files_below
from dskd.model.tokenizer import save_tokenizer
from dskd.params import OBJECTIVE_NAME, Params, load_params
from dskd.pipeline.inputs import teacher_tokenizer
from dskd.share.cards import lexicon_card, run_dictionary_card
from dskd.sources.archives import is_inside
from dskd.students.model_card import LICENCE_FILE, read_card, with_licences_of

CARD = "README.md"
# Data and text. A chat template is a program, which transformers runs in a sandbox; tokenizer_config.json, which may
# hold the same, cannot be refused.
_SUFFIXES = {".safetensors", ".json", ".parquet", ".txt", ".md"}
_NAMES = {SUMS, "LICENSE", "chat_template.jinja"}
_TEMPLATES = "additional_chat_templates"  # where a tokenizer has several
OF_THE_HUB = ".gitattributes"  # the hub writes it, and nobody reads it here


class Shared(NamedTuple):
    """One thing that can be shared."""

    title: str
    repo_type: str  # "model" or "dataset", as the hub says it
    place: Path  # in the project
    stage: str  # that makes it
    heart: str  # the file without which it is nothing


def shared(name: str) -> Shared:
    """What a name of the command line stands for: "senses", "lexicon", or a student.

    Raises:
        UserError: the name cannot be that of a student's folder.
    """
    if name == "senses":
        return Shared("sense dictionary", "model", Path(artifacts.SENSES), "senses", "senses.safetensors")
    if name == "lexicon":
        return Shared("lexicon", "dataset", Path(artifacts.LEXICON), "lexicon", "lexicon.parquet")
    if not OBJECTIVE_NAME.fullmatch(name):
        raise UserError(f"{name!r} is neither senses, lexicon nor a student's name, as dskd-0")
    return Shared(f"student {name}", "model", Path(artifacts.STUDENTS) / name, "distill", "config.json")


def pack(name: str, folder: Path, repository: str) -> Shared:
    """Fill the empty folder with what goes to the hub: links to the artifact's files, and what they lack of card,
    licences and checksums. A card says how to load it from `repository`; licences are those that params.yaml has.

    Raises:
        UserError: the artifact is missing or damaged, has no card or licences, or a file that `pull` would refuse.
    """
    what = shared(name)
    place = require(what.place, what.stage)
    for file in [place] if place.is_file() else files_below(place):
        inside = Path(file.name) if file == place else file.relative_to(place)
        if not any(part.startswith(".") for part in inside.parts):  # as Jupyter's
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(file.absolute(), folder / inside)
    if name in ("senses", "lexicon") and not (folder / CARD).exists():  # one that was pulled has its own
        params = load_params()
        if name == "senses":
            card, licences = run_dictionary_card(params, repository)
            save_tokenizer(teacher_tokenizer(), folder)  # which says what its tokens are
        else:
            card, licences = lexicon_card(params, place, repository)
        (folder / CARD).write_text(card, encoding="utf-8")
        (folder / LICENCE_FILE).write_text(licences, encoding="utf-8")
        _write_sums(folder)
    if what.stage == "distill":
        _correct_licences(folder)
    for needed in (CARD, LICENCE_FILE, SUMS, what.heart):
        if not (folder / needed).is_file():
            raise UserError(f"{place} has no {needed}, without which it is not shared: run `dvc repro {what.stage}`")
    check_names((file.relative_to(folder).as_posix() for file in files_below(folder)), str(place))
    return what


def _correct_licences(folder: Path) -> None:
    """Put the licences that params.yaml has now into a student's card and licences: it was trained with those of then,
    and a correction is no reason to train it again. A source that had other content then keeps its own."""
    params, changed = load_params(), False
    if (card := folder / CARD).is_file():
        params = _with_its_own_licences(params, card.resolve())
    for file in (card, folder / LICENCE_FILE):
        if file.is_file():
            with reading(file.resolve(), "distill"):
                text = file.read_text(encoding="utf-8")
            if (corrected := with_licences_of(params, text)) != text:
                file.unlink()  # the link, not what it leads to
                file.write_text(corrected, encoding="utf-8")
                changed = True
    if changed:
        _write_sums(folder)


def _with_its_own_licences(params: Params, card: Path) -> Params:
    """The parameters in which a source has the licence that a student's card names, where it had other content for that
    student: with another run the same file:own/text may be another text."""
    values = params.model_dump()

    def keep(now: dict, then: dict) -> None:
        for key, had in then.items():
            if isinstance(had, dict) and isinstance(has := now.get(key), dict):
                if has.get("source") == had.get("source") and has.get("sha256") != had.get("sha256"):
                    has["licence"] = had["licence"]
                keep(has, had)

    with reading(card, "distill"):
        keep(values, read_card(card).parameters)
        return Params.model_validate(values)


def _write_sums(folder: Path) -> None:
    (folder / SUMS).unlink(missing_ok=True)
    (folder / SUMS).write_bytes(os.fsencode(checksum_lines(folder)))


def check_names(names: Iterable[str], where: str) -> None:
    """Raise UserError where one of the files is neither data nor text, but something that may be run, or where a name
    leads out of the folder."""
    for name in sorted(names):
        path = PurePosixPath(name)
        if not is_inside(name):
            raise UserError(f"{where} holds {ascii(name)[1:-1]}, which leads out of its folder: take another revision")
        is_template = path.parts[:-1] == (_TEMPLATES,) and path.suffix == ".jinja"
        if path.suffix not in _SUFFIXES and path.name not in _NAMES and not is_template:
            kinds = ", ".join(sorted(suffix[1:] for suffix in _SUFFIXES))
            raise UserError(f"{where} holds {ascii(name)[1:-1]}; only {kinds} are shared: take that file out")
