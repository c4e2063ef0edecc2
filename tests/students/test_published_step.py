"""The step of this project is the published one: same loss, same gradient."""

import pytest
import torch
from speed.published import published_step
from students.test_train import fresh_accelerator, make_data, make_lexicon, make_text, uncompiled  # noqa: F401 (fixtures)
from tiny.models import LOWER_LAST, distill_settings, make_teacher

from dskd.model.cut import split_depth, student_top
from dskd.model.logits import head_of
from dskd.model.parts import run_part
from dskd.params import Objective
from dskd.students.batches import Reader, load_batch
from dskd.students.store import assemble_student, new_student
from dskd.students.train import Recipe, make_goal, step_loss
from dskd.targets.choose import candidates, sample_positions, trimmed_lexicon


@pytest.mark.parametrize("block", [7, 20])
def test_a_step_has_the_loss_and_the_gradient_of_the_published_one(block):
    teacher = make_teacher()  # its own: transformers leaves hooks in layers that are asked for hidden states
    text, targets = make_data(teacher)
    *lexicon, settings = make_lexicon(text.states, text.labels)
    vectors, by_token = candidates(trimmed_lexicon(*lexicon, settings))
    related = {token for token, c in by_token.items() if len(c.synonyms) or len(c.antonyms)}
    with_relations, own_only = sample_positions(text.labels, related, set(by_token), settings)
    assert torch.equal((with_relations | own_only), (targets.pull >= 0).any(dim=2)) and own_only[block].any()
    assert (targets.push[block] >= 0).any()
    objective = Objective(ce=1.0, kl=0.7, hidden=0.0, sense=0.5, margin=40.0, targets="lexicon")

    top = student_top(teacher, LOWER_LAST)
    before = [weight.detach().clone() for weight in top.layers.parameters()]
    student = assemble_student(teacher, top, LOWER_LAST)
    layers = student.base_model.layers[split_depth(LOWER_LAST) :]
    ids = make_text()[block].long()
    masks = with_relations[block], own_only[block]
    given = ids, *masks, vectors, by_token, objective, 2.0, settings.neighbours
    theirs = published_step(teacher, student, torch.optim.SGD(layers.parameters(), lr=1.0), *given)
    their_gradient = [old - new for old, new in zip(before, layers.parameters())]

    student = new_student(teacher, teacher, LOWER_LAST)
    batch = load_batch(Reader(text, targets, torch.float32), torch.tensor([block]))
    hidden_states = run_part(student.top, states=batch.split_states)
    recipe = Recipe(objective, distill_settings(), 0)
    goal = make_goal(recipe, head_of(teacher), text.states, targets, torch.device("cpu"))
    ours, terms = step_loss(student, hidden_states, batch, goal)
    ours.backward()
    assert terms["sense"] > 0
    assert float(ours.detach()) == pytest.approx(theirs, rel=1e-5)
    for weight, gradient in zip(student.top.layers.parameters(), their_gradient, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-3, atol=2e-5)
