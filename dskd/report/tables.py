"""Metrics as tables for people."""

import re
from collections.abc import Sequence

import pandas as pd

from dskd.benchmarks.catalogue import BENCHMARKS
from dskd.params import Objective, Params

TITLES = {
    "ce": "CE (nats/token)",
    "bits_per_byte": "bits/byte",
    "kl": "KL to teacher (nats/token)",
    "agreement": "top token agrees",
    "synonym": "synonym",
    "antonym": "antonym",
    "definition": "definition",
    "wic_states": "WiC by states",
    "antonym_cosine": "antonym or synonym, cosine",
    "antonym_probe": "antonym or synonym, probe",
    "simlex": "SimLex-999 (rho)",
    "arc_easy": "ARC-Easy",
    "arc_challenge": "ARC-Challenge",
    "commonsense_qa": "CommonsenseQA",
    "piqa": "PIQA",
    "mmlu": "MMLU",
    "openbookqa": "OpenBookQA",
    "wic": "WiC",
    "squad_v2": "SQuAD v2 F1",
    "squad_v2_em": "SQuAD v2 EM",
    "all": "all items",
}
CHANCE = {  # where each choice is as likely
    **dict.fromkeys(("synonym", "antonym", "definition", "arc_easy", "arc_challenge", "mmlu", "openbookqa"), 1 / 4),
    "commonsense_qa": 1 / 5,
    **dict.fromkeys(("wic_states", "antonym_cosine", "antonym_probe", "piqa", "wic"), 1 / 2),
}
LESS_IS_BETTER = ("ce", "bits_per_byte", "kl")
_SPACE = "\u00a0"  # at which a cell does not break
BY_STATES = ("wic", "simlex", "antsynnet")
TABLES = {
    "heldout": "Held-out text",
    "lexical": "Lexical measures (accuracy)",
    "similarity": "Likeness of words (Spearman's rho with people's judgement)",
    "cloze": "Benchmarks, cloze: the likeliest choice is right",
    "cloze_norm": "Benchmarks, cloze: the likeliest choice a character is right",
    "cloze_probability": "Benchmarks, cloze: share of the answer in the choices' probabilities",
    "chat": "Benchmarks, the paper's protocol: examples in a chat, the letter as one greedy token",
}


_PROTOCOLS = {
    "cloze": "cloze",
    "cloze_norm": "cloze a character",
    "cloze_probability": "cloze, p(answer)",
    "chat": "chat",
}


def measure_name(table: str, key: str) -> str:
    """What a measure is called where it stands alone."""
    return f"{_PROTOCOLS[table]}: {TITLES[key]}" if table in _PROTOCOLS else TITLES[key]


def models_table(metrics: dict, table: str) -> pd.DataFrame:
    """One row a model or objective (its seeds averaged): "mean [low, high]" for every measure of a table."""
    return pd.DataFrame(
        [
            {"model": name, **{TITLES[key]: _cell(value) for key, value in _ordered(model[table]).items()}}
            for name, model in metrics["models"].items()
            if table in model
        ]
    )


def differences_table(metrics: dict, table: str) -> pd.DataFrame:
    """One row a pair of objectives: the difference with its 95 % interval; a star where its p value after Holm's
    correction is below .05."""
    return pd.DataFrame(
        [
            {"difference": name, **{TITLES[k]: difference_cell(v) for k, v in _ordered(of_pair[table]).items()}}
            for name, of_pair in metrics["differences"].items()
            if table in of_pair
        ]
    )


def tests_table(metrics: dict, table: str) -> pd.DataFrame:
    """One row a pair and measure: difference, interval, p, p after Holm's correction, smallest effect to be seen."""
    rows = []
    for name, of_pair in metrics["differences"].items():
        for key, value in _ordered(of_pair.get(table, {})).items():
            rows.append(
                {
                    "difference": name,
                    "measure": TITLES[key],
                    "mean": f"{value['mean'] + 0.0:+.4f}",
                    "95 % interval": f"[{value['low'] + 0.0:+.4f}, {value['high'] + 0.0:+.4f}]",
                    "p": f"{value['p']:.4f}",
                    "p (Holm)": f"{value['p_holm']:.4f}",
                    "p, these seeds": f"{value['p_items']:.4f}" if "p_items" in value else "",
                    "smallest effect seen": f"{value['smallest_effect']:.4f}" if "smallest_effect" in value else "",
                }
            )
    return pd.DataFrame(rows)


def benchmarks_table(metrics: dict) -> pd.DataFrame:
    """Which benchmarks there are, with how many items; those that are not say how they are got."""
    rows = []
    for name, value in metrics["benchmarks"].items():
        scored = [f"{value[protocol]['items']} {protocol}" for protocol in ("cloze", "chat") if protocol in value]
        states = []
        if value["available"] and name in BY_STATES:
            states = [f"{value['rows']['test']} by states"]
        cut = sum(value[protocol]["too_long"] for protocol in ("cloze", "chat") if protocol in value)
        rows.append(
            {
                "benchmark": BENCHMARKS[name].title,
                "items scored": ", ".join([*scored, *states]) or "not available",
                "prompts cut at the left": cut if scored else "",
                "rows left out": sum(value["faults"].values()) if value["available"] else "",
                "note": "; ".join(filter(None, [value.get("how"), value.get("no_chat"), _fewer(value)])),
            }
        )
    return pd.DataFrame(rows)


