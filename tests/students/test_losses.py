import pytest
import torch
from tiny.models import generator
from torch.nn import functional as F

from dskd.errors import UserError
from dskd.model.logits import Head, LogitMap, float_logits, widened
from dskd.students.hidden_loss import hidden_loss
from dskd.students.output_loss import IGNORE, Heads, OutputWeights, output_loss
from dskd.students.sense_loss import sense_loss


def shared_head_loss(
    student, teacher, head, labels, *, ce_weight, kl_weight, temperature, beta=0.0, logit_map=None, **options
):
    """`output_loss` of a student that has the teacher's head."""
    both = Head(head, logit_map)
    weights = OutputWeights(ce_weight, kl_weight, temperature, beta)
    return output_loss(student, teacher, labels, Heads(both, both), weights, **options)


def naive_output_loss(student, teacher, head, labels, ce_weight, kl_weight, temperature, beta=0.0, form=lambda z: z):
    """docs/method.md, section 4 in float64 with all logits at once: loss, CE, divergence."""
    kept = labels != IGNORE
    student, teacher = (form(states[kept].double() @ head.double().T) for states in (student, teacher))
    ce = F.cross_entropy(student, labels[kept])
    log_q, log_p = ((logits / temperature).log_softmax(dim=1) for logits in (student, teacher))
    kl = naive_divergence(log_p, log_q, beta)
    return ce_weight * ce + kl_weight * temperature**2 * kl, ce, kl


def naive_divergence(log_p, log_q, beta):
    """Mean over rows, by torch's own KL (log_target: KL(target || input)) to the mixture of Agarwal et al. 2024."""

    def kl(target, q):
        return F.kl_div(q, target, reduction="batchmean", log_target=True)

    if beta in (0, 1):
        return kl(log_p, log_q) if beta == 0 else kl(log_q, log_p)
    mixture = (beta * log_p.exp() + (1 - beta) * log_q.exp()).log()
    return beta * kl(log_p, mixture) + (1 - beta) * kl(log_q, mixture)


def example(n=13, d=7, vocabulary=37, dtype=torch.float64, ignored=(0, 4, 12), seed=0):
    g = generator(seed)
    student, teacher = (torch.randn(n, d, generator=g, dtype=torch.float64).to(dtype) for _ in range(2))
    head = torch.randn(vocabulary, d, generator=g, dtype=torch.float64).to(dtype)
    labels = torch.randint(0, vocabulary, (n,), generator=g)
    labels[list(ignored)] = IGNORE
    return student.requires_grad_(), teacher, head, labels


def value_and_gradient(loss, student):
    (gradient,) = torch.autograd.grad(loss, student)
    return loss.detach(), gradient


