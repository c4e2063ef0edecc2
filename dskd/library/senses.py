"""The sense loss on one batch: which senses pull and push is chosen on the fly."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dskd.errors import UserError
from dskd.infra.arithmetic import starts_of
from dskd.infra.randomness import hash_integers, uniform
from dskd.library.dictionary import SenseDictionary
from dskd.library.fit import check_distances
from dskd.library.lexicon import Lexicon
from dskd.library.losses import check_batch, check_number, check_states, counted, divisor_of, seen_by
from dskd.library.models import Exact, no_autocast
from dskd.library.settings import TargetSettings
from dskd.students.hidden_loss import whitening
from dskd.students.output_loss import IGNORE
from dskd.students.sense_loss import sense_loss, span_loss
from dskd.targets.choose import candidates, lowest_positions, trimmed_lexicon

_NUMBERS = 1 << 24  # of candidates in memory at one time: 64 MB


class ChosenSenses(NamedTuple):
    """What supervises the positions of a batch: rows of `SenseLoss.vectors`, -1 where there are fewer or none."""

    pull: Tensor  # (..., kappa) int32, nearest senses of the token and its synonyms
    push: Tensor  # (..., kappa) int32, nearest senses of its antonyms


class _Rows(nn.Module):
    """Rows of vectors for each token, end to end."""

    rows: Tensor
    starts: Tensor

    def __init__(self, by_token: Iterable[Tensor]) -> None:
        super().__init__()
        lists = list(by_token)
        self.register_buffer("rows", torch.cat([*lists, torch.zeros(1, dtype=torch.int64)]), persistent=False)
        sizes = torch.tensor([len(rows) for rows in lists], dtype=torch.int64)
        self.register_buffer("starts", starts_of(sizes), persistent=False)

    def nearest(self, states: Tensor, vectors: Tensor, tokens: Tensor, neighbours: int) -> Tensor:
        """For each of n states the nearest of its token's vectors, nearest first: (n, neighbours) int32, padded with
        -1. The same as `targets.choose.nearest_rows`, of many tokens at once, and of the differences themselves: where
        all states lie far off in one direction, products would lose them.

        Args:
            tokens: (n,) places of the tokens in this table.
        """
        found = torch.full((len(states), neighbours), -1, dtype=torch.int32, device=states.device)
        first = self.starts[tokens]
        sizes = self.starts[tokens + 1] - first
        if not sizes.any():
            return found
        order = sizes.argsort()[(sizes == 0).sum() :]  # those with as many vectors together: little is padded
        for part in order.split(max(1, _NUMBERS // (int(sizes.max()) * vectors.shape[1]))):
            width = int(sizes[part].max())
            place = torch.arange(width, device=states.device)
            there = place < sizes[part, None]  # (p, width)
            rows = self.rows[torch.where(there, first[part, None] + place, 0)]
            distances = (states[part, None].float() - vectors[rows].float()).square_().sum(dim=2)
            check_distances(distances)
            near = distances.masked_fill(~there, torch.inf).topk(min(neighbours, width), dim=1, largest=False)
            chosen = rows.gather(1, near.indices).masked_fill(near.values.isinf(), -1)  # those that are not there
            found[part, : chosen.shape[1]] = chosen.int()
        return found


class SenseLoss(Exact):
    """The sense loss (arXiv 2602.22351; docs/method.md, section 4): at some positions the nearest senses of the next
    token and of its synonyms pull the student's state, and those of its antonyms push it.

        pull   mean over the nearest senses r of ||s - r||^2 / d
        push   mean over the nearest senses a of max(0, margin - ||s - a||^2 / d)

    Nearest is meant from the teacher's state. The positions of a row are drawn by a hash of its labels: the same text
    is always supervised alike, whatever stands beside it.

    Args:
        dictionary: of the teacher.
        lexicon: may lack any word; a token without relations is pulled by its own senses alone.
        form: "regression" is the paper's loss above; "span" looks at the error s - h alone, and at the part of it that
            lies in the span of the senses' directions from the teacher's state h; it has no margin.
        margin: in mean squares a dimension.
        whiten: states (n, d) of the teacher, by whose covariance distances are whitened; left out, they are plain.
        settings: how many senses and positions.

    Raises:
        UserError: a setting is wrong, no token of the dictionary has a related word with senses, or the states to
            whiten by are of another width.
    """

    vectors: Tensor
    tokens: Tensor
    metric: Tensor | None

    @no_autocast()
    def __init__(
        self,
        dictionary: SenseDictionary,
        lexicon: Lexicon,
        form: Literal["regression", "span"] = "regression",
        margin: float = 1.0,
        whiten: Tensor | None = None,
        settings: TargetSettings | None = None,
    ) -> None:
        super().__init__()
        if form not in ("regression", "span"):
            raise UserError(f"form = {form!r}: it takes 'regression' or 'span'")
        check_number("margin", margin)
        self.form, self.margin, self.settings = form, margin, (settings or TargetSettings()).params()
        spans = lexicon.spans(dictionary.tokenizer)
        vectors, by_token = candidates(trimmed_lexicon(dictionary.senses, *spans, self.settings))
        self.known = set(by_token)
        self.related = {token for token, found in by_token.items() if len(found.synonyms) or len(found.antonyms)}
        if not self.related:
            raise UserError(
                "no token of the dictionary has a synonym or an antonym with senses, so the loss would always be 0: "
                "take a lexicon of the dictionary's words, or a dictionary of more text"
            )
        self.register_buffer("vectors", vectors, persistent=False)  # (R, d): the dictionary's, then those of spans
        self.register_buffer("tokens", dictionary.senses.tokens.long(), persistent=False)  # (T,), ascending
        self.own = _Rows(found.own for found in by_token.values())
        self.close = _Rows(torch.cat([found.own, found.synonyms]).unique() for found in by_token.values())
        self.opposite = _Rows(found.antonyms for found in by_token.values())
        if whiten is not None:
            check_states(whiten)
            if whiten.shape[1] != vectors.shape[1]:
                widths = f"{vectors.shape[1]} dimensions, the states to whiten by {whiten.shape[1]}"
                raise UserError(f"the senses have {widths}: take the teacher's")
        self.register_buffer("metric", None if whiten is None else whitening(whiten), persistent=False)

    def count(self, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        """How many positions of these labels are supervised: (), to be added up for `count`."""
        with_relations, own_only = self.positions(labels, mask)
        return (with_relations | own_only).sum()

    def positions(self, labels: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Which positions are supervised by their relations, and which by their own senses only: two masks (b, L) on
        the CPU. `settings` say how many; a position that does not count has none."""
        labels = torch.where(counted(labels, mask), labels, IGNORE).cpu().long()
        labels = labels.reshape(labels.shape[:-1].numel(), labels.shape[-1])
        # Columns are counted from the first label, so that padding on the left changes nothing.
        first = (labels != IGNORE).int().argmax(dim=1) if labels.shape[1] else labels.new_zeros(len(labels))
        columns = np.arange(labels.shape[1]) - first.numpy()[:, None]
        known = np.where(labels.numpy() != IGNORE, hash_integers(columns, labels.numpy() & 0xFFFFFFFF), 0)
        rows = np.bitwise_xor.reduce(known.astype(np.uint64), axis=1)[:, None]
        ranks = torch.from_numpy(uniform(self.settings.seed, rows, columns))
        return lowest_positions(labels, ranks, self.related, self.known, self.settings)

    @no_autocast()
    def choose(self, teacher: Tensor, labels: Tensor, positions: tuple[Tensor, Tensor]) -> ChosenSenses:
        """The senses that pull and push, by the teacher's states (..., d) at these `positions`: (..., kappa) each."""
        with_relations, own_only = (mask.flatten().to(teacher.device) for mask in positions)
        neighbours, vectors = self.settings.neighbours, self.vectors.to(teacher.device)
        flat = labels.flatten().to(teacher.device)
        pull = torch.full((len(flat), neighbours), -1, dtype=torch.int32, device=teacher.device)
        push = pull.clone()
        states = teacher.detach().flatten(0, -2)
        for mask, table, chosen in (
            (with_relations, self.close, pull),
            (own_only, self.own, pull),
            (with_relations, self.opposite, push),
        ):
            places = mask.nonzero().squeeze(1)
            index = torch.searchsorted(self.tokens.to(teacher.device), flat[places])
            chosen[places] = table.to(teacher.device).nearest(states[places], vectors, index, neighbours)
        shape = (*labels.shape, neighbours)
        return ChosenSenses(pull.view(shape), push.view(shape))

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        labels: Tensor,
        mask: Tensor | None = None,
        count: float | Tensor | None = None,
    ) -> Tensor:
        """The loss, (): float32, a mean over the supervised positions.

        Args:
            student, teacher: (b, L, d) last hidden states, of one width.
            labels: (b, L); positions with `IGNORE` are not supervised, nor those where `mask` (b, L) is false.
            count: supervised positions of the whole batch: the sum of what `self.count` says of its parts.

        Raises:
            UserError: widths, states, labels and mask do not fit, the dictionary is of another model, or a state of
                the teacher that chooses senses is not finite.
        """
        check_batch(student, teacher, labels)
        if student.shape[-1] != self.vectors.shape[1]:
            width = self.vectors.shape[1]
            raise UserError(f"the senses have {width} dimensions, the states {student.shape[-1]}: is it the teacher's?")
        with torch.autocast(student.device.type, enabled=False):
            senses = self.choose(teacher.to(student.device), labels, self.positions(labels, mask))
            pull, push = (rows.flatten(0, -2) for rows in senses)
            chosen = (pull >= 0).any(dim=1).nonzero().squeeze(1)
            own = student.flatten(0, -2)[chosen].float()
            other = teacher.detach().to(student.device).flatten(0, -2)[chosen].float()
            divisor = divisor_of(count, len(chosen))
            # Only the vectors that are used are held as float32, and seen by the metric.
            rows = torch.cat([pull[chosen], push[chosen]], dim=1)
            used, place = rows.clamp_min(0).unique(return_inverse=True)
            pull, push = torch.where(rows >= 0, place, -1).chunk(2, dim=1)
            vectors = self.vectors.to(student.device)[used.long()].float()
            own, other, vectors = seen_by(self.metric, own, other, vectors)
            if self.form == "span":
                return span_loss(own, other, vectors, pull, push).sum() / max(divisor, 1)
            return sense_loss(own, vectors, pull, push, self.margin, divisor)
