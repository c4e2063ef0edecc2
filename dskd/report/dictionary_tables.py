"""What a sense dictionary is, whether its senses are those of people, how it grows, and what codes made with it keep of
the teacher: tables of reports/senses.json, docs/trials/dictionaries.csv and docs/trials/codes.csv."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from dskd.report.statistics import bootstrap_interval
from dskd.report.tables import number

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
            better = bool(ways) and all((found[f"{key}_less_{way}_low"] or 0) > 0 for way in ways)
            star = " *" if better else ""
            row = {"text": _SETS.get(name, name), "measure": label, "places": f"{found[f'{key}_places']:,}"}
            row["senses"] = _plain_interval(found[key], found[f"{key}_low"], found[f"{key}_high"]) + star
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
        row["senses"] = _plain_interval(*by.loc["senses", ["value", "low", "high"]])
        rows.append(row | {_WAYS[way]: f"{by.loc[way, 'value']:.3f}" for way in ("random", "one_sense")})
    return pd.DataFrame(rows)


def curves_table(rows: pd.DataFrame) -> pd.DataFrame:
    """How dictionaries differ: by the size of the text and the key first, then by what differs from the rest.

    Args:
        rows: of docs/trials/dictionaries.csv.
    """
    order, shown = ["read", "gloss_share", "key", "min_states", "k", "reservoir"], []
    for row in rows.sort_values(order, kind="stable").to_dict("records"):
        line = {
            "text (tokens)": f"{int(row['text_tokens']):,}",
            "glosses": f"{row['gloss_share']:.0%}",
            "key": row["key"],
            **{name: int(row[name]) for name in ("k", "min_states", "reservoir")},
            "senses": f"{int(row['senses']):,}",
            "one state": f"{row['singleton_share']:.0%}",
            "more than 10 states": f"{row['heads_with_more_than_10_states']:.0%}",
            "50 states": f"{row['heads_with_50_states']:.0%}",
            "two senses": f"{row['heads_with_two_senses']:.0%}",
        }
        for key, name in (("wic_auc", "WiC, AUC"), ("examples_rand", "Rand"), ("heldout_variance", "variance")):
            if key in row and row[key] == row[key]:
                line[name] = f"{row[key]:.3f} ({row[f'{key}_random']:.3f})"
        minutes = row["read_seconds"] / 60
        line["read (min)"] = "" if minutes != minutes else f"{minutes:.0f}"
        line["cluster (s)"] = f"{row['cluster_seconds']:.0f}"
        shown.append(line | {"sample (MB)": f"{int(row['sample_megabytes']):,}"})
    return pd.DataFrame(shown)


_TEXTS = {"0.3 million": 0.3e6, "10 million": 10e6, "1,000 million": 1000e6}  # tokens that share the codebooks
_PAIRS = [  # codes of about as many bytes: what words, senses and the choice of the sense are worth
    ("senses", "token mean"),
    ("senses", "random sense"),
    ("senses", "word-free senses"),
    *((f"senses + {m}" if m else "senses", f"residual {m + 2}") for m in (0, 1, 2, 4, 8, 16, 32)),
    ("context + senses", "context + 2"),
    ("context + senses", "context + token mean"),
]
_RESAMPLES, _SEED = 10000, 0


def code_rates_table(rows: pd.DataFrame) -> pd.DataFrame:
    """What each code takes and keeps.

    Args:
        rows: of docs/trials/codes.csv, with the KL of each block.
    """
    table = pd.DataFrame({"code": rows["code"], "bytes a token": rows["bytes"].map("{:.2f}".format)})
    table["codebooks (MB)"] = (rows["codebook_bytes"] / 1e6).map("{:.1f}".format)
    for name, tokens in _TEXTS.items():
        table[f"bytes with codebooks, {name} tokens"] = (rows["bytes"] + rows["codebook_bytes"] / tokens).map(
            "{:.1f}".format
        )
    blocks = _blocks(rows)
    table["KL (nats/token)"] = [_with_interval(blocks.loc[code].to_numpy()) for code in rows["code"]]
    return table


def code_differences_table(rows: pd.DataFrame) -> pd.DataFrame:
    """How much more a code of token and sense leaves than another of about as many bytes, on the same blocks."""
    blocks, taken = _blocks(rows), rows.set_index("code")["bytes"]
    found = []
    for code, other in _PAIRS:
        if code in blocks.index and other in blocks.index:
            row = {"code": f"{code} ({taken[code]:.2f} bytes)", "less": f"{other} ({taken[other]:.2f} bytes)"}
            difference = _with_interval((blocks.loc[code] - blocks.loc[other]).to_numpy(), signed=True)
            found.append(row | {"difference of KL (nats/token)": difference})
    return pd.DataFrame(found)


def code_students_table(rows: pd.DataFrame) -> pd.DataFrame:
    """What students learn from codes: their KL, how far from that of students of the teacher's states (`kd`), and which
    share they keep of what these gain over training without a teacher (`ce`); on articles and on glosses.

    Args:
        rows: of docs/trials/codes_students.csv.
    """
    found = {}
    for measure, text in (("kl", "articles"), ("kl of glosses", "glosses")):
        part = rows[rows["measure"] == measure].drop_duplicates("objective").set_index("objective")
        none, exact = part.loc["ce", "mean"], part.loc["kd", "mean"]
        for name, row in part.iterrows():
            shown = found.setdefault(name, {"student of": name})
            shown[f"KL, {text}"] = number(row["mean"])
            interval = _interval(*row[["difference", "low", "high"]], signed=True)
            shown[f"- kd, {text}"] = "" if name == "kd" else interval
            shown[f"gain kept, {text}"] = f"{(none - row['mean']) / (none - exact):.0%}"
    return pd.DataFrame(found.values())


def _blocks(rows: pd.DataFrame) -> pd.DataFrame:
    """The KL of each block, a row a code."""
    return rows.set_index("code").filter(regex=r"^block_\d+$")


def _with_interval(values: np.ndarray, signed: bool = False) -> str:
    return _interval(values.mean(), *bootstrap_interval(values, _RESAMPLES, _SEED), signed)


def _plain_interval(*ends: float | None) -> str:
    return "{} [{}, {}]".format(*("-" if end is None or end != end else f"{end:.3f}" for end in ends))


def _interval(mean: float, low: float, high: float, signed: bool) -> str:
    return "{} [{}, {}]".format(*(number(value, signed) for value in (mean, low, high)))
