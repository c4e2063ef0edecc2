"""What a sense dictionary is, and how well its senses are those of people: the figures of reports/senses.json."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dskd.infra.arithmetic import squared_distances
from dskd.scores.weighted import Draws, explained, table_rows
from dskd.senses.store import Senses
from dskd.states.reservoir import Reservoir


def facts(senses: Senses, sample: Reservoir, lexicon: pd.DataFrame) -> dict[str, float]:
    """Plain counts and shares. `heads_...` are shares of the lexicon's heads; of a head that is written in several
    forms (bank, Bank) one is enough. States are counted in the sample."""
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
    hidden_states: Tensor,
    keys: Tensor,
    documents: np.ndarray,
    dictionaries: Mapping[str, Sequence[Senses]],
    draws: Draws,
) -> pd.DataFrame:
    """The share of the variance of held-out states that the nearest sense of their token explains: of all (`variance`),
    where a token without senses explains nothing, and of what is left around the mean of their token, for tokens with
    senses (`variance_within`). Intervals are over documents, whose blocks are alike.

    Args:
        hidden_states: (n, L, d) of the held-out blocks; keys: (n, L) the token that each belongs to.
        documents: (n,) the document of each block, or its own number where there are few.
        dictionaries: "senses" and "random", draws of each, all with as many senses of each token.
    """
    senses, numbers = dictionaries["senses"][0], hidden_states.flatten(0, 1).float()
    keys = keys.flatten().to(senses.tokens.dtype)
    whole = (numbers - numbers.double().mean(dim=0)).square().sum(dim=1).numpy()
    rest = {way: np.stack([whole] * len(drawn)) for way, drawn in dictionaries.items()} | {
        "one_sense": whole[None].copy()
    }

    # Token by token: the squared distance to the nearest sense, and to the mean of the token's states.
    known = torch.isin(keys, senses.tokens).nonzero().squeeze(1)
    order = known[keys[known].argsort(stable=True)]
    tokens, counts = keys[known].unique(return_counts=True)
    for token, places in zip(tokens.tolist(), order.split(counts.tolist())):
        states, rows, here = numbers[places][None], senses.rows(token), places.numpy()
        rows = slice(rows.start, rows.stop)
        for way, drawn in dictionaries.items():
            for i, dictionary in enumerate(drawn):
                distances = squared_distances(states, dictionary.centroids[rows].float()[None])
                rest[way][i, here] = distances[0].amin(dim=1).numpy()
        weights = senses.counts[rows, None].float()
        centre = (senses.centroids[rows].float() * weights).sum(dim=0) / weights.sum()
        rest["one_sense"][0, here] = (states[0] - centre).square().sum(dim=1).numpy()

    units, found = np.repeat(documents, hidden_states.shape[1]), []
    within, total = known.numpy(), rest["one_sense"][0]
    for measure, chosen, of in (("variance", np.arange(len(keys)), whole), ("variance_within", within, total)):
        by_way = {way: explained(values.mean(axis=0)[chosen], of[chosen]) for way, values in rest.items()}
        found += table_rows(("heldout", "all", measure), by_way, units[chosen], len(tokens), draws)
    return pd.DataFrame(found)


def plain(facts: Mapping[str, float], table: pd.DataFrame) -> dict[str, float | None]:
    """The facts, and the measures of all places under plain keys: `wic_auc`, `wic_auc_low` and `wic_auc_high` (95 %
    interval), `wic_auc_places` (how many pairs, places or states), `wic_auc_random` (a baseline) and
    `wic_auc_less_random_low` (how much better the senses are, at least). An interval that there is not is
    None."""
    found = dict(facts)
    rows = table[table["group"] == "all"].astype(object)
    for row in rows.where(rows.notna(), None).to_dict("records"):
        name = f"{row['set']}_{row['measure']}"
        if row["by"] == "senses":
            found |= {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
            found[f"{name}_places"] = row["rows"]
        else:
            found[f"{name}_{row['by']}"] = row["value"]
            found |= {f"{name}_less_{row['by']}_{end}": row[f"senses_less_{end}"] for end in ("low", "high")}
    return found
