"""The lexicon's file: what comes from elsewhere is compared with the hash that it holds."""

import pandas as pd
import pyarrow.parquet as pq
import pytest

from dskd.errors import UserError
from dskd.lexicon.store import load_lexicon, save_lexicon

ROWS = [  # head, tail, relation, source, sense, flipped, form, head_token, tail_tokens
    ("fast", "quick", 1, "wordnet", "fast.a.01", False, "fast", 3, (4,)),
    ("fast", "slow", -1, "wordnet", "fast.a.01", False, "fast", 3, (5, 6)),
    ("good", "bad", -1, "wordnet", "good.a.01;good.a.02", True, "Good", 7, (8,)),
]
COLUMNS = "head tail relation source sense flipped form head_token tail_tokens".split()


@pytest.fixture
def path(tmp_path):
    save_lexicon(tmp_path / "lexicon.parquet", pd.DataFrame(ROWS, columns=COLUMNS))
    assert load_lexicon(tmp_path / "lexicon.parquet")["tail"].tolist() == ["quick", "slow", "bad"]
    return tmp_path / "lexicon.parquet"


def shortened(table):
    return table.slice(0, 2)


def in_another_order(table):
    return table.take([2, 0, 1])


def twice(table):
    return table.take([0, 0, 1, 2])


def without_hash(table):
    return table.replace_schema_metadata(None)


def of_another_type(table):
    return table.set_column(2, "relation", table["relation"].cast("int64"))


def without_a_column(table):
    return table.drop_columns(["flipped"])


@pytest.mark.parametrize(
    "change", [shortened, in_another_order, twice, without_hash, of_another_type, without_a_column]
)
def test_a_whole_file_that_another_hand_wrote_is_refused(path, change):
    """A remote may give a table that any reader of Parquet takes."""
    table = change(pq.read_table(path))
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)
    assert len(pd.read_parquet(path))
    with pytest.raises(UserError, match="is not a lexicon: make it with `dvc repro lexicon`"):
        load_lexicon(path)
