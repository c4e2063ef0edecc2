import torch
from tiny.models import generator

from dskd.codes.clusters import nearest
from dskd.codes.keyed import cluster_dictionary, nearest_rows, random_rows, token_means
from dskd.senses.store import Senses

# Token 3 has senses 0 and 1, token 8 has sense 2, token 9 has senses 3, 4 and 5.
SENSES = Senses(
    tokens=torch.tensor([3, 8, 9]).int(),
    offsets=torch.tensor([0, 2, 3, 6]),
    occurrences=torch.tensor([40, 5, 9]),
    centroids=torch.tensor([[0.0, 0], [10, 0], [0, 5], [1, 1], [-10, 0], [10, 1]]).bfloat16(),
    counts=torch.tensor([3, 1, 5, 2, 2, 4]).int(),
    contexts=torch.full((6, 2), -1),
)


def test_a_state_gets_the_nearest_sense_of_its_own_token():
    x = torch.tensor([[10.0, 1], [10, 1], [10, 1], [-9, 0], [1, 0]])
    assert nearest_rows(x, torch.tensor([3, 8, 9, 3, 9]), SENSES).tolist() == [1, 2, 5, 0, 3]


def test_a_state_of_an_unknown_token_gets_the_nearest_of_all():
    x = torch.tensor([[0.0, 6], [-20, 0]])
    assert nearest_rows(x, torch.tensor([4, 100]), SENSES).tolist() == [2, 4]
    assert random_rows(x, torch.tensor([4, 100]), SENSES, 0).tolist() == [2, 4]


def test_a_random_sense_is_of_the_token_and_each_is_as_likely():
    rows = random_rows(torch.zeros(3000, 2), torch.tensor([3, 8, 9]).repeat(1000), SENSES, seed=1).view(1000, 3)
    assert rows[:, 1].unique().tolist() == [2]
    for column, first, number in ((0, 0, 2), (2, 3, 3)):
        shares = (rows[:, column] - first).bincount(minlength=number) / 1000
        assert len(shares) == number and float((shares - 1 / number).abs().max()) < 0.05
    assert not torch.equal(rows, random_rows(torch.zeros(3000, 2), torch.tensor([3, 8, 9]).repeat(1000), SENSES, 2))


def test_the_mean_of_a_token_counts_each_of_its_states_once():
    means = token_means(SENSES)
    expected = [[2.5, 0], [0, 5], [(2 * 1 - 2 * 10 + 4 * 10) / 8, (2 * 1 + 4 * 1) / 8]]
    assert torch.equal(means.centroids, torch.tensor(expected))
    assert means.counts.tolist() == means.occurrences.tolist() == [4, 5, 8]
    assert [list(means.rows(token)) for token in (3, 4, 8, 9)] == [[0], [], [1], [2]]


def test_a_dictionary_without_words_has_the_clusters_of_each_cluster():
    centres = torch.tensor([[-50.0, 0], [0, 0], [50, 0], [500, 500]])  # the last has no states
    spread = torch.randn(90, 2, generator=generator(0))
    x = torch.cat([centres[:3].repeat(30, 1) + spread, centres[:1]])
    found = cluster_dictionary(x, centres, 4, seed=0, iterations=5)
    assert found.tokens.tolist() == [0, 1, 2] and found.offsets.tolist() == [0, 4, 8, 12]
    assert found.occurrences.tolist() == [31, 30, 30] and int(found.counts.sum()) == 91
    rows = nearest_rows(x, nearest(x, centres), found)
    assert float((x - found.centroids[rows]).norm()) < 0.8 * float(spread.norm())
    few = cluster_dictionary(x[:6], centres, 4, seed=0, iterations=5)
    assert torch.equal(few.centroids[nearest_rows(x[:6], nearest(x[:6], centres), few)], x[:6])
