"""The lexicon as one table: pairs whose head is one token and whose tail is a short span."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dskd.artifacts import UserError, output, require
from dskd.lexicon.build import Settled
from dskd.lexicon.conflicts import Conflict
from dskd.lexicon.relations import ANTONYM, KINDS, SYNONYM, Pair
from dskd.lexicon.spans import head_forms, is_tail, word_tokens
from dskd.params import Lexicon

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


def build_table(
    settings: Lexicon, settled: Settled, tokenizer, inflections: Mapping[str, Sequence[str]]
) -> tuple[pd.DataFrame, dict]:
    """Keep the pairs that fit the tokenizer (docs/method.md, section 2).

    Returns the table (columns of SCHEMA, sorted by head, tail, relation, source and form) and its counts. Rows are
    directed: a pair appears in both directions where both words can be heads, and once for each form of its head.

    Args:
        inflections: word -> its inflected forms that are heads too (`spans.inflected_forms`).

    Raises:
        UserError: no head is a single token.
    """
    pairs = settled.pairs
    forms = head_forms(tokenizer, {pair.head for pair in pairs}, settings.min_letters, inflections)
    headed = [pair for pair in pairs if pair.head in forms]
    tokens = word_tokens(tokenizer, (pair.tail for pair in headed))
    fitting = [pair for pair in headed if is_tail(tokens[pair.tail], settings.max_span)]
    if not fitting:
        raise UserError(
            f"no relation of {len(pairs)} has a head that is one token of this tokenizer and a tail of up to "
            f"{settings.max_span}: use a teacher whose vocabulary has whole English words, or hold out fewer words"
        )
    rows = [(pair, form, token) for pair in fitting for form, token in forms[pair.head]]
    table = pd.DataFrame(
        {
            "head": [pair.head for pair, *_ in rows],
            "tail": [pair.tail for pair, *_ in rows],
            "relation": pd.Series([pair.relation for pair, *_ in rows], dtype="int8"),
            "source": [pair.source for pair, *_ in rows],
            "sense": [";".join(pair.senses) for pair, *_ in rows],
            "flipped": [pair.flipped for pair, *_ in rows],
            "form": [form for _, form, _ in rows],
            "head_token": pd.Series([token for *_, token in rows], dtype="int32"),
            "tail_tokens": [tokens[pair.tail] for pair, *_ in rows],
        }
    )
    heads = {pair.head for pair in fitting}
    with_antonyms = {pair.head for pair in fitting if pair.relation == ANTONYM}
    summary = {
        "words": settled.words,
        "heldout_words": len(settled.heldout),
        "pairs": _by_source(settled.merged),
        "pairs_after_the_vote": _by_source(pairs),
        "dropped_head_not_a_token": len(pairs) - len(headed),
        "dropped_tail_too_long": len(headed) - len(fitting),
        "pairs_that_fit": _by_source(fitting),
        "rows": len(rows),
        "heads": len(heads),
        "tokens_of_heads": table["head_token"].nunique(),
        "heads_with_antonyms": len(with_antonyms),
        "share_of_heads_with_antonyms": round(len(with_antonyms) / len(heads), 6),
        "negations": len(settled.negations),
        "conflicts": len(settled.conflicts),
    }
    return table, summary


def negations_table(settled: Settled) -> pd.DataFrame:
    """Every word whose sign was turned, by alphabet, with what the lexicon gained by it: a table to read.

    Columns: word, base, affixes, relations (how many pairs of the base come from negations), example.
    """
    gained: dict[str, list[Pair]] = {}
    for pair in settled.pairs:
        if pair.flipped:
            gained.setdefault(pair.head, []).append(pair)
    rows = []
    for word, (base, _, affixes) in settled.negations.items():
        pairs = gained.get(base, [])
        example = f"{base} {'=' if pairs[0].relation == SYNONYM else '<>'} {pairs[0].tail}" if pairs else ""
        rows.append((word, base, " ".join(affixes), len(pairs), example))
    return pd.DataFrame(rows, columns=["word", "base", "affixes", "relations", "example"])


def conflicts_table(settled: Settled) -> pd.DataFrame:
    """Every pair that is called both, with the votes and the verdict (`conflicts.Conflict`), by alphabet."""
    return pd.DataFrame(settled.conflicts, columns=Conflict._fields).round(2)


def _by_source(pairs: Sequence[Pair]) -> dict[str, dict[str, int]]:
    """How many, by source and relation; those that a negation was undone for apart."""
    names = {False: "", True: ", negation undone"}
    counts = Counter((f"{pair.source}{names[pair.flipped]}", KINDS[pair.relation]) for pair in pairs)
    sources = sorted({source for source, _ in counts})
    return {source: {kind: counts[source, kind] for kind in KINDS.values()} for source in sources}


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
    support: dict[int, dict[tuple[int, ...], tuple[int, str]]] = {}
    rows = table[table["relation"] == relation]
    for head, tail, span, sense in zip(rows["head_token"], rows["tail"], rows["tail_tokens"], rows["sense"]):
        spans = support.setdefault(int(head), {})
        count, word = spans.get(span, (0, tail))
        spans[span] = (count - sense.count(";") - 1, min(word, tail))  # negative: the largest sorts first
    return {head: sorted(spans, key=spans.get) for head, spans in sorted(support.items())}
