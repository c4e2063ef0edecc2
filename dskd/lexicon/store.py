"""The lexicon's table: its form, how it is saved and loaded, and the relations that it holds."""

import json
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dskd.errors import UserError
from dskd.infra.artifacts import require
from dskd.infra.output import output
from dskd.lexicon.relations import ANTONYM, SYNONYM, ranked_spans

SCHEMA = pa.schema(
    [
        ("head", pa.string()),
        ("tail", pa.string()),
        ("relation", pa.int8()),  # +1 synonym, -1 antonym
        ("source", pa.string()),
        ("sense", pa.string()),  # names joined by ";": as many as say so
        ("flipped", pa.bool_()),  # the sign comes from undoing a negation
        ("form", pa.string()),  # of the head, as it is written: "bank", "Bank", with inflections "banks"
        ("head_token", pa.int32()),  # of the form, after a space
        ("tail_tokens", pa.list_(pa.int32())),
    ]
)
_CONTENT = b"sha256 of the columns as JSON"


def save_lexicon(path: Path, table: pd.DataFrame) -> None:
    """Write the table as Parquet; equal tables give equal bytes (no pandas metadata, rows sorted).

    The pages have checksums, but the file's end, which says where each column lies, has none: a hash of the content
    stands there.
    """
    table = table.sort_values(["head", "tail", "relation", "source", "form"], kind="stable")
    arrays = [pa.array(table[field.name].tolist(), type=field.type) for field in SCHEMA]
    with output(path) as partial:
        table = pa.Table.from_arrays(arrays, schema=SCHEMA)
        table = table.replace_schema_metadata({_CONTENT: _content(table)})
        pq.write_table(table, partial, compression="zstd", write_page_checksum=True)


def load_lexicon(path: Path) -> pd.DataFrame:
    """Read the table that `save_lexicon` wrote; `tail_tokens` are tuples of int.

    Raises:
        UserError: there is no such file, or it is not a lexicon.
    """
    path = require(path, "lexicon")
    try:
        data = pq.read_table(path, page_checksum_verification=True)
        data.validate(full=True)
        if data.schema.types != SCHEMA.types or any(column.null_count for column in data.columns):
            raise ValueError
        if data.schema.metadata[_CONTENT] != _content(data):
            raise ValueError
        table = data.select(SCHEMA.names[:-1]).to_pandas()
        table["tail_tokens"] = [tuple(map(int, span)) for span in data["tail_tokens"].to_pylist()]
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError):
        raise UserError(
            f"{path} is not a lexicon: make it with `dvc repro lexicon` or `python -m dskd lexicon`"
        ) from None
    return table


def _content(table: pa.Table) -> bytes:
    digest = sha256()
    for name in SCHEMA.names:
        digest.update(json.dumps(table[name].to_pylist()).encode())
    return digest.hexdigest().encode()


def synonyms(table: pd.DataFrame) -> dict[int, list[tuple[int, ...]]]:
    """Head token -> its synonyms as spans of tokens, those that most senses support first, then by alphabet."""
    return _related(table, SYNONYM)


def antonyms(table: pd.DataFrame) -> dict[int, list[tuple[int, ...]]]:
    """Head token -> its antonyms, in the order of `synonyms`."""
    return _related(table, ANTONYM)


def _related(table: pd.DataFrame, relation: int) -> dict[int, list[tuple[int, ...]]]:
    rows = table[table["relation"] == relation]
    support = (sense.count(";") + 1 for sense in rows["sense"])
    return ranked_spans(zip(map(int, rows["head_token"]), rows["tail"], rows["tail_tokens"], support))
