from pathlib import Path

import pytest

from dskd.params import Params, load_params
from dskd.report.parameter_tables import in_words, parameters_block

ROOT = Path(__file__).parents[2]
SCHEMA = Params.model_json_schema()


@pytest.mark.parametrize(
    ("model", "field", "words"),
    [
        ("RuntimeParams", "threads", "whole number, at least 1"),
        ("RuntimeParams", "dtype", "`bfloat16` or `float32`"),
        ("SourcesParams", "morphology", "a source or `null`"),
        ("Source", "sha256", "64 hexadecimal digits"),
        ("LexiconParams", "weights", "for each name: number, at least 0"),
        ("LexiconParams", "heldout_share", "number, from 0 to 1"),
        ("CorpusParams", "heldout_share", "number, above 0 and below 1"),
        ("DistillParams", "seeds", "list of one or more whole numbers, at least 0"),
        ("DistillParams", "learning_rate", "number, above 0"),
    ],
)
def test_a_type_is_said_with_its_bounds(model, field, words):
    assert in_words(SCHEMA["$defs"][model]["properties"][field]) == words


def test_every_parameter_has_a_row_and_a_meaning():
    params = load_params(ROOT / "params.yaml")
    block = parameters_block(params)
    sections = dict(part.split("\n", 1) for part in block.split("## ")[1:])
    assert list(sections) == list(Params.model_fields)
    for group, text in sections.items():
        rows = [[cell.strip() for cell in row.split(" |")] for row in text.splitlines() if row.startswith("| ")]
        assert all(all(row[:-1]) for row in rows), group  # no cell is empty; after the last bar is nothing
        value = getattr(params, group)
        for name in params.objectives if group == "objectives" else type(value).model_fields:
            assert any(row[0].strip("| `") == name for row in rows), f"{group}.{name}"


def test_a_bar_does_not_end_a_cell():
    rows = [row for row in parameters_block(load_params(ROOT / "params.yaml")).splitlines() if "KL(teacher" in row]
    assert len(rows) == 2 and all(row.replace("\\|", "").count("|") in (4, 5) for row in rows)
