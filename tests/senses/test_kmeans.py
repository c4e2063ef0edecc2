import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from tiny.models import generator

from dskd.infra.arithmetic import squared_distances
from dskd.infra.randomness import uniform
from dskd.senses.kmeans import kmeans, plus_plus, without_small


def mixtures(sets, n, d, clusters, seed):
    """(sets, n, d) rows of Gaussian mixtures with clusters of unlike size, so that there is something to find."""
    g = generator(seed)
    centres = 3 * torch.randn(sets, clusters, d, generator=g)
    which = (torch.rand(sets, n, generator=g).square() * clusters).long()
    return centres.gather(1, which[..., None].expand(-1, -1, d)) + torch.randn(sets, n, d, generator=g)


def inertia(x, centroids):
    return float(squared_distances(x[None].double(), centroids[None].double())[0].min(dim=1).values.sum())


def ragged(sets=12, n=24, d=32, k=5, seed=0):
    x = mixtures(sets, n, d, 4, seed)
    sizes = torch.randint(k + 1, n + 1, (sets,), generator=generator(seed + 1))
    return x, sizes, torch.arange(sets) * 1001 + 7


def test_squared_distances_are_those_of_a_loop_and_never_negative():
    x = mixtures(2, 5, 3, 2, 0)
    true = torch.tensor([[[float(((a - b) ** 2).sum()) for b in s] for a in s] for s in x])
    found = squared_distances(x, x)
    torch.testing.assert_close(found, true, rtol=1e-4, atol=1e-4)
    assert (found >= 0).all()


def test_a_dimension_that_is_large_in_all_rows_costs_no_digits():
    """As in the states of real models: |a|^2 - 2ab + |b|^2 has none left for the others there."""
    x, sizes, keys = ragged(n=60, d=4)
    moved = torch.cat([x, torch.full_like(x[..., :1], 1e4)], dim=2)
    found, true = (squared_distances(of, of[:, :7]) for of in (moved, x))
    torch.testing.assert_close(found, true, rtol=1e-4, atol=1e-4)
    (centroids, assignment), (same, found) = (kmeans(of, sizes, keys, 5, seed=3, iterations=9) for of in (x, moved))
    assert torch.equal(found, assignment)
    torch.testing.assert_close(same[..., :4], centroids, rtol=1e-4, atol=1e-4)
    assert (same[..., 4] == 1e4).all()


@pytest.mark.parametrize("iterations", [1, 2, 300])
def test_from_the_same_centres_it_finds_what_scikit_learn_finds(iterations):
    x, sizes, keys = ragged(n=60, d=4)  # clusters that overlap: one step does not settle them
    valid = torch.arange(x.shape[1]) < sizes[:, None]
    start = plus_plus(x * valid[..., None], valid, sizes, keys, 5, seed=3)
    centroids, assignment = kmeans(x, sizes, keys, 5, seed=3, iterations=iterations)
    for i, size in enumerate(sizes.tolist()):
        rows = x[i, :size].numpy()
        model = KMeans(5, init=start[i].numpy(), n_init=1, algorithm="lloyd", max_iter=iterations, tol=0).fit(rows)
        np.testing.assert_array_equal(assignment[i, :size].numpy(), model.labels_)
        np.testing.assert_allclose(centroids[i].numpy(), model.cluster_centers_, rtol=1e-4, atol=1e-4)


def test_its_own_seeding_is_as_good_as_scikit_learns_on_average():
    x = mixtures(30, 60, 8, 8, 5)
    centroids, _ = kmeans(x, torch.full((30,), 60), torch.arange(30), 8, seed=0, iterations=100)
    ours = [inertia(rows, centres) for rows, centres in zip(x, centroids)]
    theirs = [
        np.mean([KMeans(8, n_init=1, algorithm="lloyd", random_state=r).fit(rows.numpy()).inertia_ for r in range(3)])
        for rows in x
    ]
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.05)
    first = x[:, :8]  # and much better than centres taken without a thought
    assert np.mean(ours) < 0.8 * np.mean([inertia(rows, centres) for rows, centres in zip(x, first)])


