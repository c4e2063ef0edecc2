"""Answers of several models to the same prompts. Below the split the models are one, so their shared layers
run once for all of them; and what an item's choices have in common runs once for all choices. Models with other
layers below stand apart, with a trunk of theirs.
"""

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from dskd.errors import UserError
from dskd.model import SCORE_CHUNK
from dskd.model.logits import Head, float_logits, mapped, widened
from dskd.model.parts import run_part

_TOKENS = 2048  # of a batch, padding counted


class Models(NamedTuple):
    """Models that share the layers below the split, as `decoder.trunk` and `decoder.teacher_top` make them."""

    lower: PreTrainedModel  # ids -> split states
    tops: Mapping[str, PreTrainedModel]  # name -> split states -> last hidden states
    head: Head  # logits are float32 whatever the dtype of the states
    tokenizer: PreTrainedTokenizerBase
    context: int  # tokens that the models can read
    apart: "Models | None" = None  # more models, with a trunk and a head that they share among themselves
    stops: Collection[int] = ()  # the tokens that end an answer (`tokenizer.stop_tokens`)

    @property
    def names(self) -> list[str]:
        return [*self.tops, *(self.apart.names if self.apart else ())]

    def of(self, name: str) -> "Models":
        """Those that share a trunk with the model of this name."""
        return self if name in self.tops else self.apart.of(name)


class Choices(NamedTuple):
    """A context and its continuations, as token ids; none of them is empty."""

    context: list[int]
    continuations: list[list[int]]


@torch.inference_mode()
def log_likelihoods(models: Models, items: Sequence[Choices]) -> dict[str, list[list[tuple[float, bool]]]]:
    """Log-likelihood of every continuation given its context, in nats, summed over its tokens, and whether
    each of its tokens is the most probable one there.

    An item is one sequence, its context followed by all continuations; a continuation's tokens see the context
    and the tokens before them in the same continuation, at the positions that they would have alone.

    Returns:
        model -> item -> continuation -> (log-likelihood, greedy).
    """
    lower, tops, head = models.lower, models.tops, widened(models.head)
    found: dict[str, list] = {name: [None] * len(items) for name in tops}
    packed = [_pack(item) for item in items]
    _check_rotation(lower, max((max(row.positions) + 1 for row in packed), default=0))
    for batch in _batches([len(p.ids) for p in packed], "choices"):
        rows = [packed[i] for i in batch]
        length = max(len(row.ids) for row in rows)
        ids, positions = (_padded([getattr(row, name) for row in rows], length) for name in ("ids", "positions"))
        mask = torch.stack([row_mask(row, length) for row in rows])[:, None]
        shared = run(lower, mask, positions, input_ids=ids)
        sources = torch.cat([torch.tensor(row.sources) + i * length for i, row in enumerate(rows)])
        labels = torch.cat([torch.tensor(row.labels) for row in rows])
        sizes = [len(c) for i in batch for c in items[i].continuations]
        for name, top in tops.items():
            states = run(top, mask, positions, inputs_embeds=shared).flatten(0, 1)
            values, greedy = _token_scores(states, sources, labels, head)
            scores = iter(
                (float(v.sum()), bool(g.all())) for v, g in zip(values.double().split(sizes), greedy.split(sizes))
            )
            for i in batch:
                found[name][i] = [next(scores) for _ in items[i].continuations]
    return found | (log_likelihoods(models.apart, items) if models.apart else {})


@torch.inference_mode()
def states_at(models: Models, sequences: Sequence[Sequence[int]], positions: Sequence[int]) -> dict[str, Tensor]:
    """Last hidden state of each model at one position of each sequence: model -> (sequences, d) float32, d its own."""
    lower, tops = models.lower, models.tops
    width = lower.config.hidden_size
    found = {name: torch.empty(len(sequences), width) for name in tops}
    cut = [list(ids[: position + 1]) for ids, position in zip(sequences, positions)]  # what follows is not seen
    _check_rotation(lower, max(map(len, cut), default=0))
    for batch in _batches([len(ids) for ids in cut], "states"):
        ids = _padded([cut[i] for i in batch])
        # Padding stands on the right, where a causal model's earlier positions cannot see it.
        shared = run_part(lower, ids=ids)
        where = torch.arange(len(batch)), torch.tensor([positions[i] for i in batch])
        for name, top in tops.items():
            found[name][torch.tensor(batch)] = run_part(top, states=shared)[where].float().cpu()
    return found | (states_at(models.apart, sequences, positions) if models.apart else {})


