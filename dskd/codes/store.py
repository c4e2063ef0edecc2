"""Codes on disk: for each table a column of its rows, in as few bits as they need; and the tables themselves."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from dskd.codes.additive import Packed, packed, unpacked
from dskd.codes.packing import bits_for
from dskd.codes.reading import Book
from dskd.infra.artifacts import load_tensors, reading
from dskd.infra.output import output

# In `artifacts/codes`; of the last two, how the code was made, and the part of the teacher that students are cut from.
CODES_FILE, HELDOUT_FILE, ABOUT_FILE, CUT_FOLDER = "codes.safetensors", "heldout.safetensors", "codes.json", "cut"


def save_codes(path: Path, book: Book, codes: Tensor) -> dict[str, int]:
    """Write codes (n, m) and what their reader needs; returns how many bytes each of the two takes."""
    columns = {f"column_{i:02d}": torch.from_numpy(c) for i, c in enumerate(packed(codes, book.tables).columns)}
    shared = {f"table_{i:02d}": table.bfloat16() for i, table in enumerate(book.tables)} | {"back": book.back}
    if book.line is not None:
        shared["line"] = book.line
    with output(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in (columns | shared).items()}, partial)
    return {kind: sum(t.nbytes for t in of.values()) for kind, of in (("codes", columns), ("tables", shared))}


def load_codes(path: str | Path, count: int) -> tuple[Book, Tensor]:
    """What `save_codes` was given, with codes as int32.

    Args:
        count: how many positions the text has.

    Raises:
        UserError: the file is missing or damaged, or has another number of positions.
    """
    tensors = load_tensors(path, "codes")
    with reading(path, "codes"):
        names = sorted(name for name in tensors if name.startswith("table_"))
        tables = [tensors[name].float() for name in names]
        columns = [tensors[name.replace("table", "column")].numpy() for name in names]
        if any(len(c) != -(-count * bits_for(len(table)) // 8) for c, table in zip(columns, tables)):
            raise ValueError(f"it has not {count} positions")
        codes = torch.empty(count, 0, dtype=torch.int32)
        if names:
            codes = unpacked(Packed(columns, count), tables).int()
        if any(len(table) <= int(column.max()) for table, column in zip(tables, codes.T)):
            raise ValueError("a code names a row that its table does not have")
        return Book(tables, tensors.get("line"), tensors["back"]), codes


def save_heldout(path: Path, hidden_states: list[Tensor]) -> int:
    """Write the teacher's own last states of the held-out text, one tensor a shard; how many bytes they take."""
    whole = torch.cat(hidden_states)
    with output(path) as partial:
        save_file({"hidden_states": whole}, partial)
    return whole.nbytes


def load_heldout(path: str | Path) -> list[Tensor]:
    """The states that `save_heldout` was given, as one shard; UserError where they are missing or damaged."""
    return [load_tensors(path, "codes", ["hidden_states"])["hidden_states"]]
