"""The lexicon: merged pairs whose head is one token and whose tail is a short span, as one table."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dskd.artifacts import UserError, output, require
from dskd.lexicon import wordnet
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation, conflicts, heldout_words, merge
from dskd.lexicon.spans import is_head, is_tail, word_tokens
from dskd.params import Lexicon

SCHEMA = pa.schema(
    [
        ("head", pa.string()),
        ("tail", pa.string()),
        ("relation", pa.int8()),  # +1 synonym, -1 antonym
        ("source", pa.string()),
        ("sense", pa.string()),  # names joined by ";"
        ("flipped", pa.bool_()),
        ("head_token", pa.int32()),
        ("tail_tokens", pa.list_(pa.int32())),
    ]
)
_KINDS = {SYNONYM: "synonym", ANTONYM: "antonym"}


def build_lexicon(params: Lexicon, reader, tokenizer) -> tuple[pd.DataFrame, dict]:
    """The training lexicon from WordNet; see `build_table`."""
    return build_table(params, wordnet.relations(reader), tokenizer)


def build_table(params: Lexicon, relations: Iterable[Relation], tokenizer) -> tuple[pd.DataFrame, dict]:
    """Merge relations, drop those of held-out words, keep what fits the tokenizer (docs/method.md, section 2).

    Returns the table (columns of SCHEMA, sorted by head, tail, relation, source) and its counts. Rows are
    directed: a pair appears in both directions where both words can be heads.

    Raises:
        UserError: no head is a single token.
    """
    pairs = merge(relations)
    words = {pair.head for pair in pairs}  # every word is a head: pairs go both ways
    heldout = heldout_words(words, params.seed, params.heldout_share)
    kept = [pair for pair in pairs if pair.head not in heldout and pair.tail not in heldout]
    tokens = word_tokens(tokenizer, (pair.head for pair in kept))

    headed = [pair for pair in kept if is_head(pair.head, tokens[pair.head], params.min_letters)]
    rows = [pair for pair in headed if is_tail(tokens[pair.tail], params.max_span)]
    if not rows:
        raise UserError(
            f"no relation of {len(kept)} has a head that is one token of this tokenizer and a tail of up to "
            f"{params.max_span}: use a teacher whose vocabulary has whole English words, or hold out fewer words"
        )
    table = pd.DataFrame(
        {
            "head": [pair.head for pair in rows],
            "tail": [pair.tail for pair in rows],
            "relation": pd.Series([pair.relation for pair in rows], dtype="int8"),
            "source": [pair.source for pair in rows],
            "sense": [";".join(pair.senses) for pair in rows],
            "flipped": [pair.flipped for pair in rows],
            "head_token": pd.Series([tokens[pair.head][0] for pair in rows], dtype="int32"),
            "tail_tokens": [tokens[pair.tail] for pair in rows],
        }
    )
    heads = {pair.head for pair in rows}
    with_antonyms = {pair.head for pair in rows if pair.relation == ANTONYM}
    summary = {
        "words": len(words),
        "heldout_words": len(heldout),
        "pairs": _by_source(pairs),
        "pairs_without_heldout": _by_source(kept),
        "dropped_head_not_a_token": len(kept) - len(headed),
        "dropped_tail_too_long": len(headed) - len(rows),
        "rows": _by_source(rows),
        "heads": len(heads),
        "heads_with_antonyms": len(with_antonyms),
        "share_of_heads_with_antonyms": round(len(with_antonyms) / len(heads), 6),
        "conflicts": conflicts(pair[:3] for pair in rows),
        "flipped": sum(pair.flipped for pair in rows),
    }
    return table, summary


def save_lexicon(path: Path, table: pd.DataFrame) -> None:
    """Write the table as Parquet; equal tables give equal bytes (no pandas metadata, rows sorted)."""
    table = table.sort_values(["head", "tail", "relation", "source"], kind="stable")
    arrays = [pa.array(table[field.name].tolist(), type=field.type) for field in SCHEMA]
    with output(path) as partial:
        table = pa.Table.from_arrays(arrays, schema=SCHEMA)
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
        table = data.select(SCHEMA.names[:-1]).to_pandas()
        table["tail_tokens"] = [tuple(map(int, span)) for span in data["tail_tokens"].to_pylist()]
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError):
        raise UserError(
            f"{path} is not a lexicon: make it with `dvc repro lexicon` or `python -m dskd lexicon`"
        ) from None
    return table


def synonyms(table: pd.DataFrame) -> dict[int, list[tuple[int, ...]]]:
    """Head token -> its synonyms as spans of tokens, those that most senses support first, then by alphabet."""
    return _related(table, SYNONYM)


def antonyms(table: pd.DataFrame) -> dict[int, list[tuple[int, ...]]]:
    """Head token -> its antonyms, in the order of `synonyms`."""
    return _related(table, ANTONYM)


def _related(table: pd.DataFrame, relation: int) -> dict[int, list[tuple[int, ...]]]:
    support: dict[int, dict[tuple[int, ...], tuple[int, str]]] = {}
    rows = table[table["relation"] == relation]
    for head, tail, span, sense in zip(rows["head_token"], rows["tail"], rows["tail_tokens"], rows["sense"]):
        spans = support.setdefault(int(head), {})
        count, word = spans.get(span, (0, tail))
        spans[span] = (count - sense.count(";") - 1, min(word, tail))  # negative: the largest sorts first
    return {head: sorted(spans, key=spans.get) for head, spans in sorted(support.items())}


def _by_source(pairs: list) -> dict[str, dict[str, int]]:
    counts = Counter((pair.source, pair.relation) for pair in pairs)
    return {
        source: {kind: counts[source, sign] for sign, kind in _KINDS.items()}
        for source in sorted({pair.source for pair in pairs})
    }