@pytest.mark.parametrize("chunk", [1, 4, 5, 10, 256])  # 10 positions count: a last partial chunk, none, one chunk
@pytest.mark.parametrize("weights", [(1.0, 0.7, 2.0), (1.0, 0.0, 2.0), (0.0, 1.0, 1.0), (0.3, 2.0, 0.5)])
def test_output_loss_has_the_value_and_gradient_of_the_naive_form(chunk, weights):
    student, teacher, head, labels = example()
    ce_weight, kl_weight, temperature = weights
    loss, ce, kl = shared_head_loss(
        student,
        teacher,
        head,
        labels,
        ce_weight=ce_weight,
        kl_weight=kl_weight,
        temperature=temperature,
        chunk=chunk,
    )
    true_loss, true_ce, true_kl = naive_output_loss(student, teacher, head, labels, *weights)
    torch.testing.assert_close(ce, true_ce.detach(), rtol=1e-12, atol=0)
    if kl_weight:
        torch.testing.assert_close(kl, true_kl.detach(), rtol=1e-12, atol=0)
    assert not ce.requires_grad and not kl.requires_grad
    found, true = value_and_gradient(3 * loss, student), value_and_gradient(3 * true_loss, student)
    torch.testing.assert_close(found, true, rtol=1e-11, atol=1e-13)
    assert (found[1][labels == IGNORE] == 0).all()


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("compiled", [False, True])
def test_every_divergence_has_the_value_and_gradient_of_the_naive_form(beta, compiled):
    student, teacher, head, labels = example()
    weights = {"ce_weight": 0.5, "kl_weight": 0.7, "temperature": 2.0, "beta": beta}
    loss, _, divergence = shared_head_loss(student, teacher, head, labels, chunk=4, compiled=compiled, **weights)
    true_loss, _, true = naive_output_loss(student, teacher, head, labels, *weights.values())
    torch.testing.assert_close(divergence, true.detach(), rtol=1e-11, atol=0)
    found, right = value_and_gradient(loss, student), value_and_gradient(true_loss, student)
    torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "logit_map, form",
    [
        (LogitMap(softcap=2.0), lambda z: 2 * (z / 2).tanh()),
        (LogitMap(scale=0.3), lambda z: 0.3 * z),
        (LogitMap(scale=1.5, softcap=4.0), lambda z: 4 * (1.5 * z / 4).tanh()),
        (LogitMap(), lambda z: z),
    ],
)
def test_mapped_logits_have_the_value_and_gradient_of_the_naive_form(logit_map, form, compiled):
    student, teacher, head, labels = example()
    weights = {"ce_weight": 0.5, "kl_weight": 0.7, "temperature": 2.0, "beta": 0.5}
    options = {"chunk": 4, "compiled": compiled, "logit_map": logit_map}
    loss, ce, divergence = shared_head_loss(student, teacher, head, labels, **weights, **options)
    true_loss, true_ce, true = naive_output_loss(student, teacher, head, labels, *weights.values(), form)
    torch.testing.assert_close((ce, divergence), (true_ce.detach(), true.detach()), rtol=1e-11, atol=0)
    found, right = value_and_gradient(loss, student), value_and_gradient(true_loss, student)
    torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_teacher_who_is_certain_gives_no_nan(beta):
    student, teacher, head, labels = example(dtype=torch.float32)
    weights = {"ce_weight": 1.0, "kl_weight": 1.0, "temperature": 1.0, "beta": beta}
    loss, _, _ = shared_head_loss(student, 1000 * teacher, head, labels, **weights)  # probabilities of 0 and 1
    value, gradient = value_and_gradient(loss, student)
    assert value.isfinite() and gradient.isfinite().all()


