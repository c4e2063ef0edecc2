"""Blocks of tokens, cut from a stream so that each ends with the token that the next one begins with."""

import torch
from torch import Tensor


def joined_stream(blocks: Tensor, anew: int = 0) -> Tensor:
    """The tokens of blocks of which each goes on where the one before it ends.

    A block may begin with `tokenizer.before_text` in the place of a token; that is the last one of the block before.

    Args:
        blocks: (n, L + 1).
        anew: the number of a block whose text does not go on with the one before.

    Returns:
        (n·L + 1,)
    """
    first = blocks[:, -1].roll(1)
    first[[0, anew]] = blocks[[0, anew], 0]
    return torch.cat([torch.column_stack([first, blocks[:, 1:-1]]).flatten(), blocks[-1, -1:]])
