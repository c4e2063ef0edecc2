"""What a sense dictionary is and whether its senses are those of people, as tables of reports/senses.json."""

import re
from collections.abc import Mapping

import pandas as pd

_FACTS = {
    "text_tokens": "tokens that the teacher read",
    "tokens": "tokens of the vocabulary with senses",
    "senses": "senses",
    "states": "states in them",
    "singleton_share": "senses of a single state",
    "heads": "heads of the lexicon",
    "heads_with_states": "of these, with a state",
    "heads_with_more_than_10_states": "with more than 10 states",
    "heads_with_50_states": "with 50 states or more",
    "heads_with_a_sense": "with a sense",
    "heads_with_two_senses": "with two senses or more",
}
_MEASURES = {
    "auc": "same sense or not, AUC",
    "accuracy": "names the synset, accuracy",
    "tuned_accuracy": "same sense or not, accuracy with a tuned threshold",
    "v_measure": "agreement with synsets, V-measure",
    "rand": "agreement with synsets, adjusted Rand index",
    "pos_accuracy": "names the part of speech, accuracy",
    "variance": "variance that is explained",
    "variance_within": "the same within a token",
}
_MEASURE = re.compile(f"(.+?)_({'|'.join(_MEASURES)})")
_SETS = {"wic": "WiC", "examples": "WordNet's examples", "heldout": "held-out states"}
_WAYS = {"random": "random states", "one_sense": "one sense a word", "part_of_speech": "parts of speech"}


def facts_table(found: Mapping[str, float]) -> pd.DataFrame:
    """What the dictionary is, one fact a row."""
    shown = {
        label: f"{found[key]:.1%}" if isinstance(found[key], float) else f"{found[key]:,}"
        for key, label in _FACTS.items()
    }
    return pd.Series(shown, dtype=object).to_frame("dictionary")


def measures_table(found: Mapping[str, float]) -> pd.DataFrame:
    """How well senses agree with people, beside the baselines. A star stands where a 95 % interval shows the senses to
    be better than all of them.

    Args:
        found: what reports/senses.json holds.
    """
    rows = []
    for key in found:
        if match := _MEASURE.fullmatch(key):
            name, measure = match.groups()
            label = "same sense or not, accuracy" if key == "wic_accuracy" else _MEASURES[measure]
            ways = [way for way in _WAYS if f"{key}_{way}" in found]
            better = bool(ways) and all(found[f"{key}_less_{way}_low"] > 0 for way in ways)
            star = " *" if better else ""
            row = {"text": _SETS.get(name, name), "measure": label, "places": f"{found[f'{key}_places']:,}"}
            row["senses"] = f"{found[key]:.3f} [{found[f'{key}_low']:.3f}, {found[f'{key}_high']:.3f}]{star}"
            rows.append(row | {_WAYS[way]: f"{found[f'{key}_{way}']:.3f}" for way in ways})
    return pd.DataFrame(rows).fillna("")


def groups_table(table: pd.DataFrame) -> pd.DataFrame:
    """The agreement with synsets by part of speech, and for rare and common words.

    Args:
        table: of `scores.sense_match.synset_table`.
    """
    groups = {
        "n": "nouns",
        "v": "verbs",
        "a": "adjectives",
        "r": "adverbs",
        "rare": "rare words",
        "common": "common words",
    }
    chosen = table[table["group"].isin(groups) & table["measure"].isin(["v_measure", "rand", "accuracy"])]
    rows = []
    for (name, group, measure), found in chosen.groupby(["set", "group", "measure"], sort=False):
        by = found.set_index("by")
        row = {"text": _SETS.get(name, name), "words": groups[group], "measure": _MEASURES[measure]}
        row["places"] = int(by.loc["senses", "rows"])
        row["senses"] = "{value:.3f} [{low:.3f}, {high:.3f}]".format(**by.loc["senses"])
        rows.append(row | {_WAYS[way]: f"{by.loc[way, 'value']:.3f}" for way in ("random", "one_sense")})
    return pd.DataFrame(rows)


def glance_table(found: Mapping[str, float]) -> pd.DataFrame:
    """The dictionary in one line."""
    row = {
        "text (tokens)": f"{found['text_tokens']:,}",
        "senses": f"{found['senses']:,} of {found['tokens']:,} tokens",
        "senses of one state": f"{found['singleton_share']:.1%}",
        "words of the lexicon with two senses or more": f"{found['heads_with_two_senses']:.0%}",
    }
    if "wic_auc" in found:
        row["same sense or not (WiC, AUC)"] = "{wic_auc:.3f} [{wic_auc_low:.3f}, {wic_auc_high:.3f}]".format(**found)
        row["by random states"] = f"{found['wic_auc_random']:.3f}"
    return pd.DataFrame([row])
