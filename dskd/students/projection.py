"""The map from a student's states to the teacher's, where their spaces differ."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import skip_init
from transformers import PreTrainedModel

from dskd.model.cut import student_layers
from dskd.model.parts import part, run_part
from dskd.params import StudentParams
from dskd.states.store import Text, take_blocks

_BLOCKS, _BATCH = 64, 4  # that the map is fitted on, and of these in memory at one time


@torch.no_grad()
def fitted_projection(origin: PreTrainedModel, student: StudentParams, text: Text) -> nn.Linear:
    """The affine map that takes the untrained student's last states nearest to the teacher's: least squares over up to
    64 blocks spread evenly over the text, with a slight ridge, in float64; so it is no matter of chance."""
    whole = part(origin, student_layers(student, origin.config.num_hidden_layers), norm=True)
    gram = cross = 0
    for blocks in torch.arange(len(text.ids))[:: -(-len(text.ids) // _BLOCKS)].split(_BATCH):
        found = F.pad(run_part(whole, ids=text.ids[blocks]).flatten(0, 1).double(), (0, 1), value=1.0)
        wanted = take_blocks(text.states.hidden_states, blocks).flatten(0, 1).to(found)
        gram, cross = gram + found.T @ found, cross + found.T @ wanted
    gram.diagonal().add_(1e-6 * gram.diagonal().mean())
    solution = torch.linalg.solve(gram, cross).T
    projection = skip_init(nn.Linear, solution.shape[1] - 1, solution.shape[0], device=solution.device)
    projection.weight.copy_(solution[:, :-1])
    projection.bias.copy_(solution[:, -1])
    return projection
