"""The step of this project is the published one: same loss, same gradient."""

import pytest
import torch
from speed.published import published_step
from students.test_train import fresh_accelerator, make_data, make_lexicon, make_text, uncompiled  # noqa: F401 (fixtures)
from tiny.models import LOWER_LAST, distill_settings

from dskd.model.cut import split_depth, student_top
from dskd.model.parts import run_part
from dskd.params import Objective
from dskd.students.batches import load_batch
from dskd.students.store import assemble_student
from dskd.students.train import step_loss
from dskd.targets.choose import candidates, sample_positions, trimmed_lexicon


@pytest.mark.parametrize("block", [7, 20])
def test_a_step_has_the_loss_and_the_gradient_of_the_published_one(teacher, block):
    states, labels, targets = make_data(teacher)
    *lexicon, settings = make_lexicon(states, labels)
    vectors, by_token = candidates(trimmed_lexicon(*lexicon, settings))
    related = {token for token, c in by_token.items() if len(c.synonyms) or len(c.antonyms)}
    with_relations, own_only = sample_positions(labels, related, set(by_token), settings)
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

    top = student_top(teacher, LOWER_LAST)
    batch = load_batch(states, labels, targets, torch.float32, torch.tensor([block]))
    hidden_states = run_part(top, states=batch.split_states)
    head = teacher.get_output_embeddings().weight
    ours, terms = step_loss(hidden_states, head, batch, targets.vectors, objective, distill_settings())
    ours.backward()
    assert terms["sense"] > 0
    assert float(ours.detach()) == pytest.approx(theirs, rel=1e-5)
    for weight, gradient in zip(top.layers.parameters(), their_gradient, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-3, atol=2e-5)
