"""On a GPU the losses, k-means, harvest, training and scores give what they give on the CPU. Nothing needs a GPU."""

import copy

import pytest
import torch
from accelerate.state import AcceleratorState
from senses.test_kmeans import ragged
from students.test_losses import example, sense_example, shared_head_loss, value_and_gradient
from tiny.models import LOWER_LAST, distill_settings, make_ids

from dskd.model.cut import trunk
from dskd.model.inference import Choices, Models, log_likelihoods
from dskd.model.logits import head_of
from dskd.params import HarvestParams, Objective
from dskd.scores.heldout import heldout_scores
from dskd.senses.kmeans import kmeans
from dskd.states.harvest import harvest
from dskd.states.store import Text, open_states
from dskd.students.sense_loss import sense_loss
from dskd.students.store import new_student
from dskd.students.train import Recipe, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def moved(*tensors):
    return [tensor.detach().cuda().requires_grad_(tensor.requires_grad) for tensor in tensors]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_output_loss(compiled, beta):
    given = example(dtype=torch.float32)
    weights = {"ce_weight": 1.0, "kl_weight": 0.7, "temperature": 2.0, "beta": beta, "chunk": 4, "compiled": compiled}
    there, here = (value_and_gradient(shared_head_loss(*g, **weights)[0], g[0]) for g in (moved(*given), given))
    torch.testing.assert_close([x.cpu() for x in there], list(here), rtol=1e-4, atol=1e-5)


def test_the_sense_loss():
    given = sense_example()
    there, here = (value_and_gradient(sense_loss(*g, 3.0, 4), g[0]) for g in (moved(*given), given))
    torch.testing.assert_close([x.cpu() for x in there], list(here), rtol=1e-4, atol=1e-5)


def test_k_means():
    x, sizes, keys = ragged()
    there, here = (kmeans(*g, 5, seed=0, iterations=30) for g in (moved(x, sizes, keys), (x, sizes, keys)))
    assert torch.equal(there[1].cpu(), here[1])
    torch.testing.assert_close(there[0].cpu(), here[0], rtol=1e-4, atol=1e-4)


def test_a_run_from_harvest_to_scores(teacher, tmp_path):
    """In float32, which a GPU may round otherwise; the kept states are of the CPU again."""
    ids, found = make_ids(8, 12), {}
    for device in ("cpu", "cuda"):
        model, folder = copy.deepcopy(teacher).to(device), tmp_path / device
        harvest(
            model, {"train": ids}, LOWER_LAST, HarvestParams(batch_size=2, shard_blocks=4), folder, "x", torch.float32
        )
        text = Text(open_states(folder, "train"), ids[:, 1:].long(), ids[:, :-1])
        student, head = new_student(model, model, LOWER_LAST), head_of(model)
        objective = Objective(ce=1.0, kl=0.7, hidden=1.0, sense=0.0, margin=1.0, targets="none", metric="whitened")
        recipe = Recipe(objective, distill_settings(checkpoint_steps=1), 0)
        AcceleratorState._reset_state(reset_partial_state=True)
        train(student, head, text, None, recipe, folder / "work")
        heldout = heldout_scores(student, head, text, 2)
        models = Models(trunk(model, LOWER_LAST), {"student": student.top}, head, None, 64)
        likely = log_likelihoods(models, [Choices([1, 2, 3], [[4, 5], [6]])])["student"][0]
        found[device] = [*(torch.cat(shards) for shards in text.states), *heldout.values(), torch.tensor(likely)]
    assert all(not tensor.is_cuda for tensor in found["cuda"])
    torch.testing.assert_close(found["cuda"], found["cpu"], rtol=1e-2, atol=1e-2)
