"""The pictures of notebooks and report. Each function takes data and returns a matplotlib figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from dskd import artifacts
from dskd.senses import SenseDictionary
from dskd.tables import TITLES, shown_differences

# Okabe and Ito's colours, which people with colour-blindness tell apart; markers differ as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
STYLE = {
    "figure.dpi": 110,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "font.size": 10,
    "legend.frameon": False,
}
TABLE_NAMES = {"heldout": "held-out", "lexical": "held-out words", "cloze_probability": "cloze, p(answer)"}
_SHOWN = (
    ("heldout", "kl"),
    ("lexical", "synonym"),
    ("lexical", "antonym"),
    ("cloze", "all"),
    ("cloze_probability", "all"),
)
_UNITS = {
    "ce": "CE (nats/token)",
    "kl": "KL at T (nats/token)",
    "hidden": "state error (mean square)",
    "sense": "sense loss",
}


def read_curves(name: str) -> pd.DataFrame:
    """A student's loss terms by step, from the tables that DVCLive left: columns step and one a term."""
    folder = Path(artifacts.CURVES) / name / "plots" / "metrics"
    tables = [pd.read_csv(path, sep="\t").set_index("step") for path in sorted(folder.glob("*.tsv"))]
    return pd.concat(tables, axis=1).reset_index()


def curves(students: Sequence[str]) -> Figure:
    """Loss terms while training, one panel a term, one line a student."""
    tables = {name: read_curves(name) for name in students}
    terms = [term for term in _UNITS if any(term in table for table in tables.values())]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(terms), figsize=(3.6 * len(terms), 3.1), squeeze=False, layout="constrained")
        for axis, term in zip(axes[0], terms):
            for i, (name, table) in enumerate(tables.items()):
                if term in table:
                    line = {"color": COLOURS[i % len(COLOURS)], "linestyle": ("-", "--", ":")[i // len(COLOURS) % 3]}
                    axis.plot(table["step"], table[term], label=name, linewidth=1.4, **line)
            axis.set(xlabel="step", ylabel=_UNITS[term])
        axes[0][0].legend(fontsize=8)
    plt.close(figure)
    return figure


def intervals(metrics: dict, table: str, keys: Sequence[str]) -> Figure:
    """Means with 95 % intervals, one panel a measure of a table, one line a model."""
    models = list(metrics["models"])
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(keys), figsize=(3.2 * len(keys), 0.5 + 0.42 * len(models)), sharey=True, layout="constrained"
        )
        for axis, key in zip(np.atleast_1d(axes), keys):
            for row, name in enumerate(models):
                value = metrics["models"][name][table][key]
                colour = COLOURS[row % len(COLOURS)]
                axis.plot([value["low"], value["high"]], [row, row], color=colour, linewidth=2)
                axis.plot(value["mean"], row, MARKERS[row % len(MARKERS)], color=colour)
            axis.set(title=TITLES[key], yticks=range(len(models)), yticklabels=models)
        np.atleast_1d(axes)[0].invert_yaxis()
    plt.close(figure)
    return figure


def differences(metrics: dict, measures: Sequence[tuple[str, str]] = _SHOWN) -> Figure:
    """Differences between objectives with 95 % intervals, one panel a measure, one line a pair; a filled mark where
    p < .05 after Holm's correction, and a grey band for what the design could not have seen."""
    pairs = metrics["differences"]
    shown = shown_differences(metrics, measures)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(shown), figsize=(1.5 + 2.9 * len(shown), 0.9 + 0.3 * len(pairs)), sharey=True, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for axis, (table, key) in zip(axes[0], shown):
            for row, of_pair in enumerate(pairs.values()):
                value = of_pair[table][key]
                effect = value["smallest_effect"]
                axis.fill_betweenx([row - 0.4, row + 0.4], -effect, effect, color="grey", alpha=0.15, linewidth=0)
                axis.plot([value["low"], value["high"]], [row, row], color=COLOURS[0], linewidth=2)
                filled = COLOURS[0] if value["p_holm"] < 0.05 else "white"
                axis.plot(value["mean"], row, "o", color=COLOURS[0], markerfacecolor=filled, markersize=5)
            axis.axvline(0, color="black", linewidth=0.8)
            title = f"{TABLE_NAMES.get(table, table)}: {TITLES[key]}"
            axis.set(title=title, yticks=range(len(pairs)), yticklabels=list(pairs))
            axis.title.set_fontsize(9)
        axes[0][0].invert_yaxis()
    plt.close(figure)
    return figure


def sense_map(groups: Mapping[str, Sequence[tuple[str, Tensor]]], title: str) -> Figure:
    """Senses in the plane of their two largest principal components.

    Args:
        groups: group name ("synonyms", …) -> words, each with its senses (n, d).
    """
    labels = [(group, word, row) for group, words in groups.items() for word, senses in words for row in senses]
    points = np.stack([row.float().numpy() for *_, row in labels]).astype(np.float64)
    centred = points - points.mean(axis=0)
    _, _, axes_of = np.linalg.svd(centred, full_matrices=False)
    axes_of = axes_of[:2]
    axes_of = axes_of * np.sign(axes_of[np.arange(2), np.abs(axes_of).argmax(axis=1)])[:, None]  # SVD leaves signs open
    plane = centred @ axes_of.T
    share = (plane**2).sum(axis=0) / (centred**2).sum()
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7.5, 5.6), layout="constrained")
        for i, group in enumerate(groups):
            rows = [j for j, label in enumerate(labels) if label[0] == group]
            axis.scatter(
                *plane[rows].T, s=26, color=COLOURS[i], marker=MARKERS[i], alpha=0.75, label=group, linewidths=0
            )
        for word in dict.fromkeys(label[1] for label in labels):
            rows = [j for j, label in enumerate(labels) if label[1] == word]
            colour = COLOURS[list(groups).index(labels[rows[0]][0])]
            axis.annotate(word, plane[rows].mean(axis=0), color=colour, fontsize=11, weight="bold", ha="center")
        axis.set(
            title=title,
            xlabel=f"first principal component ({share[0]:.0%} of variance)",
            ylabel=f"second ({share[1]:.0%})",
        )
        axis.legend(loc="best")
    plt.close(figure)
    return figure


