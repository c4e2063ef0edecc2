"""What is pure tensor arithmetic gives on a GPU what it gives on the CPU. Nothing needs a GPU."""

import pytest
import torch
from test_kmeans import ragged
from test_losses import example, sense_example, value_and_gradient

from dskd.kmeans import kmeans
from dskd.losses import output_loss, sense_loss

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def moved(*tensors):
    return [tensor.detach().cuda().requires_grad_(tensor.requires_grad) for tensor in tensors]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_output_loss(compiled, beta):
    given = example(dtype=torch.float32)
    weights = {"ce_weight": 1.0, "kl_weight": 0.7, "temperature": 2.0, "beta": beta, "chunk": 4, "compiled": compiled}
    there, here = (value_and_gradient(output_loss(*g, **weights)[0], g[0]) for g in (moved(*given), given))
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
