import pytest
import torch
from tiny.models import generator

from dskd.codes.additive import decode, encode, packed, product_tables, residual_tables, unpacked
from dskd.codes.clusters import clusters, means, nearest


def states(n=400, d=12, seed=0):
    """States whose axes are of unlike width, and not those of the coordinates."""
    g = generator(seed)
    turn = torch.linalg.qr(torch.randn(d, d, generator=g))[0]
    return (torch.randn(n, d, generator=g) * torch.linspace(3, 0.3, d)) @ turn + torch.randn(d, generator=g)


def error(x, tables, m):
    return float((x - decode(encode(x, tables)[:, :m], tables[:m])).square().sum())


def test_nearest_is_that_of_a_loop():
    x, centres = states(50), states(7, seed=1)
    assert nearest(x, centres).tolist() == [min(range(7), key=lambda i: float((r - centres[i]).norm())) for r in x]


def test_means_are_of_the_states_of_each_cluster_and_0_where_it_has_none():
    x = torch.tensor([[1.0, 0], [3, 4], [5, 5]])
    assert means(x, torch.tensor([2, 2, 0]), 4).tolist() == [[5, 5], [0, 0], [2, 2], [0, 0]]


def test_clusters_find_groups_that_lie_apart_and_depend_on_the_seed_alone():
    groups = torch.tensor([[0.0, 0], [0, 40], [40, 0], [40, 40]])
    x = groups.repeat(50, 1) + states(200, 2)
    found = min((clusters(x, 4, seed, 20) for seed in range(5)), key=lambda c: float((x - c[nearest(x, c)]).norm()))
    assert sorted(found.sub(x.mean(dim=0)).sign().tolist()) == [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    assert torch.equal(clusters(x, 4, 3, 20), clusters(x.clone(), 4, 3, 20))
    assert not torch.equal(clusters(x, 4, 3, 1), clusters(x, 4, 4, 1))


def test_where_states_are_equal_no_centre_is_lost():
    assert torch.isfinite(clusters(torch.ones(5, 3), 3, 0, 4)).all()


@pytest.mark.parametrize("make", [residual_tables, product_tables])
def test_each_table_lowers_the_error_and_the_sum_of_rows_is_what_is_read_back(make):
    x = states(d=12)
    tables = make(x, 4, 0, 8)
    errors = [float(x.square().sum())] + [error(x, tables, m) for m in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0] / 20
    codes = encode(x, tables)
    one = sum(table[int(code)] for table, code in zip(tables, codes[7]))
    torch.testing.assert_close(decode(codes, tables)[7], one)


def test_a_code_with_a_row_for_every_state_is_exact():
    x = states(60)
    tables = residual_tables(x, 1, 0, 5)
    torch.testing.assert_close(decode(encode(x, tables), tables), x)


def test_tables_can_be_added_later():
    x = states()
    tables = residual_tables(x, 4, 0, 5)
    assert all(map(torch.equal, tables, residual_tables(x, 4, 0, 5, known=residual_tables(x, 2, 0, 5))))


def test_the_tables_of_a_product_quantiser_lie_in_parts_of_their_own():
    tables = product_tables(states(d=12), 3, 0, 8)
    for i in range(3):
        assert int(torch.linalg.matrix_rank(tables[i], rtol=1e-4)) == 4
        for other in tables[:i]:
            assert float((tables[i] @ other.T).abs().max()) < 1e-3


def test_a_product_quantiser_deals_wide_and_narrow_axes_to_all_parts():
    """Each of two parts gets one of the two wide axes; a part with both would leave its states far apart."""
    x = torch.randn(2000, 4, generator=generator(3)) * torch.tensor([10.0, 5, 0.1, 0.1])
    for table in product_tables(x, 2, 0, 8):
        wide = table.square().sum(dim=0)[:2]
        assert float(wide.min()) < 0.01 * float(wide.max())


def test_codes_are_stored_in_the_bits_of_each_table_and_come_back():
    tables = [torch.randn(rows, 3, generator=generator(rows)) for rows in (300, 16, 1)]
    codes = torch.stack([torch.randint(len(t), (21,), generator=generator(len(t))) for t in tables], dim=1)
    stored = packed(codes, tables)
    assert [column.nbytes for column in stored.columns] == [24, 11, 0]  # 9, 4 and 0 bits each
    assert stored.bytes == 35 and torch.equal(unpacked(stored, tables), codes)