def test_padding_is_marked_and_belongs_to_no_cluster():
    x, sizes, keys = ragged()
    _, assignment = kmeans(x, sizes, keys, 5, seed=0, iterations=30)
    valid = torch.arange(x.shape[1]) < sizes[:, None]
    assert (assignment[~valid] == -1).all()
    assert (assignment[valid] >= 0).all() and (assignment[valid] < 5).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_set_has_bitwise_the_same_result_alone_in_any_order_and_beside_any_other(seed):
    x, sizes, keys = ragged(seed=seed)
    centroids, assignment = kmeans(x, sizes, keys, 5, seed=0, iterations=30)
    order = torch.randperm(len(x), generator=generator(seed))
    others, other_sizes, other_keys = ragged(sets=3, seed=seed + 50)
    groups = [*([i] for i in range(len(x))), order.tolist(), order[:5].tolist()]
    for group in groups:
        for extra in (0, 3):
            found = kmeans(
                torch.cat([others[:extra], x[group]]),
                torch.cat([other_sizes[:extra], sizes[group]]),
                torch.cat([other_keys[:extra], keys[group]]),
                5,
                seed=0,
                iterations=30,
            )
            assert torch.equal(found[0][extra:], centroids[group])
            assert torch.equal(found[1][extra:], assignment[group])


def test_what_the_padding_holds_changes_no_bit():
    x, sizes, keys = ragged()
    centroids, assignment = kmeans(x, sizes, keys, 5, seed=0, iterations=30)
    other = x.clone()
    other[torch.arange(x.shape[1]) >= sizes[:, None]] = 1e30  # whose square is no number of float32
    found = kmeans(other, sizes, keys, 5, seed=0, iterations=30)
    assert torch.equal(found[0], centroids) and torch.equal(found[1], assignment)


def test_more_padding_changes_no_centre():
    x, sizes, keys = ragged()
    wider = torch.cat([x, x + 100], dim=1)
    centres = [
        plus_plus(rows, torch.arange(rows.shape[1]) < sizes[:, None], sizes, keys, 5, seed=0) for rows in (x, wider)
    ]
    assert torch.equal(*centres)


def test_the_key_and_the_seed_choose_the_centres():
    x = mixtures(1, 24, 8, 4, 0).expand(40, -1, -1).contiguous()
    sizes, valid = torch.full((40,), 24), torch.ones(40, 24, dtype=torch.bool)
    by_key = plus_plus(x, valid, sizes, torch.arange(40), 5, seed=0)
    assert len({tuple(centres[0].tolist()) for centres in by_key}) > 10
    again, other = (plus_plus(x, valid, sizes, torch.arange(40), 5, seed=s) for s in (0, 1))
    assert torch.equal(again, by_key) and not torch.equal(other, by_key)


def test_fewer_distinct_rows_than_clusters_leave_clusters_empty_and_all_else_right():
    distinct = torch.tensor([[1.0, 1.0], [8.0, 0.0], [0.0, 8.0]])
    x = distinct[torch.arange(12) % 3][None]
    centroids, assignment = kmeans(x, torch.tensor([12]), torch.tensor([1]), 5, seed=0, iterations=30)
    assert {tuple(centre) for centre in centroids[0].tolist()} == {tuple(row) for row in distinct.tolist()}
    assert torch.equal(centroids[0, assignment[0]], x[0])
    assert len(assignment.unique()) == 3


def test_centres_are_rows_of_the_set_and_never_padding():
    x, sizes, keys = ragged(sets=60)
    valid = torch.arange(x.shape[1]) < sizes[:, None]
    padded = x.masked_fill(~valid[..., None], 1e3)  # far away: k-means++ would love it
    for i, centres in enumerate(plus_plus(padded, valid, sizes, keys, 5, seed=0)):
        rows = {tuple(row) for row in padded[i, : sizes[i]].tolist()}
        assert {tuple(centre) for centre in centres.tolist()} <= rows
        assert len(centres.unique(dim=0)) == 5


