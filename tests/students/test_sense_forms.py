"""Other forms of the sense term: values by hand, gradients against differences, and what each leaves free."""

import math

import pytest
import torch
from tiny.models import generator

from dskd.students.sense_forms import FORMS, assignment, contrast, metric, shifted, span

N, D, R = 5, 8, 12


@pytest.fixture
def made():
    g = generator(0)
    student, teacher = (torch.randn(N, D, generator=g, dtype=torch.float64) for _ in range(2))
    vectors = torch.randn(R, D, generator=g, dtype=torch.float64)
    pull = torch.tensor([[0, 1, 2], [3, -1, -1], [4, 5, -1], [-1, -1, -1], [6, 7, 8]], dtype=torch.int32)
    push = torch.tensor([[9, -1, -1], [-1, -1, -1], [10, 11, 0], [-1, -1, -1], [1, 2, -1]], dtype=torch.int32)
    return student, teacher, vectors, pull, push


def rows_of(made, i):
    student, teacher, vectors, pull, push = made
    near, far = ([vectors[r].float() for r in rows[i].tolist() if r >= 0] for rows in (pull, push))
    return student[i].float(), teacher[i].float(), near, far


def softmax(state, senses, scale):
    weights = [math.exp(-float((state - r).square().mean()) / scale) for r in senses]
    return [w / sum(weights) for w in weights]


def test_assignment_is_the_divergence_of_two_softmaxes(made):
    found = assignment(*made, 0.7)
    for i in range(N):
        s, h, near, far = rows_of(made, i)
        p, q = (softmax(state, near + far, 0.7) for state in (h, s)) if near else ([], [])
        assert float(found[i]) == pytest.approx(sum(a * math.log(a / b) for a, b in zip(p, q)), abs=1e-5)


def test_contrast_is_what_the_pulling_senses_do_not_have(made):
    found = contrast(*made, 0.7)
    for i in range(N):
        s, _, near, far = rows_of(made, i)
        share = sum(softmax(s, near + far, 0.7)[: len(near)]) if near else 1.0
        assert float(found[i]) == pytest.approx(-math.log(share), abs=1e-5)
    assert found[1] == found[3] == 0  # nothing pushes; nothing at all


def test_span_sees_the_error_that_senses_speak_of_and_no_other(made):
    _, teacher, vectors, *_ = made
    inside = (vectors[0] - teacher[0]) * 0.3 - (vectors[9] - teacher[0]) * 0.2
    directions = torch.stack([vectors[r] - teacher[0] for r in (0, 1, 2, 9)])
    outside = torch.linalg.svd(directions).Vh[-1]  # at a right angle to all of them
    one = teacher.clone()
    one[0] += inside
    assert float(span(one, *made[1:], 1.0)[0]) == pytest.approx(float(inside.square().mean()), rel=1e-2)
    one[0] += 5 * outside
    assert float(span(one, *made[1:], 1.0)[0]) == pytest.approx(float(inside.square().mean()), rel=1e-2)
    assert float(span(teacher + 1, *made[1:], 1.0)[3]) == 0


def test_shifted_is_the_teacher_s_state_moved_a_little(made):
    student, teacher, vectors, *_ = made
    target = teacher[0] + 0.1 * (vectors[:3].mean(dim=0) - teacher[0]) - 0.1 * (vectors[9] - teacher[0])
    expected = (student[0] - target).square().mean()
    assert float(shifted(*made, 0.1)[0]) == pytest.approx(float(expected), rel=1e-5)
    plain = (student[3] - teacher[3]).square().mean()
    assert float(shifted(*made, 0.1)[3]) == pytest.approx(float(plain), rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_student_at_the_teacher_s_states_has_the_least_loss_where_the_teacher_is_the_aim(made, form):
    student, teacher, *rest = made
    if form in ("assignment", "span"):
        assert FORMS[form](teacher, teacher, *rest, 0.5).abs().max() < 1e-6
    assert (FORMS[form](student, teacher, *rest, 0.5) >= -1e-6).all()


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_is_that_of_the_value_and_finite_everywhere(made, form):
    student, *rest = made
    student = student.float().requires_grad_()
    loss = FORMS[form](student, *rest, 0.5).sum()
    loss.backward()
    assert student.grad.isfinite().all()
    direction = torch.randn(student.shape, generator=generator(1))
    step = 1e-2
    with torch.no_grad():
        ahead, behind = (FORMS[form](student + sign * step * direction, *rest, 0.5).sum() for sign in (1, -1))
    slope = float((student.grad * direction).sum())
    assert float(ahead - behind) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_rows_that_are_absent_change_nothing(made, form):
    student, teacher, vectors, pull, push = made
    wider = torch.nn.functional.pad(pull, (0, 2), value=-1)
    torch.testing.assert_close(FORMS[form](*made, 0.5), FORMS[form](student, teacher, vectors, wider, push, 0.5))


def test_whitened_states_have_one_variance_in_every_direction():
    g = generator(2)
    states = torch.randn(4000, D, generator=g) @ torch.randn(D, D, generator=g) + 3
    found = (states @ metric("whitened", states, states[:R])).T.cov()
    torch.testing.assert_close(found, torch.eye(D) * states.T.cov().trace() / D, rtol=1e-3, atol=1e-2)


def test_the_metric_of_logits_measures_the_differences_of_all_logits():
    g = generator(3)
    states, head = torch.randn(4000, D, generator=g), torch.randn(R, D, generator=g)
    m = metric("logits", states, head)
    a, b = ((states[0] - states[i]).square().sum() for i in (1, 2))
    inside = [((states[0] - states[i]) @ m).square().sum() for i in (1, 2)]
    of_logits = [((states[0] - states[i]) @ head.T).square().sum() for i in (1, 2)]
    assert float(inside[0] / inside[1]) == pytest.approx(float(of_logits[0] / of_logits[1]), rel=1e-3)
    assert float(of_logits[0] / of_logits[1]) != pytest.approx(float(a / b), rel=1e-3)
    assert float((states @ m).T.cov().trace()) == pytest.approx(float(states.T.cov().trace()), rel=1e-3)