@torch.inference_mode()
def greedy(
    models: Models, prompts: Sequence[Sequence[int]], tokens: int, stops: Collection[int]
) -> dict[str, list[list[int]]]:
    """The `tokens` most probable tokens after each prompt, one after the other, up to (without) the first of `stops`.

    The prompt's shared layers run once; from the first new token on each model goes its own way.
    """
    lower, tops, head = models.lower, models.tops, widened(models.head)
    ends = torch.tensor(sorted(stops), dtype=torch.int64)
    found: dict[str, list] = {name: [None] * len(prompts) for name in tops}
    _check_rotation(lower, max(map(len, prompts), default=0) + tokens - 1)
    for batch in _batches([len(prompt) for prompt in prompts], "answers"):
        sizes = torch.tensor([len(prompts[i]) for i in batch])
        length = int(sizes.max())
        ids = torch.stack([torch.tensor([0] * (length - len(prompts[i])) + list(prompts[i])) for i in batch])
        empty = (length - sizes)[:, None]  # positions on the left that hold no token
        positions = (torch.arange(length) - empty).clamp_min(0)
        mask = torch.ones(length, length, dtype=torch.bool).tril() & (torch.arange(length) >= empty)[:, None]
        mask = (mask | torch.eye(length, dtype=torch.bool))[:, None]
        prompt_cache = DynamicCache() if tokens > 1 else None
        shared = run(lower, mask, positions, prompt_cache, input_ids=ids)
        for name, top in tops.items():
            cache = copy.deepcopy(prompt_cache)
            states = run(top, mask, positions, cache, inputs_embeds=shared)
            new = [_most_probable(states[:, -1], head)]
            while len(new) < tokens and not all(torch.isin(torch.stack(new), ends).any(dim=0)):
                seen = (torch.arange(length + len(new)) >= empty)[:, None, None]
                at = (sizes + len(new) - 1)[:, None]
                keys = (torch.arange(length + len(new)) - empty).clamp_min(0)
                below = run(lower, seen, at, cache, keys, input_ids=new[-1][:, None])
                new.append(_most_probable(run(top, seen, at, cache, keys, inputs_embeds=below)[:, -1], head))
            for i, written in zip(batch, torch.stack(new, dim=1).tolist()):
                found[name][i] = list(takewhile(lambda token: token not in stops, written))
    return found | (greedy(models.apart, prompts, tokens, stops) if models.apart else {})


def run(
    model: PreTrainedModel,
    mask: Tensor,
    positions: Tensor,
    cache: DynamicCache | None = None,
    keys: Tensor | None = None,
    **inputs,
) -> Tensor:
    """Last hidden states (b, l, d) with an attention mask (b, 1, l, seen) and positions (b, l) of our own.

    Trunk and top share one cache: each keeps its keys under the number of its layer in the whole model.

    Args:
        keys: (b, seen) positions of what is seen; default: `positions`.
    """
    device = model.device
    positions, keys = positions.to(device), (positions if keys is None else keys).to(device)
    masks = _layer_masks(model, mask.to(device), positions, keys)
    inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
    return model(
        **inputs, attention_mask=masks, position_ids=positions, cache=cache, use_cache=cache is not None
    ).last_hidden_state


def _check_rotation(model: PreTrainedModel, length: int) -> None:
    """Raise UserError where a model turns all of a sequence otherwise once it has so many tokens (longrope): what is
    scored would hang on what stands beside it in a batch, and an answer's tokens on states of the other kind."""
    rotation = getattr(model.config, "rope_parameters", None) or {}
    most = rotation.get("original_max_position_embeddings") or length
    if rotation.get("rope_type") == "longrope" and length > most:
        raise UserError(
            f"a text to be scored has {length} tokens, and {type(model).__name__} reads it in another way from "
            f"{most + 1} on (longrope): take shorter texts, fewer examples (benchmarks.shots), or another teacher"
        )


