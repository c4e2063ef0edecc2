"""`make gpu` where there is no GPU: all of it at a tiny size."""

import pytest
import torch
from accelerate.state import AcceleratorState
from speed import gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would measure this GPU")
def test_the_script_finds_every_path_right(capsys, monkeypatch):
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setattr("dskd.students.output_loss.fused", lambda function: function)  # compiling takes longer than all
    assert gpu.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("off float64" in line for line in lines) == 3
    for figure in ("harvest", "training, sampled vocabulary", "output loss against plain PyTorch", "k-means"):
        assert any(line.startswith(figure) for line in lines), figure
