import pytest
import torch
from tiny.models import generator

from dskd.codes.divergence import head_metric, state_kl, teacher_of
from dskd.codes.sparse import draw_shares, sampled_tokens, sparse_kl, top_tokens
from dskd.model.logits import Head, widened

V, D, N = 40, 6, 30


@pytest.fixture
def head():
    return widened(Head(torch.randn(V, D, generator=generator(0))))


@pytest.fixture
def states():
    return torch.randn(N, D, generator=generator(1))


def log_u():
    return torch.randn(V, generator=generator(2)).log_softmax(dim=0)


def plain_kl(p_states, log_q, head):
    log_p = (p_states.double() @ head.wide.T.double()).log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1).float()


def written_out(kept, log_u):
    """All log-probabilities of a sparse code, (n, V)."""
    log_q = kept.log_rest[:, None] + log_u
    for i in range(len(log_q)):
        log_q[i, kept.tokens[i][kept.counted[i]]] = kept.log_q[i][kept.counted[i]]
    return log_q


def test_the_kl_of_states_is_that_of_their_distributions(head, states):
    teacher = teacher_of(states, head, 3, log_u())
    other = states + torch.randn(N, D, generator=generator(3))
    log_q = (other.double() @ head.wide.T.double()).log_softmax(dim=1)
    torch.testing.assert_close(state_kl(other, states, teacher, head), plain_kl(states, log_q, head))
    assert float(state_kl(states, states, teacher, head).abs().max()) == 0


def test_what_is_kept_of_the_teacher(head, states):
    teacher = teacher_of(states, head, 3, log_u())
    p = (states @ head.wide.T).softmax(dim=1)
    torch.testing.assert_close(teacher.mean_row, p @ head.wide)
    torch.testing.assert_close(teacher.entropy, -(p * p.log()).sum(dim=1))
    torch.testing.assert_close(teacher.mean_log_u, p @ log_u())
    torch.testing.assert_close(teacher.mean_p, p.mean(dim=0))
    assert torch.equal(teacher.tokens, p.topk(3, dim=1).indices)
    torch.testing.assert_close(teacher.log_p, p.topk(3, dim=1).values.log())


def test_a_square_in_the_metric_of_the_head_is_the_variance_of_the_logits(head, states):
    logits = (states @ head.wide.T).double()
    squares = (states @ head_metric(head)).square().sum(dim=1)
    torch.testing.assert_close(squares.double(), logits.var(dim=1, correction=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("k", [0, 1, 3])
def test_the_kl_of_top_tokens_is_that_of_what_they_say_written_out(head, states, k):
    teacher = teacher_of(states, head, 3, log_u())
    kept, size = top_tokens(teacher, k, log_u())
    log_q = written_out(kept, log_u())
    torch.testing.assert_close(log_q.exp().sum(dim=1), torch.ones(N))
    found = sparse_kl(kept, states, teacher, head, log_u())
    torch.testing.assert_close(found, plain_kl(states, log_q, head), rtol=1e-3, atol=1e-4)
    assert size == -(-N * k * 6 // 8) + N * k  # six bits for a token of 40, a byte for its probability


def test_more_top_tokens_leave_less_and_all_leave_what_rounding_costs(head, states):
    teacher = teacher_of(states, head, V - 1, log_u())
    left = [float(sparse_kl(top_tokens(teacher, k, log_u())[0], states, teacher, head, log_u()).mean())
            for k in (0, 1, 2, 4, 8, V - 1)]  # fmt: skip
    assert left == sorted(left, reverse=True) and left[-1] < 1e-2


def test_shares_of_draws_have_the_teachers_distribution_as_their_mean(head, states):
    p, number = (states @ head.wide.T).softmax(dim=1), 400
    total = torch.zeros(N, V)
    for seed in range(number):
        kept, _ = draw_shares(sampled_tokens(states, head, 5, seed), 0.0, log_u())
        total.scatter_add_(1, kept.tokens, kept.log_q.exp() * kept.counted)
    errors = (total / number - p) / (p * (1 - p) / (5 * number)).sqrt().clamp_min(1e-3)
    assert float(errors.abs().max()) < 5 and float(errors.square().mean()) < 1.3


def test_the_shares_of_draws_by_hand():
    u = torch.tensor([0.1, 0.2, 0.3, 0.4])
    kept, size = draw_shares(torch.tensor([[2, 0, 2, 2], [1, 1, 1, 1]]), 1.0, u.log())
    assert kept.counted.tolist() == [[True, True, False, False], [True, False, False, False]]
    assert kept.tokens[0, :2].tolist() == [0, 2] and kept.tokens[1, 0] == 1
    torch.testing.assert_close(kept.log_q[0, :2].exp(), torch.tensor([1.1, 3.3]) / 5)
    torch.testing.assert_close(kept.log_rest.exp(), torch.tensor([0.2, 0.2]))
    assert size == 3 * 1  # two numbers of two bits, three of two, three of two: a byte each


def test_the_kl_of_draws_is_that_of_what_they_say_written_out(head, states):
    teacher = teacher_of(states, head, 3, log_u())
    kept, _ = draw_shares(sampled_tokens(states, head, 6, 0), 2.0, log_u())
    log_q = written_out(kept, log_u())
    torch.testing.assert_close(log_q.exp().sum(dim=1), torch.ones(N))
    found = sparse_kl(kept, states, teacher, head, log_u())
    torch.testing.assert_close(found, plain_kl(states, log_q, head), rtol=1e-3, atol=1e-4)
