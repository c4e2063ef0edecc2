import torch
from tiny.models import generator

from dskd.codes.reading import Book, CodedStates, guess, read_back
from dskd.states.store import take_blocks

D, LENGTH, BLOCKS = 4, 5, 7
TABLES = [torch.randn(rows, D, generator=generator(rows)) for rows in (9, 3)]
LINE, BACK = torch.randn(D + 1, D, generator=generator(1)), torch.randn(D, D, generator=generator(2))
BELOW = torch.randn(BLOCKS, LENGTH, D, generator=generator(3))
CODES = torch.stack([torch.randint(len(t), (BLOCKS * LENGTH,), generator=generator(4)) for t in TABLES], dim=1).int()


def by_hand(place: int, tables=True, line=True):
    """The state of a position, number by number."""
    block, offset = divmod(place, LENGTH)
    x = [0.0] * D
    for j in range(D):
        if tables:
            x[j] += sum(float(table[CODES[place, i], j]) for i, table in enumerate(TABLES))
        if line:
            x[j] += sum(float(BELOW[block, offset, k] * LINE[k, j]) for k in range(D)) + float(LINE[D, j])
    return [sum(x[k] * float(BACK[k, j]) for k in range(D)) for j in range(D)]


def test_a_guess_is_an_affine_map():
    below = torch.tensor([[1.0, 2, 0, 0], [0, 0, 0, 0]]).bfloat16()
    torch.testing.assert_close(guess(below, LINE), torch.stack([LINE[0] + 2 * LINE[1] + LINE[4], LINE[4]]))


def test_a_state_is_the_sum_of_rows_and_guess_in_its_own_space():
    below, codes = BELOW.flatten(0, 1), CODES.long()
    for tables, line in ((True, True), (True, False), (False, True)):
        book = Book(TABLES if tables else [], LINE if line else None, BACK)
        found = read_back(book, codes if tables else codes[:, :0], below, torch.float32)
        torch.testing.assert_close(found, torch.tensor([by_hand(i, tables, line) for i in range(len(codes))]))
    rounded = read_back(Book(TABLES, None, BACK), codes, below, torch.bfloat16)
    assert torch.equal(rounded, read_back(Book(TABLES, None, BACK), codes, below, torch.float32).bfloat16())


def test_blocks_are_read_back_by_number_as_from_a_shard_of_states():
    states = CodedStates(Book(TABLES, LINE, BACK), CODES, list(BELOW.split(3)), torch.float32)
    assert len(states) == BLOCKS and states.shape == (BLOCKS, LENGTH, D) and states.dtype == torch.float32
    order = torch.tensor([6, 0, 3, 3])
    wanted = torch.tensor([[by_hand(block * LENGTH + i) for i in range(LENGTH)] for block in order.tolist()])
    torch.testing.assert_close(take_blocks([states], order), wanted)
