"""What a sense dictionary is, and how well its senses are those of people: the figures of reports/senses.json."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dskd.infra.arithmetic import squared_distances
from dskd.scores.weighted import Draws, explained, table_rows
from dskd.senses.store import SenseDictionary
from dskd.states.reservoir import Reservoir


def facts(senses: SenseDictionary, sample: Reservoir, lexicon: pd.DataFrame) -> dict[str, float]:
    """Plain counts and shares; `heads_...` are shares of the lexicon's heads (of which one form is enough)."""
    numbers = dict(zip(senses.tokens.tolist(), senses.offsets.diff().tolist()))
    states = dict(zip(sample.tokens.tolist(), sample.sizes.tolist()))
    heads = lexicon[["head", "head_token"]].drop_duplicates()

    def of_heads(counts: Mapping[int, int], least: int) -> float:
        found = heads["head_token"].map(lambda token: counts.get(token, 0) >= least)
        return float(found.groupby(heads["head"]).any().mean())

    return {
        "text_tokens": int(sample.occurrences.sum()),
        "tokens": len(senses.tokens),
        "senses": len(senses.centroids),
        "states": int(senses.counts.sum()),
        "singleton_share": float((senses.counts == 1).double().mean()),
        "heads": heads["head"].nunique(),
        "heads_with_states": of_heads(states, 1),
        "heads_with_more_than_10_states": of_heads(states, 11),
        "heads_with_50_states": of_heads(states, 50),
        "heads_with_a_sense": of_heads(numbers, 1),
        "heads_with_two_senses": of_heads(numbers, 2),
    }


def variance_table(
    hidden_states: Tensor, keys: Tensor, dictionaries: Mapping[str, SenseDictionary], draws: Draws
) -> pd.DataFrame:
    """The share of the variance of held-out states that the nearest sense of their token explains: of all (`variance`),
    and of what is left around the mean of their token (`variance_within`). Intervals are over blocks.

    Args:
        hidden_states: (n, L, d) of the held-out blocks; keys: (n, L) the token that each belongs to.
        dictionaries: "senses" and "random", with as many senses of each token.
    """
    senses = dictionaries["senses"]
    flat, keys = hidden_states.flatten(0, 1), keys.flatten().to(senses.tokens.dtype)
    known = torch.isin(keys, senses.tokens).nonzero().squeeze(1)
    mean = flat[known].double().mean(dim=0)
    whole = (flat[known].double() - mean).square().sum(dim=1).numpy()
    rest = {name: np.empty(len(known)) for name in (*dictionaries, "one_sense")}
    order = keys[known].argsort(stable=True)
    tokens, counts = keys[known].unique(return_counts=True)
    for token, here in zip(tokens.tolist(), order.split(counts.tolist())):
        states, rows, here = flat[known[here]].float(), senses.rows(token), here.numpy()
        for name, dictionary in dictionaries.items():
            centroids = dictionary.centroids[rows.start : rows.stop].float()
            rest[name][here] = squared_distances(states[None], centroids[None])[0].amin(dim=1).numpy()
        weights = senses.counts[rows.start : rows.stop, None].float()
        centre = (senses.centroids[rows.start : rows.stop].float() * weights).sum(dim=0) / weights.sum()
        rest["one_sense"][here] = (states - centre).square().sum(dim=1).numpy()
    blocks, found = (known // hidden_states.shape[1]).numpy(), []
    for measure, total in (("variance", whole), ("variance_within", rest["one_sense"])):
        by_way = {name: explained(values, total) for name, values in rest.items()}
        found += table_rows(("heldout", "all", measure), by_way, blocks, len(tokens), draws)
    return pd.DataFrame(found)


def plain(facts: Mapping[str, float], table: pd.DataFrame) -> dict[str, float]:
    """The facts, and the measures of all places under plain keys: `wic_auc`, `wic_auc_low` and `wic_auc_high` (95 %
    interval), `wic_auc_random` (a baseline), `wic_auc_less_random_low` (how much better the senses are, at least)."""
    found = dict(facts)
    for row in table[table["group"] == "all"].to_dict("records"):
        name = f"{row['set']}_{row['measure']}"
        if row["by"] == "senses":
            found |= {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
        else:
            found[f"{name}_{row['by']}"] = row["value"]
            found |= {f"{name}_less_{row['by']}_{end}": row[f"senses_less_{end}"] for end in ("low", "high")}
    return found