def test_output_loss_handles_one_position_one_dimension_and_two_words():
    student, teacher, head, labels = example(n=1, d=1, vocabulary=2, ignored=())
    weights = {"ce_weight": 1.0, "kl_weight": 0.7, "temperature": 2.0}
    found = value_and_gradient(shared_head_loss(student, teacher, head, labels, **weights)[0], student)
    true = value_and_gradient(naive_output_loss(student, teacher, head, labels, *weights.values())[0], student)
    torch.testing.assert_close(found, true, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("n", [0, 6])
def test_a_batch_without_a_position_that_counts_gives_zero_and_a_zero_gradient(n):
    student, teacher, head, labels = example(n=n, ignored=range(n))
    terms = shared_head_loss(student, teacher, head, labels, ce_weight=1.0, kl_weight=0.7, temperature=2.0)
    assert [float(term.detach()) for term in terms] == [0, 0, 0]
    assert (value_and_gradient(terms[0], student)[1] == 0).all()


def test_a_second_derivative_is_refused_and_not_a_part_of_one():
    """The gradient of the sweep is a constant to autograd, so that a Hessian would lack its largest part."""
    student, teacher, head, labels = example()
    student.requires_grad_(True)
    loss, _, _ = shared_head_loss(student, teacher, head, labels, ce_weight=1.0, kl_weight=0.7, temperature=2.0)
    (first,) = torch.autograd.grad(loss, student, retain_graph=True)
    assert first.any()
    with pytest.raises(UserError, match="no second derivative"):
        torch.autograd.grad(loss + student.square().sum(), student, create_graph=True)


def test_splitting_a_batch_with_the_global_count_changes_nothing():
    student, teacher, head, labels = example()
    weights = {"ce_weight": 1.0, "kl_weight": 0.7, "temperature": 2.0}
    whole = value_and_gradient(shared_head_loss(student, teacher, head, labels, **weights)[0], student)
    count = int((labels != IGNORE).sum())
    parts = [slice(0, 1), slice(1, 6), slice(6, 13)]  # the first holds an ignored position only
    split = sum(shared_head_loss(student[p], teacher[p], head, labels[p], count=count, **weights)[0] for p in parts)
    torch.testing.assert_close(value_and_gradient(split, student), whole, rtol=1e-12, atol=1e-14)


def test_the_student_that_is_the_teacher_has_no_divergence():
    student, _, head, labels = example()
    weights = {"ce_weight": 0.0, "kl_weight": 1.0, "temperature": 2.0}
    loss, _, kl = shared_head_loss(student, student.detach(), head, labels, **weights)
    assert abs(float(kl)) < 1e-15
    assert value_and_gradient(loss, student)[1].abs().max() < 1e-15


def test_bfloat16_states_give_the_true_loss_of_those_states_within_their_rounding():
    student, teacher, head, labels = example(n=200, d=64, vocabulary=300, dtype=torch.bfloat16)
    with torch.no_grad():
        head /= 8  # logits of variance 1
    weights = {"ce_weight": 1.0, "kl_weight": 0.7, "temperature": 2.0}
    loss, ce, kl = shared_head_loss(student, teacher, head, labels, **weights, chunk=64)
    assert loss.dtype == torch.float32
    true_loss, true_ce, true_kl = naive_output_loss(student, teacher, head, labels, *weights.values())
    torch.testing.assert_close(torch.stack([loss, ce, kl]).double(), torch.stack([true_loss, true_ce, true_kl]),
                               rtol=2e-3, atol=0)  # fmt: skip
    found, true = value_and_gradient(loss, student)[1], value_and_gradient(true_loss, student)[1]
    assert found.dtype == torch.bfloat16
    assert (found.double() - true.double()).norm() < 0.01 * true.double().norm()


def test_the_compiled_loss_is_the_plain_one_within_rounding():
    student, teacher, head, labels = example(dtype=torch.float32)
    weights = {"ce_weight": 1.0, "kl_weight": 0.7, "temperature": 2.0, "chunk": 4}
    plain, fused = (
        value_and_gradient(shared_head_loss(student, teacher, head, labels, compiled=c, **weights)[0], student)
        for c in (False, True)
    )
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-6)


def test_hidden_loss_is_the_mean_square_of_each_position_written_plainly():
    student, teacher, _, _ = example(dtype=torch.float32)
    found = value_and_gradient(hidden_loss(student, teacher, 20), student)
    plain = sum(((s - h) ** 2).sum() / 7 for s, h in zip(student.double(), teacher.double())) / 20
    torch.testing.assert_close(found, value_and_gradient(plain.float(), student), rtol=1e-5, atol=1e-6)
    assert float(hidden_loss(student[:0], teacher[:0], 0).detach()) == 0
    one = ((student[0] - teacher[0]) ** 2).mean()
    torch.testing.assert_close(hidden_loss(student[:1], teacher[:1], 1), one)


def plain_sense_loss(student, vectors, pull, push, margin, count):
    """docs/method.md, section 4, position by position."""
    total = student.new_zeros(())
    for s, near, far in zip(student, pull.tolist(), push.tolist()):
        distances = [((s - vectors[r]) ** 2).sum() / len(s) for r in near if r >= 0]
        hinges = [torch.relu(margin - ((s - vectors[a]) ** 2).sum() / len(s)) for a in far if a >= 0]
        for members in (distances, hinges):
            if members:
                total = total + sum(members) / len(members)
    return total / count


def sense_example():
    student, _, _, _ = example(n=5, d=6, dtype=torch.float32, ignored=())
    vectors = torch.randn(9, 6, generator=generator(1))
    # full; fewer than kappa; no push; one beyond the margin; neither (padding of a batch)
    pull = torch.tensor([[0, 1, 2], [3, 4, -1], [5, -1, -1], [0, 8, 2], [-1, -1, -1]], dtype=torch.int32)
    push = torch.tensor([[6, 7, 8], [6, -1, -1], [-1, -1, -1], [1, 2, -1], [-1, -1, -1]], dtype=torch.int32)
    return student, vectors, pull, push


