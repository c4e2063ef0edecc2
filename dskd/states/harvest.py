"""Run the teacher once over every block and keep its states (docs/method.md, section 3.1)."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel

from dskd.infra import processes
from dskd.model import SCORE_CHUNK
from dskd.model.cut import check_cut, teacher_top, trunk
from dskd.model.parts import run_part
from dskd.params import HarvestParams, StudentParams
from dskd.states.store import save_below, save_shard, shard_path


def harvest(
    teacher: PreTrainedModel,
    blocks: dict[str, Tensor],
    student: StudentParams,
    settings: HarvestParams,
    destination: Path,
    fingerprint: str,
    dtype: torch.dtype,
    note: Callable[[Path], None] = lambda _: None,
) -> None:
    """Write the shards of every split in `blocks` to the folder `destination`.

    A run that was stopped goes on after its last whole shard. Memory holds one shard, whatever the
    size of the corpus. Many processes deal the shards; a shard's bytes are the same from whichever.

    Args:
        blocks: split name -> (n, L + 1) token ids; the states are those of the first L positions.
        fingerprint: names all that the states depend on; a partial result of another one is dropped.
        dtype: of the states that are kept. They are rounded before anything is computed from them, so that what is
            kept fits together: the upper layers give these last states for these split states, the head these tokens.
        note: writes beside the shards, in this folder, what they were made of.

    Raises:
        UserError: the student cannot be cut from this teacher, or the disk is full.
    """
    check_cut(student, teacher)
    lower, upper = trunk(teacher, student), teacher_top(teacher, student)
    head = teacher.get_output_embeddings().weight

    def states_of(ids: Tensor) -> list[Tensor]:
        return _states_of(ids, lower, upper, head, dtype, settings.top_tokens)

    _write(blocks, settings, destination, fingerprint, states_of, save_shard, note)


def harvest_below(
    lower: PreTrainedModel,
    blocks: dict[str, Tensor],
    settings: HarvestParams,
    destination: Path,
    fingerprint: str,
    dtype: torch.dtype,
) -> None:
    """Write the states at the split alone, which need the frozen layers alone: the same bytes as `harvest` has.

    Args:
        lower: these layers, ids -> split states; all else is as for `harvest`.
    """

    @torch.inference_mode()
    def states_of(ids: Tensor) -> list[Tensor]:
        return [run_part(lower, ids=ids).to(dtype).cpu()]

    _write(blocks, settings, destination, fingerprint, states_of, save_below)


def _write(
    blocks: dict[str, Tensor],
    settings: HarvestParams,
    destination: Path,
    fingerprint: str,
    states_of: Callable[[Tensor], list[Tensor]],
    save: Callable[..., None],
    note: Callable[[Path], None] = lambda _: None,
) -> None:
    """Write shards of what `states_of` makes of batches of ids (b, L), each by `save`."""
    shards = processes.share(
        [
            (split, index, shard)
            for split, ids in blocks.items()
            for index, shard in enumerate(ids[:, :-1].split(settings.shard_blocks))
        ]
    )
    with (
        processes.output(destination, fingerprint, checksums=True) as partial,
        tqdm(
            total=sum(shard.numel() for *_, shard in shards),
            desc="harvest",
            unit="tok",
            unit_scale=True,
            mininterval=1,
            disable=not processes.state().is_main_process,
        ) as bar,
    ):
        for split, index, shard in shards:
            path = shard_path(partial, split, index)
            if path.exists():
                bar.update(shard.numel())
                continue
            parts = []
            for ids in shard.split(settings.batch_size):
                parts.append(states_of(ids))
                bar.update(ids.numel())
            save(path, *(torch.cat(column) for column in zip(*parts)))
        if processes.state().is_main_process:
            note(partial)


@torch.inference_mode()
def _states_of(
    ids: Tensor, lower: PreTrainedModel, upper: PreTrainedModel, head: Tensor, dtype: torch.dtype, top: int
) -> list[Tensor]:
    """Last hidden states and split states (b, L, d), predicted tokens (b, L), and the `top` most probable ones
    (b, L, top) where this is not 0, of a batch of ids (b, L)."""
    split_states = run_part(lower, ids=ids).to(dtype)
    hidden_states = run_part(upper, states=split_states.to(head.dtype)).to(dtype)
    tokens = likely_tokens(hidden_states.to(head.dtype), head, top)
    return [tensor.cpu() for tensor in (hidden_states, split_states, *tokens)]


def predict(hidden_states: Tensor, head: Tensor) -> Tensor:
    """The most probable next token of each state, int32."""
    return likely_tokens(hidden_states, head, 0)[0]


def likely_tokens(hidden_states: Tensor, head: Tensor, top: int) -> list[Tensor]:
    """The most probable next token of each state (…, d), (…,) int32, and where `top` is not 0 its `top` most probable
    ones, (…, top) int32 in descending order, without ever holding all logits.

    No map of the logits changes their order.
    """
    shape, found = hidden_states.shape[:-1], []
    for piece in hidden_states.flatten(0, -2).split(SCORE_CHUNK):
        logits = piece @ head.T
        # max finds the first of the largest, as argmax does, in a fifth of its time for bfloat16 on a CPU
        best = logits.max(dim=1).indices
        found.append([best, logits.topk(top, dim=1).indices] if top else [best])
    return [torch.cat(column).to(torch.int32).view(*shape, *column[0].shape[1:]) for column in zip(*found)]
