"""What a student is trained and scored with: the teacher and its states, or codes in the place of both."""

from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dskd.codes.reading import CodedStates
from dskd.codes.store import ABOUT_FILE, CODES_FILE, CUT_FOLDER, HELDOUT_FILE, load_codes, load_heldout
from dskd.corpus.store import load_corpus
from dskd.errors import UserError
from dskd.infra import artifacts, processes
from dskd.infra.artifacts import reading, require
from dskd.infra.hashes import fingerprint, sha256_tree
from dskd.model.cut import split_depth, trunk
from dskd.model.load import load_decoder
from dskd.model.origin import teacher_split
from dskd.params import EXACT, Params
from dskd.pipeline.inputs import (
    cached_states,
    cached_text,
    check_inputs,
    kept_dtype,
    labels,
    load_teacher,
    teacher_hash,
    tokens,
)
from dskd.states.harvest import harvest_below
from dskd.states.store import States, Text, open_below


class Given(NamedTuple):
    """What a student is trained and scored with."""

    teacher: PreTrainedModel  # or, where codes are read and it is not there, the part of it that students are cut from
    tokenizer: PreTrainedTokenizerBase
    teacher_layers: int  # of the whole teacher
    train: Text
    heldout: Text  # with the teacher's own states, whatever the training text has
    hashes: dict[str, str]  # SHA-256 of teacher, corpus, and states or codes
    beside: tuple[Path, ...] = ()  # what else a student is made from: the states at the split, where codes are read


def read_given(params: Params) -> Given:
    """What students are trained and scored with, as `harvest.codec` says.

    Raises:
        UserError: something is missing, or the codes are of another codec, teacher, text or student.
    """
    if params.harvest.codec != EXACT:
        return _coded(params)
    teacher, tokenizer = load_teacher(params)
    depth = split_depth(teacher_split(params.student, teacher.config.num_hidden_layers))
    train, heldout = cached_text("train", depth), cached_text("heldout", depth)
    inputs = {"teacher": artifacts.TEACHER, "corpus": artifacts.CORPUS, "states": artifacts.STATES}
    hashes = {name: sha256_tree(path) for name, path in inputs.items()}
    return Given(teacher, tokenizer, teacher.config.num_hidden_layers, train, heldout, hashes)


def _coded(params: Params) -> Given:
    """From codes. Neither the teacher nor its states need be there; where they are, the result is the same."""
    about, folder = _read_about(params), Path(artifacts.CODES)
    if Path(artifacts.TEACHER).exists() or params.student.source is not None:
        teacher, tokenizer = load_teacher(params)
    else:
        teacher, tokenizer = _load_cut(params, about)
    below, place = _states_below(params, teacher, about)
    states = States(load_heldout(folder / HELDOUT_FILE), below["heldout"], [])
    heldout = Text(states, labels("heldout"), tokens("heldout"))
    train = read_codes(params, folder / CODES_FILE, below["train"])
    hashes = {"teacher": about["teacher"], "corpus": about["corpus"], "codes": sha256_tree(folder)}
    return Given(teacher, tokenizer, about["teacher_layers"], train, heldout, hashes, (place,))


def read_codes(params: Params, path: Path, below: list[Tensor]) -> Text:
    """The training text with the states that its codes stand for.

    Args:
        below: its states at the split, one tensor a shard.
    """
    book, codes = load_codes(path, labels("train").numel())
    states = States([CodedStates(book, codes, below, kept_dtype(params))], below, [])
    return Text(states, labels("train"), tokens("train"))


def _read_about(params: Params) -> dict:
    """What codes.json says; UserError where the codes are not those that the parameters and the artifacts want."""
    path = require(Path(artifacts.CODES) / ABOUT_FILE, "codes")
    about, again = artifacts.read_json(path), "run `dvc repro codes`, or get both of one run"
    with reading(path, "codes"):
        if about["codec"] != params.harvest.codec:
            found = f"{artifacts.CODES} has {about['codec']!r} and harvest.codec is {params.harvest.codec!r}"
            raise UserError(f"{found}: run `dvc repro codes`, or write the former into params.yaml")
        check_inputs(params, artifacts.CODES)
        if Path(artifacts.TEACHER).exists() and about["teacher"] != teacher_hash():
            raise UserError(f"{artifacts.CODES} was made with another teacher than {artifacts.TEACHER}: {again}")
        if about["corpus"] != sha256_tree(require(artifacts.CORPUS, "corpus")):
            raise UserError(f"{artifacts.CODES} was made of another text than {artifacts.CORPUS}: {again}")
        if about["student"] != params.student.which_layers() and params.harvest.codec.startswith("context"):
            raise _other_layers(params, about, Path(artifacts.CODES))  # they stand for states above these layers
        return {key: about[key] for key in ("teacher", "teacher_layers", "corpus", "student")}


def _load_cut(params: Params, about: dict) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The part of the teacher that students are cut from, on this process's device, and its tokenizer."""
    folder = Path(artifacts.CODES) / CUT_FOLDER
    if about["student"] != params.student.which_layers():
        raise _other_layers(params, about, folder)
    cut, tokenizer = load_decoder(require(folder, "codes"), params.runtime.dtype)
    return cut.to(processes.state().device), tokenizer


def _other_layers(params: Params, about: dict, folder: Path) -> UserError:
    both = about["student"], params.student.which_layers()
    has, wanted = (", ".join(f"{key}: {value}" for key, value in of.items()) for of in both)
    return UserError(
        f"{folder} has the layers of a student with {has}, and params.yaml has {wanted}: take these values, or get "
        f"{artifacts.TEACHER} and run `dvc repro codes`"
    )


def _states_below(params: Params, teacher: PreTrainedModel, about: dict) -> tuple[dict[str, list[Tensor]], Path]:
    """The states at the split of each text, and where they lie: those of the stage `harvest`, or, where these are not
    there, those that the frozen layers give again. These are kept, so that the next student finds them."""
    splits, settings = ("train", "heldout"), params.harvest
    cut = teacher_split(params.student, about["teacher_layers"])
    if (place := Path(artifacts.STATES)).exists():
        of_splits = {split: cached_states(split, split_depth(cut), about["teacher"]) for split in splits}
        return {split: states.split_states for split, states in of_splits.items()}, place
    blocks, _ = load_corpus(Path(artifacts.CORPUS))
    made_from = fingerprint(
        params.runtime,
        split_depth(cut),
        (settings.batch_size, settings.shard_blocks),
        about["teacher"],
        require(artifacts.CORPUS, "corpus"),
    )
    parts = {split: blocks[split] for split in splits}
    place = Path(artifacts.SPLIT_STATES)
    harvest_below(trunk(teacher, cut), parts, settings, place, made_from, kept_dtype(params))
    return {split: open_below(place, split) for split in splits}, place