@pytest.mark.parametrize("margin", [0.0, 1.0, 3.0])
def test_sense_loss_is_the_loop_over_positions_of_the_method(margin):
    student, vectors, pull, push = sense_example()
    found = value_and_gradient(sense_loss(student, vectors, pull, push, margin, 4), student)
    wide = student.detach().double().requires_grad_()
    value, gradient = value_and_gradient(plain_sense_loss(wide, vectors.double(), pull, push, margin, 4), wide)
    torch.testing.assert_close(found, (value.float(), gradient.float()), rtol=1e-5, atol=1e-6)


def test_some_hinges_of_the_example_are_active_and_some_are_not():
    student, vectors, _, push = sense_example()
    distances = [
        float(((student[i] - vectors[a]) ** 2).mean().detach()) for i, row in enumerate(push) for a in row if a >= 0
    ]
    assert min(distances) < 3.0 < max(distances)


def test_the_pull_has_the_gradient_of_the_distance_to_the_mean_of_its_senses():
    student, vectors, pull, push = sense_example()
    pull, none = pull[:4], push[:4].clone().fill_(-1)
    _, found = value_and_gradient(sense_loss(student[:4], vectors, pull, none, 1.0, 4), student)
    means = torch.stack([vectors[[r for r in row if r >= 0]].mean(dim=0) for row in pull.tolist()])
    _, true = value_and_gradient(((student[:4] - means) ** 2).mean(dim=1).sum() / 4, student)
    torch.testing.assert_close(found, true, rtol=1e-5, atol=1e-6)


def test_sense_loss_without_positions_is_zero_with_a_gradient_of_zero():
    student, vectors, pull, push = sense_example()
    value, gradient = value_and_gradient(sense_loss(student[:0], vectors, pull[:0], push[:0], 1.0, 0), student)
    assert float(value) == 0 and (gradient == 0).all()


def test_no_gradient_reaches_the_teacher_or_a_frozen_head():
    student, teacher, head, labels = example()
    teacher.requires_grad_()
    loss, _, _ = shared_head_loss(student, teacher, head, labels, ce_weight=1.0, kl_weight=0.7, temperature=2.0)
    loss.backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None and head.grad is None


@pytest.mark.parametrize("chunk", [2, 100])
def test_the_gradient_in_a_head_that_trains_is_that_of_the_definition(chunk):
    student, teacher, head, labels = example()
    own = torch.randn(head.shape, dtype=head.dtype, generator=generator(7)).requires_grad_()
    weights = OutputWeights(0.8, 0.6, 2.0)
    loss, _, _ = output_loss(student, teacher, labels, Heads(Head(own), Head(head)), weights, chunk=chunk)
    (found,) = torch.autograd.grad(loss, own)
    kept = labels != IGNORE
    logits, soft = student[kept] @ own.T, teacher[kept] @ head.T
    p, q = ((x / 2.0).log_softmax(dim=1) for x in (soft, logits))
    kl = (p.exp() * (p - q)).sum(dim=1).mean()
    wanted = 0.8 * F.cross_entropy(logits, labels[kept]) + 0.6 * 4.0 * kl
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(found, torch.autograd.grad(wanted, own)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_logits_are_float32_products_whatever_the_dtype(dtype):
    states = torch.randn(64, 96, generator=generator(0)).to(dtype)
    head = torch.randn(512, 96, generator=generator(1)).to(dtype)
    exact, before = states.double() @ head.double().T, torch.backends.mkldnn.matmul.fp32_precision
    out = torch.empty(64, 512)
    for found in (float_logits(states, widened(Head(head))), float_logits(states, widened(Head(head)), out)):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-4)  # bfloat16 logits would be off by .1
    assert found.data_ptr() == out.data_ptr()
    assert torch.backends.mkldnn.matmul.fp32_precision == before