def _layer_masks(model: PreTrainedModel, mask: Tensor, positions: Tensor, keys: Tensor) -> Tensor | dict[str, Tensor]:
    """The mask as the model takes it: one for all layers, or one a kind of layer, those with a window narrowed to it.

    transformers takes a mask of ours as it is: it adds no window to it.
    """

    def form(sees: Tensor) -> Tensor:
        if model.config._attn_implementation != "eager":
            return sees
        return torch.zeros(sees.shape, dtype=model.dtype).masked_fill_(~sees, torch.finfo(model.dtype).min)

    window, kinds = (getattr(model.config, name, None) for name in ("sliding_window", "layer_types"))
    if window is None or (kinds is not None and "sliding_attention" not in kinds):
        return form(mask)
    local = mask & (positions[:, :, None] - keys[:, None] < window)[:, None]
    return form(local) if kinds is None else {"full_attention": form(mask), "sliding_attention": form(local)}


class PackedItem(NamedTuple):
    ids: list[int]  # context, then each continuation without its last token, which nothing follows
    positions: list[int]
    branch: list[int]  # 0 for the context, then 1, 2, … for the continuations
    sources: list[int]  # for each token of the continuations: the place whose logits predict it
    labels: list[int]


def _pack(item: Choices) -> PackedItem:
    start = len(item.context)
    packed = PackedItem(list(item.context), list(range(start)), [0] * start, [], [])
    for number, continuation in enumerate(item.continuations, start=1):
        first = len(packed.ids)
        packed.sources.extend([start - 1, *range(first, first + len(continuation) - 1)])
        packed.labels.extend(continuation)
        packed.ids.extend(continuation[:-1])
        packed.positions.extend(range(start, start + len(continuation) - 1))
        packed.branch.extend([number] * (len(continuation) - 1))
    return packed


def row_mask(row: PackedItem, length: int) -> Tensor:
    """(length, length): what each place of a packed item sees; padding sees itself, so that no row is empty."""
    branch = torch.tensor(row.branch)
    sees = (branch[None] == 0) | (branch[None] == branch[:, None])
    mask = torch.eye(length, dtype=torch.bool)
    mask[: len(branch), : len(branch)] = sees.tril()
    return mask


def _token_scores(states: Tensor, sources: Tensor, labels: Tensor, head: Head) -> tuple[Tensor, Tensor]:
    """Log-probability of each label at its source, and whether it is the most probable token there."""
    sources, labels = sources.to(states.device), labels.to(states.device)
    places, index = sources.unique(return_inverse=True)  # a context's last place serves every choice
    values, greedy = labels.new_empty(len(labels), dtype=torch.float32), labels.new_empty(len(labels), dtype=torch.bool)
    for first in range(0, len(places), SCORE_CHUNK):
        logits = mapped(float_logits(states[places[first : first + SCORE_CHUNK]], head), head.logit_map)
        here = ((index >= first) & (index < first + SCORE_CHUNK)).nonzero().squeeze(1)
        local = index[here] - first
        chosen = logits[local, labels[here]]
        values[here] = chosen - logits.logsumexp(dim=1)[local]
        greedy[here] = logits.argmax(dim=1)[local] == labels[here]
    return values.cpu(), greedy.cpu()


def _most_probable(states: Tensor, head: Head) -> Tensor:
    return float_logits(states, head).argmax(dim=1).cpu()  # the logit map keeps the order


def _batches(lengths: Sequence[int], title: str) -> Iterator[list[int]]:
    """Indices in batches of like length, the longest first, so that memory shows at once whether it suffices."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    with tqdm(total=len(order), desc=title, unit="item", mininterval=1) as bar:
        while order:
            size = max(1, _TOKENS // lengths[order[0]])
            batch, order = order[:size], order[size:]
            yield batch
            bar.update(len(batch))


def _padded(rows: Sequence[list[int]], length: int | None = None) -> Tensor:
    length = length or max(map(len, rows))
    return torch.tensor([row + [0] * (length - len(row)) for row in rows])
