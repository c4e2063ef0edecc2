"""The loss over a sample of the vocabulary, beside the exact one."""

import pytest
import torch
from students.test_losses import example, naive_output_loss, value_and_gradient
from torch.nn import functional as F

from dskd.model.logits import Head, LogitMap
from dskd.students.output_loss import IGNORE, Heads, OutputWeights, output_loss
from dskd.students.sampled_vocabulary import Sampling, Vocabulary, draw_vocabulary, narrowed

SIZE = 37
OUTPUT_WEIGHTS = OutputWeights(1.0, 0.7, 2.0)


def sampled_loss(student, teacher, heads, labels, vocabulary, weights=OUTPUT_WEIGHTS, **options):
    heads, places = narrowed(heads, labels, vocabulary)
    heads = heads._replace(log_weights=heads.log_weights.double())
    return output_loss(student, teacher, places, heads, weights, **options)


def certain_of(teacher, head, labels):
    return torch.cat([labels, (teacher @ head.T).topk(4, dim=1).indices.flatten()])


def test_a_draw_has_what_is_certain_once_and_as_many_others_as_asked_for():
    certain = torch.tensor([5, 3, 5, IGNORE, 30])
    tokens, log_weights = draw_vocabulary(Sampling(10, SIZE, seed=1), certain, step=4)
    assert len(tokens) == 13 and torch.equal(tokens, tokens.unique())
    sure = torch.isin(tokens, certain)
    assert sure.sum() == 3 and (log_weights[sure] == 0).all()
    torch.testing.assert_close(log_weights[~sure].exp(), torch.full((10,), (SIZE - 3) / 10))


def test_seed_and_step_decide_a_draw():
    certain = torch.tensor([0])

    def draw(seed, step):
        return draw_vocabulary(Sampling(10, SIZE, seed), certain, step)[0].tolist()

    assert draw(1, 1) == draw(1, 1)
    assert len({tuple(draw(seed, step)) for seed in (1, 2) for step in (1, 2)}) == 4


@pytest.mark.parametrize("drawn", [34, 35, 1000])
def test_where_fewer_others_are_left_all_come_and_stand_for_themselves(drawn):
    tokens, log_weights = draw_vocabulary(Sampling(drawn, SIZE, 0), torch.tensor([2, 8, 9]), 0)
    assert torch.equal(tokens, torch.arange(SIZE)) and (log_weights == 0).all()


def test_each_token_counts_once_in_expectation():
    """So partition sums, which are linear in these counts, are unbiased."""
    counts, draws = torch.zeros(SIZE), 4000
    for step in range(draws):
        tokens, log_weights = draw_vocabulary(Sampling(8, SIZE, 3), torch.tensor([1, 2]), step)
        counts[tokens] += log_weights.exp()
    assert (counts[[1, 2]] == draws).all()
    weight = (SIZE - 2) / 8
    deviation = (weight - 1) ** 0.5  # of one count, which is `weight` with probability 1 / weight, else 0
    assert ((counts / draws - 1).abs() < 4.5 * deviation / draws**0.5).all()


