"""Small tables with which the notebooks of the stages show what a stage made."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dskd.lexicon.tokens import word_tokens
from dskd.senses.store import Senses, compose_span
from dskd.states.reservoir import Reservoir
from dskd.states.store import States
from dskd.targets.store import SenseTargets


def lexicon_counts(summary: dict) -> pd.DataFrame:
    """The plain counts of the lexicon, one a row."""
    counts = {key: value for key, value in summary.items() if not isinstance(value, dict)}
    return pd.Series(counts, dtype=object).to_frame("count")


def lexicon_pairs(summary: dict) -> pd.DataFrame:
    """Pairs of the lexicon by source and relation: as stated, after the vote, and those that fit the tokenizer."""
    pairs = {key: value for key, value in summary.items() if isinstance(value, dict)}
    return pd.DataFrame({key: pd.json_normalize(value).iloc[0] for key, value in pairs.items()})


def corpus_checks(summary: dict) -> pd.DataFrame:
    """What could be wrong with a corpus, one check a row."""
    checks = {
        "documents in both splits": summary["documents_in_both_splits"],
        "glosses left out for their held-out words": summary["glosses_left_out_for_heldout_words"],
        "fewer blocks than wanted": summary["fewer_than_wanted"] or "nowhere",
    }
    return pd.Series(checks, dtype=object).to_frame("found")


def states_table(states: States, vocabulary: int, sample: int = 4) -> pd.DataFrame:
    """How many states there are, what they take, and their scale, from the first `sample` blocks of each shard."""
    last = torch.cat([shard[:sample].flatten(0, 1) for shard in states.hidden_states])
    bytes_, numbers = last.dtype.itemsize, last.float()
    rows = {
        "blocks": states.blocks,
        "tokens in a block": states.length,
        "shards": len(states.predicted),
        "number format": str(last.dtype).removeprefix("torch."),
        "bytes kept for a token": 2 * last.shape[1] * bytes_,
        "bytes of its logits": vocabulary * bytes_,
        "mean square of the last hidden states": f"{numbers.square().mean():.2f}",
        "their variance": f"{numbers.var(dim=0).mean():.2f}",
    }
    return pd.Series(rows, dtype=object).to_frame("states")


def sample_table(sample: Reservoir, capacity: int) -> pd.DataFrame:
    """What a sample of at most `capacity` states of each token has."""
    rows = {
        "tokens read": f"{int(sample.occurrences.sum()):,}",
        "tokens of the vocabulary with states": f"{len(sample.tokens):,}",
        "states in the sample": f"{len(sample.positions):,}",
        "states of a token, median": int(sample.sizes.median()),
        f"tokens with {capacity} states": f"{int((sample.sizes == capacity).sum()):,}",
        "megabytes": round(sum(piece.nbytes for piece in sample.states) / 1e6),
    }
    return pd.Series(rows, dtype=object).to_frame("sample")


def next_tokens(
    states: States, labels: Tensor, tokenizer: PreTrainedTokenizerBase, end: int = 56, rows: int = 16
) -> pd.DataFrame:
    """The tokens of the first block beside those that the teacher expects: the last `rows` positions before `end`.

    Args:
        labels: (n, L) int64, the token that follows each position.
    """
    both = torch.stack([labels[0], states.predicted[0][0].long()], dim=1)[:end][-rows:]
    table = pd.DataFrame(
        [[repr(tokenizer.decode(token)) for token in pair] for pair in both.tolist()],
        columns=["the text has", "the teacher expects"],
    )
    table["right"] = ["yes" if text == guess else "" for text, guess in both.tolist()]
    return table


def spans_table(senses: Senses, tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> pd.DataFrame:
    """One row per word of several tokens: its tokens, and how many senses they give it."""
    rows = [
        {"word": word, "tokens": [tokenizer.decode(token) for token in span], "senses": len(compose_span(senses, span))}
        for word, span in word_tokens(tokenizer, words).items()
    ]
    return pd.DataFrame(rows)


def codes_table(about: dict, states: States) -> pd.DataFrame:
    """What the code is that students train on, and how many bytes it takes beside the teacher's states.

    Args:
        about: what `artifacts/codes/codes.json` says; states: the teacher's, of the training text.
    """
    last = states.hidden_states[0]
    exact = last.shape[-1] * last.dtype.itemsize
    rows = {"code": about["codec"], "bytes of a state": exact}
    if "bytes" in about:
        sizes, number = about["bytes"], about["positions"]
        rows |= {
            "bytes of its code": f"{sizes['codes'] / number:.2f}",
            "with its share of the tables": f"{(sizes['codes'] + sizes['tables']) / number:.2f}",
            "codes of all positions (MB)": f"{sizes['codes'] / 1e6:.1f}",
            "tables (MB)": f"{sizes['tables'] / 1e6:.1f}",
            "states of the held-out text (MB)": f"{sizes['heldout'] / 1e6:.1f}",
        }
    return pd.Series(rows, dtype=object).to_frame("training text")


def targets_table(targets: SenseTargets) -> pd.DataFrame:
    """How many senses there are to choose from, and which share of the positions they pull and push."""
    shares = {"positions that are pulled": targets.pull, "positions that are pushed": targets.push}
    rows = {"senses of tokens and spans": f"{len(targets.vectors):,}"}
    rows |= {name: f"{_share_with_senses(column):.1%}" for name, column in shares.items()}
    return pd.Series(rows).to_frame("targets")


def _share_with_senses(column: Tensor) -> float:
    """The share of the positions at which a column of targets (n, L, kappa) names a sense; 0 where it is empty."""
    return (column >= 0).any(dim=2).float().mean().item() if column.numel() else 0.0