def sense_counts(senses: SenseDictionary) -> Figure:
    """How many senses tokens have, and how often tokens occur."""
    number = np.diff(senses.offsets.numpy())
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
        values, counts = np.unique(number, return_counts=True)
        left.bar(values, counts, color=COLOURS[0])
        left.set(xlabel="senses of a token", ylabel="tokens")
        right.loglog(np.arange(1, len(number) + 1), np.sort(senses.occurrences.numpy())[::-1], color=COLOURS[1])
        right.set(xlabel="rank of the token", ylabel="states (occurrences)")
    plt.close(figure)
    return figure


def degrees(synonyms: Mapping[int, Sequence], antonyms: Mapping[int, Sequence]) -> Figure:
    """How many related words the heads of the lexicon have."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7.5, 3), layout="constrained")
        for i, (name, table) in enumerate((("synonyms", synonyms), ("antonyms", antonyms))):
            values, counts = np.unique([len(tails) for tails in table.values()], return_counts=True)
            axis.plot(values, counts, MARKERS[i], markersize=4, color=COLOURS[i], label=name)
        axis.set(xscale="log", yscale="log", xlabel="related words of a head", ylabel="heads")
        axis.legend()
    plt.close(figure)
    return figure


def overlaps(table: pd.DataFrame) -> Figure:
    """Which lexicon or list says what another says, as shares of each row (`dskd.quality.overlaps`)."""
    names, shares = table["of"].tolist(), table.drop(columns=["of", "statements"]).to_numpy(dtype=float)
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, axis = plt.subplots(figsize=(2.6 + 0.75 * len(names), 1.2 + 0.45 * len(names)), layout="constrained")
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.6 else "black"
            axis.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=9)
        labels = [f"{name} ({number:,})" for name, number in zip(names, table["statements"])]
        axis.set(yticks=range(len(names)), yticklabels=labels, xticks=range(len(names)))
        axis.set_xticklabels(names, rotation=35, ha="right")
        axis.spines[:].set_visible(False)
    plt.close(figure)
    return figure