@pytest.mark.parametrize(
    "beta, temperature, logit_map, compiled",
    [
        (0.0, 2.0, None, True),
        (0.0, 2.0, None, False),
        (0.0, 1.0, LogitMap(softcap=2.0), False),
        (0.5, 2.0, LogitMap(scale=1.5, softcap=4.0), False),
        (1.0, 1.0, None, False),
    ],
)
def test_with_all_tokens_it_is_the_exact_loss(beta, temperature, logit_map, compiled):
    student, teacher, weight, labels = example()
    heads = Heads(Head(weight, logit_map), Head(weight, logit_map))
    weights = OutputWeights(0.5, 0.7, temperature, beta)
    everything = draw_vocabulary(Sampling(SIZE, SIZE, 0), labels, 0)
    found = sampled_loss(student, teacher, heads, labels, everything, weights, chunk=4, compiled=compiled)
    exact = output_loss(student, teacher, labels, heads, weights)
    torch.testing.assert_close(found[1:], exact[1:], rtol=1e-12, atol=0)
    pair = (value_and_gradient(loss[0], student) for loss in (found, exact))
    torch.testing.assert_close(*pair, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("own_head", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_column_counts_as_many_times_as_it_stands_for_tokens(own_head, temperature):
    """Written plainly: a vocabulary in which the column's token is there so many times."""
    student, teacher, weight, labels = example()
    labels = labels.where(labels == IGNORE, labels % 5)
    other = weight.flip(0) if own_head else weight
    tokens, times = torch.arange(9), torch.tensor([1, 1, 1, 1, 1, 3, 3, 3, 3])
    vocabulary = Vocabulary(tokens, times.float().log())
    weights = OutputWeights(1.0, 0.7, temperature)
    loss, ce, kl = sampled_loss(student, teacher, Heads(Head(other), Head(weight)), labels, vocabulary, weights)

    kept, repeated = labels != IGNORE, tokens.repeat_interleave(times)
    logits, teacher_logits = student[kept] @ other[repeated].T, teacher[kept] @ weight[repeated].T
    true_ce = F.cross_entropy(logits, labels[kept])  # the labels' columns come first, and once
    log_q, log_p = ((x / temperature).log_softmax(dim=1) for x in (logits, teacher_logits))
    true_kl = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    true = true_ce + 0.7 * temperature**2 * true_kl
    torch.testing.assert_close((ce, kl), (true_ce.detach(), true_kl.detach()), rtol=1e-6, atol=0)
    pair = (value_and_gradient(x, student) for x in (loss, true))
    torch.testing.assert_close(*pair, rtol=1e-6, atol=1e-9)  # log weights are float32


def test_partition_sums_are_unbiased_and_gradients_nearly():
    size, draws = 150, 600
    student, teacher, weight, labels = example(vocabulary=size)
    weight, heads = weight / 2, Heads(Head(weight / 2), Head(weight / 2))
    sampling, certain = Sampling(40, size, 0), certain_of(teacher, weight, labels)

    # The cross-entropy of one position is the logarithm of the partition sum less the label's logit.
    one = slice(1, 2)
    true = naive_output_loss(student[one], teacher[one], weight, labels[one], *OUTPUT_WEIGHTS[:3])[1].detach()
    vocabularies = [draw_vocabulary(sampling, certain, step) for step in range(draws)]
    found = torch.stack([sampled_loss(student[one], teacher[one], heads, labels[one], v)[1] for v in vocabularies])
    sums = (found - true).exp()  # relative to the true partition sum
    assert len(vocabularies[0].tokens) < 0.6 * size and sums.std() > 0.01
    assert abs(sums.mean() - 1) < 4 * sums.std() / draws**0.5

    # A gradient is a ratio of such sums, and has the bias of one.
    true = value_and_gradient(naive_output_loss(student, teacher, weight, labels, *OUTPUT_WEIGHTS[:3])[0], student)[1]
    found = [value_and_gradient(sampled_loss(student, teacher, heads, labels, v)[0], student)[1] for v in vocabularies]
    of_one, of_mean = ((g - true).norm() / true.norm() for g in (found[0], torch.stack(found).mean(dim=0)))
    assert of_mean < 0.03 < 0.15 < of_one, (of_mean, of_one)


def test_with_no_position_that_counts_all_is_zero():
    student, teacher, weight, labels = example()
    heads = Heads(Head(weight), Head(weight))
    vocabulary = draw_vocabulary(Sampling(6, SIZE, 0), labels, 0)
    loss, ce, kl = sampled_loss(student, teacher, heads, torch.full_like(labels, IGNORE), vocabulary)
    value, gradient = value_and_gradient(loss, student)
    assert value == ce == kl == 0 and (gradient == 0).all()