@pytest.mark.parametrize("d", [32, 576])
def test_the_number_of_threads_changes_no_bit(d):
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            x, sizes, keys = ragged(sets=40, n=80, d=d, k=10)
            found.append(kmeans(x, sizes, keys, 10, seed=0, iterations=30))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert torch.equal(other[0], found[0][0]) and torch.equal(other[1], found[0][1])


def plain_plus_plus(rows, key, k, seed):
    """Greedy k-means++ of one set (Arthur and Vassilvitskii 2007), centre by centre, with the module's draws."""
    trials, taken = 2 + int(np.log(k)), [int(uniform(seed, key, 0, 0) * len(rows))]
    for step in range(1, k):
        closest = ((rows[:, None] - rows[taken]) ** 2).sum(axis=2).min(axis=1)
        ends = closest.cumsum()
        drawn = [int((ends <= uniform(seed, key, step, trial) * ends[-1]).sum()) for trial in range(trials)]
        left = [np.minimum(closest, ((rows - rows[i]) ** 2).sum(axis=1)).sum() for i in drawn]
        taken.append(drawn[int(np.argmin(left))])
    return rows[taken]


def test_centres_are_those_of_a_plain_greedy_k_means_plus_plus():
    x, sizes, keys = ragged(n=60)  # in smaller sets two draws are sometimes as good as each other, but for rounding
    valid = torch.arange(x.shape[1]) < sizes[:, None]
    for k in (1, 2, 5):
        for i, centres in enumerate(plus_plus(x * valid[..., None], valid, sizes, keys, k, seed=3)):
            plain = plain_plus_plus(x[i, : sizes[i]].double().numpy(), int(keys[i]), k, 3)
            np.testing.assert_allclose(centres.numpy(), plain, rtol=1e-6)


# Three clusters on a line, {0, 1, 2}, {10} and {13, 14}; then two, {1, 3} and {9}, with three rows of padding.
ROWS = torch.tensor([[0.0, 1, 2, 10, 13, 14], [1, 3, 9, 0, 0, 0]])[..., None]
CENTRES = torch.tensor([[1.0, 10, 13.5], [2, 9, 50]])[..., None]
CLUSTERS = torch.tensor([[0, 0, 0, 1, 2, 2], [0, 0, 1, -1, -1, -1]])


@pytest.mark.parametrize(
    ("least", "centres", "clusters"),
    [
        (1, [[1, 10, 13.5], [2, 9, 50]], CLUSTERS.tolist()),
        (2, [[1, None, 37 / 3], [13 / 3, None, None]], [[0, 0, 0, 2, 2, 2], [0, 0, 0, -1, -1, -1]]),
        # {10} is the smallest: it goes first, and makes {13, 14} large enough.
        (3, [[1, None, 37 / 3], [13 / 3, None, None]], [[0, 0, 0, 2, 2, 2], [0, 0, 0, -1, -1, -1]]),
    ],
)
def test_small_clusters_dissolve_the_smallest_first_into_the_nearest_that_is_left(least, centres, clusters):
    found, assignment = without_small(ROWS, CENTRES.clone(), CLUSTERS.clone(), least)
    assert assignment.tolist() == clusters
    for means, expected in zip(found.squeeze(2).tolist(), centres, strict=True):
        for mean, value in zip(means, expected, strict=True):
            assert value is None or mean == pytest.approx(value)


def test_rows_of_a_cluster_that_dissolves_part_where_others_are_nearer():
    x = torch.tensor([0.0, 1, 2, 4, 6, 8, 9, 10])[None, :, None]
    centres, clusters = torch.tensor([1.0, 5, 9])[None, :, None], torch.tensor([[0, 0, 0, 1, 1, 2, 2, 2]])
    found, assignment = without_small(x, centres, clusters, 3)
    assert assignment.tolist() == [[0, 0, 0, 0, 2, 2, 2, 2]]
    assert found[0, [0, 2], 0].tolist() == [1.75, 8.25]


