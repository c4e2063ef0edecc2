"""A run's main figures as DVC shows them: a few with short names for tables, and the differences for `dvc plots`."""

from collections.abc import Mapping

import pandas as pd

from dskd.report.metrics import BASELINE
from dskd.report.tables import MAIN_MEASURES, measure_name, shown_differences

_DICTIONARY = {  # short name -> its name in reports/senses.json
    "n": "senses",
    "two": "heads_with_two_senses",
    "wic": "wic_auc",
    "rnd": "wic_auc_random",
    "var": "heldout_variance",
}
_SHORT = {"synonym": "syn", "antonym": "ant", "definition": "def", "antonym_probe": "probe", "all": "cloze"}
_DIGITS = 3  # after the point, which is finer than any interval


def main_figures(metrics: Mapping, dictionary: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Sixteen figures where two objectives were trained and all was measured, by group. `dvc metrics show` prints them
    in one line, so that names and numbers are short.

    "s" is the sense dictionary: how many senses ("n"), the share of the lexicon's heads with two or more, WiC's AUC,
    the same by random states ("rnd"), and the share of held-out variance that is explained. Each objective has its
    cross-entropy and KL in nats a token and, but for the one that others are compared with, its difference from that
    one in each main measure ("d_kl", "d_syn", ...).

    Args:
        metrics: of `report.metrics.summarise`.
        dictionary: what reports/senses.json holds.

    What either lacks, or could not be measured (null), is left out.
    """
    found = {
        "s": {key: _short(dictionary[name]) for key, name in _DICTIONARY.items() if dictionary.get(name) is not None}
    }
    objectives = [name for name in metrics["models"] if name not in ("teacher", "cut")]
    base = BASELINE if BASELINE in objectives else objectives[0]
    for name in objectives:
        of_model = found.setdefault(name, {})
        of_model |= {key: _short(metrics["models"][name]["heldout"][key]["mean"]) for key in ("ce", "kl")}
        of_pair = metrics["differences"].get(f"{name} - {base}", {})
        for table, key in MAIN_MEASURES:
            if key in of_pair.get(table, {}):
                of_model[f"d_{_SHORT.get(key, key)}"] = _short(of_pair[table][key]["mean"])
    return found


def _short(value: float) -> float:
    return value if isinstance(value, int) else round(value, _DIGITS)


def differences_table(metrics: Mapping) -> pd.DataFrame:
    """Every difference in the main measures, one row a measure and pair.

    Columns: pair ("dskd - kd"), measure, mean, low and high (the 95 % interval, in the measure's unit), and whether
    p < .05 after Holm's correction ("yes" or "no").
    """
    rows = [
        {
            "pair": pair,
            "measure": measure_name(table, key),
            **{name: round(of_pair[table][key][name], 6) for name in ("mean", "low", "high")},
            "shown": "yes" if of_pair[table][key]["p_holm"] < 0.05 else "no",
        }
        for table, key in shown_differences(metrics, MAIN_MEASURES)
        for pair, of_pair in metrics["differences"].items()
    ]
    return pd.DataFrame(rows, columns=["pair", "measure", "mean", "low", "high", "shown"])
