"""The metrics of a run, and the quality of its lexicon, as tables that people read."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from dskd.benchmarks.catalogue import BENCHMARKS
from dskd.lexicon.rungs import RUNGS
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
    **{
        f"{task}_{rung}_{side}": f"{task}, {name}, teacher {side}"
        for task in ("synonym", "antonym")
        for rung, name in RUNGS.items()
        for side in ("right", "wrong")
    },
    **{f"{kind}_{rung}": f"{kind}, {name}" for kind in ("synonym", "antonym") for rung, name in RUNGS.items()},
}
CHANCE = {  # accuracy of a blind guess
    **dict.fromkeys(("synonym", "antonym", "definition", "arc_easy", "arc_challenge", "mmlu", "openbookqa"), 1 / 4),
    "commonsense_qa": 1 / 5,
    **dict.fromkeys(("wic_states", "antonym_cosine", "antonym_probe", "piqa", "wic"), 1 / 2),
}
LESS_IS_BETTER = ("ce", "bits_per_byte", "kl")
MAIN_MEASURES = (  # table and measure: what is shown where not all fit
    ("heldout", "kl"),
    ("heldout", "ce"),
    ("lexical", "synonym"),
    ("lexical", "antonym"),
    ("lexical", "definition"),
    ("lexical", "antonym_probe"),
    ("cloze", "all"),
)
_SPACE = "\u00a0"  # no line breaks at this space
BY_STATES = ("wic", "simlex", "antsynnet")  # benchmarks that are scored from hidden states
TABLES = {
    "heldout": "Held-out text",
    "glosses": "Held-out glosses",
    "lexical": "Lexical measures (accuracy)",
    "ladder": "Lexical choice by what was trained (accuracy)",
    "ladder_probability": "Lexical choice by what was trained: share of the right answer in the choices' probabilities",
    "in_context": "Related against unrelated words in held-out text (difference of log-probabilities, nats)",
    "similarity": "Word similarity (Spearman's rho with human judgement)",
    "cloze": "Benchmarks, cloze: accuracy of the most probable choice",
    "cloze_norm": "Benchmarks, cloze: accuracy of the choice that is most probable per character",
    "cloze_probability": "Benchmarks, cloze: probability of the right answer, as a share of all choices",
    "chat": "Benchmarks, the paper's protocol: answered examples in a chat, then one greedy token",
}

_PROTOCOLS = {
    "cloze": "cloze",
    "cloze_norm": "cloze per character",
    "cloze_probability": "cloze, p(answer)",
    "chat": "chat",
}


def measure_name(table: str, key: str) -> str:
    """The name of a measure where no table title stands above it."""
    return f"{_PROTOCOLS[table]}: {TITLES[key]}" if table in _PROTOCOLS else TITLES[key]


def models_table(metrics: dict, table: str) -> pd.DataFrame:
    """One row per model or objective, with its seeds averaged: "mean [low, high]" of every measure in a table."""
    return pd.DataFrame(
        [
            {"model": name, **{TITLES[key]: mean_cell(value) for key, value in _ordered(model[table]).items()}}
            for name, model in metrics["models"].items()
            if table in model
        ]
    )


def differences_table(metrics: dict, table: str) -> pd.DataFrame:
    """One row per pair of objectives: each difference with its 95 % interval, and a star where p < .05 after Holm's
    correction."""
    return pd.DataFrame(
        [
            {"difference": name, **{TITLES[k]: difference_cell(v) for k, v in _ordered(of_pair[table]).items()}}
            for name, of_pair in metrics["differences"].items()
            if table in of_pair
        ]
    )


def tests_table(metrics: dict, table: str) -> pd.DataFrame:
    """One row per pair and measure: difference, interval, p values, outcome, smallest detectable effect. These tests
    are secondary."""
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
                    "p, these seeds": _optional(value, "p_items"),
                    "p, equivalent": _optional(value, "p_equivalent"),
                    "outcome": value.get("outcome", ""),
                    "smallest detectable effect": _optional(value, "smallest_effect"),
                }
            )
    return pd.DataFrame(rows)


def primary_table(tests: Sequence[dict]) -> pd.DataFrame:
    """One row per primary test (`metrics.primary_tests`): what was declared, what was found, and the outcome."""
    return pd.DataFrame(
        [
            {
                "measure": measure_title(*test["measure"].split(".")),
                "difference": f"{test['student']} - {test['control']}",
                "margin": f"{test['margin']:g}",
                "found": signed_cell(test),
                "p": f"{test['p_holm']:.4f}",
                "p, equivalent": f"{test['p_equivalent_holm']:.4f}",
                "seeds": test["seeds"],
                "outcome": f"**{test['outcome']}**",
            }
            for test in tests
        ]
    )


def measure_title(table: str, key: str) -> str:
    """The name of a measure after that of its table."""
    return f"{TABLES[table]}: {TITLES[key]}"


def _optional(value: dict[str, float], key: str) -> str:
    return f"{value[key]:.4f}" if key in value else ""


def all_tables(
    metrics: dict, make: Callable[[dict, str], pd.DataFrame], names: Iterable[str] = tuple(TABLES)
) -> dict[str, pd.DataFrame]:
    """name -> table, for those of the names that the run has scores of. `make` is one of the three functions above."""
    made = {name: make(metrics, name) for name in names}
    return {name: table for name, table in made.items() if len(table)}


def commands_table(metrics: dict) -> pd.DataFrame:
    """One row per model or objective: the command that makes it."""
    return pd.DataFrame([{"model": name, "command": model["command"]} for name, model in metrics["models"].items()])


def benchmarks_table(metrics: dict) -> pd.DataFrame:
    """Every benchmark with its number of scored items; where one is missing, the note says how to get it."""
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
    """A note where the benchmark has fewer items than the parameters ask for."""
    counts = [benchmark[protocol] for protocol in ("cloze", "chat") if protocol in benchmark]
    few = [
        f"{count['asked']} were asked for; it has {count['items']}"
        for count in counts
        if count["items"] < count["asked"]
    ]
    return "; ".join(few)


def setting(params: Params, metrics: dict) -> str:
    """Markdown: a table of what was trained and on what, and a table with the weights of each objective."""
    student, distill = params.student, params.distill
    whose = f"`{student.source.source}`'s" if student.source else "the teacher's"
    cuts = {"first": f"{whose} first layers", "lower_last": f"{whose} lower layers with its last ones on top"}
    epochs = f"{distill.epochs:g} epoch{'' if distill.epochs == 1 else 's'}"
    rows = {
        "student": f"{student.layers} layers: {cuts[student.cut]}; the last {student.trained} train",
        "training": f"{metrics['train_tokens']:,} tokens, {epochs}, learning rate {distill.learning_rate:g}, "
        f"temperature {distill.temperature:g}",
        "seeds": ", ".join(map(str, distill.seeds)),
        "scored on": f"{metrics['heldout_tokens']:,} held-out tokens, {sum(metrics['lexical_items'].values()):,} "
        "lexical items, and the benchmarks listed below",
    }
    weights = {f"`{name}`": _weights(params.objectives[name]) for name in distill.objectives}
    return f"{_markdown('setting', 'value', rows)}\n\n{_markdown('objective', 'weights of the loss terms', weights)}"


def _weights(objective: Objective) -> str:
    weights = objective.model_dump(include={"ce", "kl", "hidden", "sense"})
    shown = [f"{key} {value:g}" for key, value in weights.items() if value]
    if objective.metric != "plain":
        shown.append(f"{objective.metric} distances")
    if objective.sense:
        shown.append(f"margin {objective.margin:g}" if objective.form == "regression" else f"{objective.form} form")
        shown.append(f"targets {objective.targets}")
    return ", ".join(shown)


def _markdown(first: str, second: str, rows: dict[str, str]) -> str:
    """A Markdown table of two columns."""
    return "\n".join(f"| {key} | {value} |" for key, value in [(first, second), ("---", "---"), *rows.items()])


def negations_table(rows: Sequence[dict]) -> pd.DataFrame:
    """How well negations are recognised (`lexicon_quality.negation_quality`), one row per rule and half."""
    return pd.DataFrame(
        {
            "rule": row["rule"],
            "words": f"{row['words']}, {row['half']}",
            **{name: mean_cell(_interval(row, name)) for name in ("precision", "recall")},
        }
        for row in rows
    )


def gold_table(rows: Sequence[dict]) -> pd.DataFrame:
    """Coverage and precision of lexicons on gold lists (`gold_lists.quality`). Rows that measure nothing are left
    out."""
    shown = []
    for row in rows:
        if row["relation"] == "all" or not row["gold_pairs"]:
            continue
        precision = mean_cell(_interval(row, "precision")) if row["statements"] else "says nothing"
        about = {"list": row["gold"], "relation": row["relation"], "pairs": row["gold_pairs"]}
        measured = {"coverage": mean_cell(_interval(row, "coverage")), "precision": precision}
        shown.append({**about, "lexicon": row["lexicon"], **measured})
    table = pd.DataFrame(shown)
    return table.sort_values(["list", "relation"], kind="stable", ignore_index=True) if shown else table


def _interval(row: dict, name: str) -> dict[str, float]:
    return {"mean": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}


def shown_differences(metrics: dict, measures: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The measures (table, key) that every pair of objectives has."""
    pairs = metrics["differences"].values()
    return [(table, key) for table, key in measures if all(key in of_pair.get(table, {}) for of_pair in pairs)]