def _fewer(benchmark: dict) -> str:
    counts = [benchmark[protocol] for protocol in ("cloze", "chat") if protocol in benchmark]
    few = [
        f"{count['asked']} were asked for; {count['items']} is all"
        for count in counts
        if count["items"] < count["asked"]
    ]
    return "; ".join(few)


def setting(params: Params, metrics: dict) -> str:
    """One paragraph of Markdown: what was trained, on what, and with which weights."""
    student, distill = params.student, params.distill
    whose = f"`{student.source.source}`'s" if student.source else "the teacher's"
    cuts = {"first": f"{whose} first layers", "lower_last": f"{whose} lower layers with its last ones on top"}
    weights = "; ".join(f"`{name}`: {_weights(params.objectives[name])}" for name in distill.objectives)
    return (
        f"The student has {student.layers} layers ({cuts[student.cut]}), of which the last {student.trained} train, on "
        f"{metrics['train_tokens']:,} tokens, {distill.epochs:g} epoch(s), learning rate {distill.learning_rate:g}, "
        f"temperature {distill.temperature:g}; seeds {', '.join(map(str, distill.seeds))}. Weights of the loss terms: "
        f"{weights}. Scored on {metrics['heldout_tokens']:,} held-out tokens, "
        f"{sum(metrics['lexical_items'].values()):,} lexical items and the benchmarks listed below."
    )


def _weights(objective: Objective) -> str:
    weights = objective.model_dump(include={"ce", "kl", "hidden", "sense"})
    shown = [f"{key} {value:g}" for key, value in weights.items() if value]
    if objective.metric != "plain":
        shown.append(f"{objective.metric} distances")
    if objective.sense:
        plain = objective.form == "regression"
        shown.append(f"margin {objective.margin:g}" if plain else f"{objective.form} {objective.scale:g}")
        shown += ["falling to 0"] if objective.anneal else []
        shown.append(f"targets {objective.targets}")
    return ", ".join(shown)


def negations_table(rows: Sequence[dict]) -> pd.DataFrame:
    """How well negations are told (`judged_negations.negation_quality`), for people."""
    return pd.DataFrame(
        {
            "rule": row["rule"],
            "words": f"{row['words']}, {row['half']}",
            **{name: _cell(_interval(row, name)) for name in ("precision", "recall")},
        }
        for row in rows
    )


def gold_table(rows: Sequence[dict]) -> pd.DataFrame:
    """Coverage and precision of lexicons on gold lists (`gold_lists.quality`), for people; without rows
    that measure nothing."""
    shown = []
    for row in rows:
        if row["relation"] == "all" or not row["gold_pairs"]:
            continue
        precision = _cell(_interval(row, "precision")) if row["statements"] else "says nothing"
        about = {"list": row["gold"], "relation": row["relation"], "pairs": row["gold_pairs"]}
        measured = {"coverage": _cell(_interval(row, "coverage")), "precision": precision}
        shown.append({**about, "lexicon": row["lexicon"], **measured})
    table = pd.DataFrame(shown)
    return table.sort_values(["list", "relation"], kind="stable", ignore_index=True) if shown else table


def _interval(row: dict, name: str) -> dict[str, float]:
    return {"mean": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}


def shown_differences(metrics: dict, measures: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the measures (table, key) that every pair of objectives has."""
    pairs = metrics["differences"].values()
    return [(table, key) for table, key in measures if all(key in of_pair.get(table, {}) for of_pair in pairs)]


def smallest_effects(metrics: dict, measures: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Of those measures (table, key) that every pair of objectives has: the smallest true difference that the design
    finds in four of five repetitions, the median over the pairs; of a run without pairs nothing."""
    if not metrics["differences"]:
        return {}
    found = {}
    for table, key in shown_differences(metrics, measures):
        effects = sorted(of_pair[table][key]["smallest_effect"] for of_pair in metrics["differences"].values())
        found[table, key] = effects[len(effects) // 2]
    return found


def _ordered(measures: dict) -> dict:
    """Measures in the order of `TITLES`, whatever order a file has them in."""
    return {key: measures[key] for key in TITLES if key in measures}


def _cell(value: dict[str, float], signed: bool = False) -> str:
    mean, low, high = (number(value[key], signed) for key in ("mean", "low", "high"))
    return f"{mean}{_SPACE}[{low},{_SPACE}{high}]"


def signed_cell(value: dict[str, float]) -> str:
    """ "+mean [low, high]" of a difference, without a star."""
    return _cell(value, signed=True)


def number(value: float, signed: bool = False) -> str:
    """Three digits, without the zero before the point: tables are wide."""
    text = f"{round(value, 3) + 0.0:{'+' if signed else ''}.3f}"
    return re.sub(r"^([+-]?)0\.", r"\1.", text)


def difference_cell(value: dict[str, float]) -> str:
    """ "+mean [low, high]" of a difference; a star where its p value after Holm's correction is below .05."""
    cell = _cell(value, signed=True)
    return f"{cell}{_SPACE}*" if value["p_holm"] < 0.05 else cell
