import pytest
import torch
from tiny.families import make_decoder
from tiny.models import LOWER_LAST, make_ids, make_states
from torch.nn import functional as F

from dskd.model.cut import teacher_top
from dskd.model.logits import head_of
from dskd.scores.heldout import heldout_scores
from dskd.states.store import Text
from dskd.students.store import Student, assemble_student, new_student

IDS = make_ids(7, 11)
LABELS = IDS[:, 1:].long()


def text_of(teacher, shard=3):
    return Text(make_states(teacher, IDS, LOWER_LAST, shard=shard), LABELS, IDS[:, :-1])


@pytest.fixture(scope="module")
def text(teacher):
    return text_of(teacher)


def other_student(teacher):
    student = new_student(teacher, teacher, LOWER_LAST)
    with torch.no_grad():
        for weight in student.top.layers.parameters():
            weight.mul_(0.9)
    return student


def test_the_teacher_agrees_with_itself_and_has_its_own_cross_entropy(teacher, text):
    scores = heldout_scores(None, head_of(teacher), text, batch_size=3)
    assert (scores["kl"] == 0).all() and (scores["agreement"] == 1).all()
    with torch.no_grad():
        logits = teacher(input_ids=IDS[:, :-1].long()).logits.double()
    true = torch.stack([F.cross_entropy(block, labels) for block, labels in zip(logits, LABELS)])
    assert scores["ce"].dtype == torch.float64
    torch.testing.assert_close(scores["ce"], true, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gemma2", "cohere"])  # plain logits, capped ones, scaled ones
@torch.no_grad()
def test_a_student_is_scored_against_the_teacher_position_by_position(family):
    teacher = make_decoder(family)
    student = other_student(teacher)
    scores = heldout_scores(student, head_of(teacher), text_of(teacher), 3)
    student = assemble_student(teacher, student.top, LOWER_LAST)
    q, p = (model(input_ids=IDS[:, :-1].long()).logits.double().log_softmax(2) for model in (student, teacher))
    ce = -q.gather(2, LABELS[..., None])[..., 0].mean(dim=1)
    kl = F.kl_div(q, p, reduction="none", log_target=True).sum(dim=2).mean(dim=1)
    agreement = (q.argmax(2) == p.argmax(2)).double().mean(dim=1)
    assert 0 < agreement.mean() < 1 and (kl > 0).all()
    torch.testing.assert_close(scores, {"ce": ce, "kl": kl, "agreement": agreement}, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_held_out_scores_do_not_depend_on_the_batch(teacher, text, batch_size):
    arguments = other_student(teacher), head_of(teacher), text
    torch.testing.assert_close(heldout_scores(*arguments, batch_size), heldout_scores(*arguments, 7))


def test_the_teacher_s_divergence_is_nothing_in_bfloat16_too(bf16_teacher):
    text, head = text_of(bf16_teacher, 1000), head_of(bf16_teacher)
    assert (heldout_scores(None, head, text, 4)["kl"] == 0).all()
    # Run again from the split in other batches: rounding only.
    scores = heldout_scores(Student(teacher_top(bf16_teacher, LOWER_LAST), head), head, text, 3)
    assert scores["kl"].abs().max() < 1e-3