def smallest_effects(metrics: dict, measures: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """(table, key) -> the smallest true difference that the design finds in four of five repetitions.

    It is the median over the pairs. Measures that some pair lacks are left out. A run without pairs has none.
    """
    if not metrics["differences"]:
        return {}
    found = {}
    for table, key in shown_differences(metrics, measures):
        effects = sorted(of_pair[table][key]["smallest_effect"] for of_pair in metrics["differences"].values())
        found[table, key] = effects[len(effects) // 2]
    return found


def _ordered(measures: dict) -> dict:
    """The measures in the order of `TITLES`, whatever their order in the file."""
    return {key: measures[key] for key in TITLES if key in measures}


def mean_cell(value: Mapping[str, float | None], signed: bool = False) -> str:
    """A mean as "mean [low, high]"."""
    mean, low, high = (number(value[key], signed) for key in ("mean", "low", "high"))
    return f"{mean}{_SPACE}[{low},{_SPACE}{high}]"


def signed_cell(value: dict[str, float]) -> str:
    """A difference as "+mean [low, high]", without a star."""
    return mean_cell(value, signed=True)


def number(value: float | None, signed: bool = False) -> str:
    """Three digits after the point and no zero before it, because the tables are wide; "-" for what is not known."""
    if value is None or value != value:
        return "-"
    text = f"{round(value, 3) + 0.0:{'+' if signed else ''}.3f}"
    return re.sub(r"^([+-]?)0\.", r"\1.", text)


def difference_cell(value: dict[str, float]) -> str:
    """A difference as "+mean [low, high]", with a star where p < .05 after Holm's correction."""
    cell = mean_cell(value, signed=True)
    return f"{cell}{_SPACE}*" if value["p_holm"] < 0.05 else cell