def test_where_all_clusters_are_large_enough_nothing_changes():
    x, sizes, keys = ragged()
    centroids, assignment = kmeans(x, sizes, keys, 5, seed=0, iterations=30)
    smallest = min(int(n) for row in assignment for n in row[row >= 0].bincount(minlength=5))
    assert smallest > 0
    found = without_small(x, centroids.clone(), assignment.clone(), smallest)
    assert torch.equal(found[0], centroids) and torch.equal(found[1], assignment)


def plain_without_small(rows, centres, clusters, least):
    """The same for one set, cluster by cluster: the centres of those that are left, and the cluster of each row."""
    centres, clusters = centres.copy(), clusters.copy()
    while True:
        counts = {c: int((clusters == c).sum()) for c in sorted(set(clusters.tolist()))}
        small = [c for c in counts if counts[c] < least]
        if not small:
            return {c: centres[c] for c in counts}, clusters
        left = [c for c in counts if c != min(small, key=counts.get)]
        distances = ((rows[:, None] - centres[left]) ** 2).sum(axis=2)
        clusters = np.array(left)[distances.argmin(axis=1)]
        for c in set(clusters.tolist()):
            centres[c] = rows[clusters == c].mean(axis=0)


@pytest.mark.parametrize("least", [2, 4, 6])
def test_what_dissolves_is_what_a_plain_loop_dissolves_also_beside_other_sets(least):
    x, sizes, keys = ragged(sets=40, k=6)
    x = x * (torch.arange(x.shape[1]) < sizes[:, None])[..., None]
    centroids, assignment = kmeans(x, sizes, keys, 6, seed=0, iterations=2)
    found, clusters = without_small(x, centroids.clone(), assignment.clone(), least)
    assert torch.equal(clusters == -1, assignment == -1)
    dissolved = 0
    for i, size in enumerate(sizes.tolist()):
        given = (v.numpy() for v in (x[i, :size].double(), centroids[i].double(), assignment[i, :size]))
        left, expected = plain_without_small(*given, least)
        assert clusters[i, :size].tolist() == expected.tolist()
        np.testing.assert_allclose(found[i, list(left)].numpy(), list(left.values()), rtol=1e-4, atol=1e-4)
        assert clusters[i, :size].bincount()[list(left)].min() >= least
        dissolved += 6 - len(left)
        alone = without_small(x[i : i + 1], centroids[i : i + 1].clone(), assignment[i : i + 1].clone(), least)
        assert torch.equal(alone[0][0], found[i]) and torch.equal(alone[1][0], clusters[i])
    assert dissolved > 10


def test_a_cluster_that_another_s_end_leaves_empty_costs_no_further_step():
    rows = [34, 34, 40, 60, 66, 66, *range(1000, 1200, 11), 2000, 2000, 2030, 3000, 3000, 3030]
    centres = [20, 50, 80, 1000, 1040, 2000, 2030, 3000, 3030]  # far from at rest; 2030 and 3030 have one row each
    x, centres = (torch.tensor(values, dtype=torch.float32)[None, :, None] for values in (rows, centres))
    clusters = squared_distances(x, centres).argmin(dim=2)
    left, expected = plain_without_small(x[0].numpy(), centres[0].numpy(), clusters[0].numpy(), 2)
    assert sorted(left) == [0, 2, 3, 4, 5, 7]  # 40 and 60 were of the second, whose neighbours have come nearer
    found, assignment = without_small(x, centres, clusters, 2)
    assert assignment[0].tolist() == expected.tolist()
    np.testing.assert_allclose(found[0, list(left)].numpy(), list(left.values()), rtol=1e-6)
