"""Codes of the training text, the stage `codes`."""

from pathlib import Path

from dskd.codes.codec import book_of, encode_text, make_code
from dskd.codes.material import material_of
from dskd.codes.store import ABOUT_FILE, CODES_FILE, CUT_FOLDER, HELDOUT_FILE, save_codes, save_heldout
from dskd.infra import artifacts
from dskd.infra.hashes import sha256_tree
from dskd.infra.made_of import save_made_of, values_of
from dskd.infra.output import output
from dskd.model.cut import split_depth, student_top
from dskd.model.folder import read_config
from dskd.model.logits import Head, head_of, widened
from dskd.model.origin import teacher_split
from dskd.params import EXACT, Params
from dskd.pipeline.inputs import cached_states, kept_dtype, labels, load_teacher, teacher_hash
from dskd.students.store import export_student

_OF_SENSES = [f"senses.{name}" for name in ("seed", "k", "min_states", "reservoir", "iterations")]


def make_codes(params: Params) -> None:
    """Write `artifacts/codes`, from which students are trained without the teacher and its states: the codes of the
    training text, the teacher's own states of the held-out text, and the part of the teacher that a student is cut
    from. Where `harvest.codec` is `exact`, it has none of these and says so."""
    about: dict = {"codec": params.harvest.codec}
    with output(artifacts.CODES, checksums=True) as partial:
        partial.mkdir()
        if params.harvest.codec != EXACT:
            teacher, tokenizer = load_teacher(params)
            about |= {"teacher": teacher_hash(), "teacher_layers": teacher.config.num_hidden_layers}
            about |= {"corpus": sha256_tree(artifacts.CORPUS), "student": params.student.which_layers()}
            sizes = write_codes(params, head_of(teacher), partial / CODES_FILE)
            held = save_heldout(partial / HELDOUT_FILE, cached_states("heldout").hidden_states)
            about |= {"positions": labels("train").numel(), "bytes": {**sizes, "heldout": held}}
            if params.student.source is None:
                top, place = student_top(teacher, params.student), partial / CUT_FOLDER
                export_student(teacher, top, params.student, tokenizer, place, kept_dtype(params))
            save_made_of(partial, {}, values_of(params, "runtime.dtype", *_OF_SENSES))
        artifacts.write_json(partial / ABOUT_FILE, about)


def write_codes(params: Params, head: Head, path: Path) -> dict[str, int]:
    """Write the codes of the training text; how many bytes codes and tables take."""
    cut = teacher_split(params.student, read_config(artifacts.TEACHER, artifacts.TEACHER).num_hidden_layers)
    of = material_of(cached_states("train", split_depth(cut)), widened(head.to("cpu")), params.senses)
    code = make_code(params.harvest.codec, of)
    return save_codes(path, book_of(code, of.metric), encode_text(code, of))
