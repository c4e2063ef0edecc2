import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny.models import generator

from dskd.codes.reading import Book
from dskd.codes.store import load_codes, load_heldout, save_codes, save_heldout
from dskd.errors import UserError

D, COUNT = 4, 21
TABLES = [torch.randn(rows, D, generator=generator(rows)).bfloat16().float() for rows in (300, 256, 1)]
CODES = torch.stack([torch.randint(len(t), (COUNT,), generator=generator(len(t))) for t in TABLES], dim=1)
BACK, LINE = torch.randn(D, D, generator=generator(5)), torch.randn(D + 1, D, generator=generator(6))


@pytest.mark.parametrize("line", [None, LINE])
@pytest.mark.parametrize("tables", [TABLES, []])
def test_codes_come_back_with_what_their_reader_needs(tmp_path, tables, line):
    codes = CODES[:, : len(tables)]
    sizes = save_codes(tmp_path / "codes.safetensors", Book(tables, line, BACK), codes)
    book, found = load_codes(tmp_path / "codes.safetensors", COUNT)
    assert torch.equal(found.long(), codes) and found.shape == (COUNT, len(tables))
    assert len(book.tables) == len(tables) and all(map(torch.equal, book.tables, tables))
    assert torch.equal(book.back, BACK) and (book.line is None if line is None else torch.equal(book.line, line))
    assert sizes["codes"] == (24 + 21 if tables else 0)  # 9, 8 and 0 bits for each position
    shared = 2 * D * (300 + 256 + 1) if tables else 0
    assert sizes["tables"] == shared + 4 * D * D + (0 if line is None else 4 * D * (D + 1))


def test_many_tables_keep_their_order(tmp_path):
    tables = [torch.full((2, D), float(i)) for i in range(12)]
    save_codes(tmp_path / "c", Book(tables, None, BACK), torch.zeros(COUNT, 12).long())
    assert [float(table[0, 0]) for table in load_codes(tmp_path / "c", COUNT)[0].tables] == list(range(12))


def test_the_same_codes_are_the_same_bytes(tmp_path):
    for name in "ab":
        save_codes(tmp_path / name, Book(TABLES, LINE, BACK), CODES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("count", [COUNT - 8, COUNT + 8])
def test_codes_of_another_text_are_refused(tmp_path, count):
    save_codes(tmp_path / "c", Book(TABLES, LINE, BACK), CODES)
    with pytest.raises(UserError, match=rf"c is damaged \(ValueError: it has not {count} positions\).*dvc repro codes"):
        load_codes(tmp_path / "c", count)


def test_a_code_without_a_row_is_refused(tmp_path):
    save_codes(tmp_path / "c", Book([TABLES[0]], None, BACK), torch.full((COUNT, 1), 299))
    tensors = load_file(tmp_path / "c")
    save_file(tensors | {"table_00": tensors["table_00"][:290].contiguous()}, tmp_path / "c")
    with pytest.raises(UserError, match="names a row that its table does not have"):
        load_codes(tmp_path / "c", COUNT)


def test_states_of_held_out_text_are_kept_as_they_are(tmp_path):
    states = torch.randn(5, 3, D, generator=generator(7)).bfloat16()
    assert save_heldout(tmp_path / "h", list(states.split(2))) == states.nbytes
    (found,) = load_heldout(tmp_path / "h")
    assert torch.equal(found, states)
