"""The second form of the sense term, and the whitened metric: values by hand, gradients against differences."""

import pytest
import torch
from tiny.models import generator

from dskd.students.hidden_loss import whitening
from dskd.students.sense_loss import span_loss

N, D, R = 5, 8, 12


@pytest.fixture
def made():
    g = generator(0)
    student, teacher = (torch.randn(N, D, generator=g, dtype=torch.float64) for _ in range(2))
    vectors = torch.randn(R, D, generator=g, dtype=torch.float64)
    pull = torch.tensor([[0, 1, 2], [3, -1, -1], [4, 5, -1], [-1, -1, -1], [6, 7, 8]], dtype=torch.int32)
    push = torch.tensor([[9, -1, -1], [-1, -1, -1], [10, 11, 0], [-1, -1, -1], [1, 2, -1]], dtype=torch.int32)
    return student, teacher, vectors, pull, push


def test_span_sees_the_error_that_senses_speak_of_and_no_other(made):
    _, teacher, vectors, *_ = made
    inside = (vectors[0] - teacher[0]) * 0.3 - (vectors[9] - teacher[0]) * 0.2
    directions = torch.stack([vectors[r] - teacher[0] for r in (0, 1, 2, 9)])
    outside = torch.linalg.svd(directions).Vh[-1]  # at a right angle to all of them
    one = teacher.clone()
    one[0] += inside
    assert float(span_loss(one, *made[1:])[0]) == pytest.approx(float(inside.square().mean()), rel=1e-2)
    one[0] += 5 * outside
    assert float(span_loss(one, *made[1:])[0]) == pytest.approx(float(inside.square().mean()), rel=1e-2)
    assert float(span_loss(teacher + 1, *made[1:])[3]) == 0


def test_the_teacher_s_own_states_have_no_loss_and_others_none_below_0(made):
    student, teacher, *rest = made
    assert span_loss(teacher, teacher, *rest).abs().max() < 1e-6
    assert (span_loss(student, teacher, *rest) >= -1e-6).all()


def test_the_gradient_is_that_of_the_value_and_finite_everywhere(made):
    student, *rest = made
    student = student.float().requires_grad_()
    loss = span_loss(student, *rest).sum()
    loss.backward()
    assert student.grad.isfinite().all()
    direction = torch.randn(student.shape, generator=generator(1))
    step = 1e-2
    with torch.no_grad():
        ahead, behind = (span_loss(student + sign * step * direction, *rest).sum() for sign in (1, -1))
    slope = float((student.grad * direction).sum())
    assert float(ahead - behind) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=1e-3)


def test_rows_that_are_absent_change_nothing(made):
    student, teacher, vectors, pull, push = made
    wider = torch.nn.functional.pad(pull, (0, 2), value=-1)
    torch.testing.assert_close(span_loss(*made), span_loss(student, teacher, vectors, wider, push))


def test_whitened_states_have_one_variance_in_every_direction():
    g = generator(2)
    states = torch.randn(4000, D, generator=g) @ torch.randn(D, D, generator=g) + 3
    found = (states @ whitening(states)).T.cov()
    torch.testing.assert_close(found, torch.eye(D) * states.T.cov().trace() / D, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("unit", [0.01, 1.0, 100.0])
def test_the_unit_of_states_is_that_of_the_loss_also_where_two_senses_are_one(made, unit):
    student, teacher, vectors, pull, push = made
    vectors[1] = vectors[0]  # two directions are parallel
    for row, other in ((0, [0, 2, 9]), (1, [3]), (2, [4, 5, 10, 11, 0])):
        directions = (vectors[other] - teacher[row]).T
        error = student[row] - teacher[row]
        part = directions @ torch.linalg.lstsq(directions, error[:, None]).solution[:, 0]
        found = span_loss(unit * student, unit * teacher, unit * vectors, pull, push)[row]
        assert float(found) == pytest.approx(unit**2 * float(part.square().mean()), rel=2e-2)


@pytest.mark.parametrize("unit", [0.01, 1.0, 100.0])
def test_directions_in_which_states_hardly_differ_count_no_more_than_a_thousandth_of_the_mean(unit):
    g = generator(3)
    states = unit * torch.randn(500, D, generator=g, dtype=torch.float64) * torch.tensor([4.0, 2, 1, 1, 1, 1, 1, 1e-5])
    values, vectors = torch.linalg.eigh(states.T.cov())
    kept = values.clamp_min(values.mean() / 1000)
    assert int((kept != values).sum()) == 1
    roots = (kept / values.sum()).sqrt() * ((values / kept).sum()).sqrt()  # such that the mean variance stays
    true = vectors @ torch.diag(1 / roots) @ vectors.T
    found = whitening(states)
    torch.testing.assert_close(found.double(), true, rtol=1e-4, atol=1e-4)
    assert float((states @ found.double()).T.cov().trace()) == pytest.approx(float(values.sum()), rel=1e-4)
