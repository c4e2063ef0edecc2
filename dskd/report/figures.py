"""The pictures of the notebooks and the report. Each function takes data and returns matplotlib figures."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from torch import Tensor

from dskd.infra import artifacts
from dskd.params import Params
from dskd.report.tables import CHANCE, MAIN_MEASURES, measure_name, shown_differences
from dskd.senses.store import Senses

# Okabe and Ito's colours: people with colour-blindness can tell them apart. Markers differ as well.
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
PHONE = 3.15  # inches at 110 dots an inch: what fits, with a margin, on a page that is 400 pixels wide
_UNITS = {
    "ce": "CE (nats/token)",
    "kl": "KL at temperature T (nats/token)",
    "hidden": "hidden-state error (mean square)",
    "sense": "sense loss",
}


def read_curves(name: str) -> pd.DataFrame:
    """A student's loss terms by step, from the tables that DVCLive wrote: the column "step" and one per term."""
    folder = Path(artifacts.CURVES) / name / "plots" / "metrics"
    tables = [pd.read_csv(path, sep="\t").set_index("step") for path in sorted(folder.glob("*.tsv"))]
    return pd.concat(tables, axis=1).reset_index()


def curves(students: Sequence[str]) -> Figure:
    """The loss terms during training: one panel per term, one line per student."""
    tables, terms = _read_terms(students)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(terms), figsize=(3.6 * len(terms), 3.1), squeeze=False, layout="constrained")
        for axis, term in zip(axes[0], terms):
            _draw_curves(axis, tables, term)
        axes[0][0].legend(fontsize=8)
    plt.close(figure)
    return figure


def curve_panels(students: Sequence[str]) -> list[Figure]:
    """The panels of `curves`, each as a figure of its own."""
    tables, terms = _read_terms(students)
    return [
        _panel(lambda axis, term=term: (_draw_curves(axis, tables, term), axis.legend(fontsize=7))) for term in terms
    ]


def curves_of_first_seed(params: Params) -> list[Figure]:
    """The panels of `curves` for one student of each objective: that of the first seed."""
    return curve_panels([f"{objective}-{params.distill.seeds[0]}" for objective in params.distill.objectives])


def _read_terms(students: Sequence[str]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    tables = {name: read_curves(name) for name in students}
    return tables, [term for term in _UNITS if any(term in table for table in tables.values())]


def _draw_curves(axis: Axes, tables: Mapping[str, pd.DataFrame], term: str) -> None:
    for i, (name, table) in enumerate(tables.items()):
        if term in table:  # the lines lie close together: dashes let the one below show through
            line = {"color": COLOURS[i % len(COLOURS)], "linestyle": ("-", "--", ":", "-.")[i % 4]}
            axis.plot(table["step"], table[term], label=name, linewidth=1.4, **line)
    axis.set(xlabel="training step", ylabel=_UNITS[term])


def _panel(draw: Callable[[Axes], object], height: float = 2.4) -> Figure:
    """One panel as a figure that fits on a telephone; a wide page puts several side by side."""
    with plt.rc_context(STYLE | {"font.size": 8}):
        figure, axis = plt.subplots(figsize=(PHONE, height), layout="constrained")
        draw(axis)
    plt.close(figure)
    return figure


def intervals(metrics: dict, measures: Sequence[tuple[str, str]] = MAIN_MEASURES) -> list[Figure]:
    """Means with 95 % intervals: one panel per measure (table, key) that was taken, one line per model.

    A dotted line marks chance.
    """
    figures = []
    for table, key in measures:
        models = {name: model[table][key] for name, model in metrics["models"].items() if key in model.get(table, {})}

        def draw(axis: Axes, models: dict = models, name: tuple[str, str] = (table, key)) -> None:
            for row, value in enumerate(models.values()):
                colour = COLOURS[row % len(COLOURS)]
                if value["low"] is not None:
                    axis.plot([value["low"], value["high"]], [row, row], color=colour, linewidth=2)
                axis.plot(value["mean"], row, MARKERS[row % len(MARKERS)], color=colour)
            if chance := CHANCE.get(name[1]):
                axis.axvline(chance, color="black", linestyle=":", linewidth=1)
            axis.set(xlabel=_axis_name(*name), yticks=range(len(models)), yticklabels=models)
            axis.margins(y=0.5 / len(models))
            axis.invert_yaxis()

        if models:
            figures.append(_panel(draw, 0.85 + 0.22 * len(models)))
    return figures


def differences(metrics: dict, measures: Sequence[tuple[str, str]] = MAIN_MEASURES) -> list[Figure]:
    """Differences between objectives with 95 % intervals: one panel per measure that all pairs have, one line per pair.

    A mark is filled where p < .05 after Holm's correction. A grey band covers differences that are too small for the
    design to find reliably.
    """
    pairs, figures = metrics["differences"], []
    for table, key in shown_differences(metrics, measures) if pairs else ():

        def draw(axis: Axes, table: str = table, key: str = key) -> None:
            for row, of_pair in enumerate(pairs.values()):
                value = of_pair[table][key]
                if effect := value.get("smallest_effect"):
                    axis.fill_betweenx([row - 0.4, row + 0.4], -effect, effect, color="grey", alpha=0.2, linewidth=0)
                axis.plot([value["low"], value["high"]], [row, row], color=COLOURS[0], linewidth=2)
                filled = COLOURS[0] if value["p_holm"] < 0.05 else "white"
                axis.plot(value["mean"], row, "o", color=COLOURS[0], markerfacecolor=filled, markersize=5)
            axis.axvline(0, color="black", linewidth=0.8)
            axis.set(xlabel=_axis_name(table, key), yticks=range(len(pairs)), yticklabels=list(pairs))
            axis.xaxis.set_major_locator(MaxNLocator(3))
            axis.margins(y=0.3 / len(pairs))
            axis.invert_yaxis()

        figures.append(_panel(draw, 0.85 + 0.22 * len(pairs)))
    return figures


def _axis_name(table: str, key: str) -> str:
    """The name of a measure with its unit."""
    share = table in ("lexical", "cloze", "cloze_norm", "chat") and not key.startswith("squad")
    return f"{measure_name(table, key)} (accuracy)" if share else measure_name(table, key)


def sense_map(
    groups: Mapping[str, Sequence[tuple[str, Tensor]]], title: str, size: tuple[float, float] = (7.5, 5.6)
) -> Figure:
    """Senses in the plane of their first two principal components; a line ties each to the mean of its word's senses.

    Args:
        groups: group name ("synonyms", …) -> words, each with its senses (n, d).
        size: width and height in inches.
    """
    labels = [(group, word, row) for group, words in groups.items() for word, senses in words for row in senses]
    points = np.stack([row.float().numpy() for *_, row in labels]).astype(np.float64)
    centred = points - points.mean(axis=0)
    _, _, axes_of = np.linalg.svd(centred, full_matrices=False)
    axes_of = axes_of[:2]
    axes_of = axes_of * np.sign(axes_of[np.arange(2), np.abs(axes_of).argmax(axis=1)])[:, None]  # SVD may flip signs
    plane = centred @ axes_of.T
    share = (plane**2).sum(axis=0) / (centred**2).sum()
    with plt.rc_context(STYLE | {"font.size": 8 if size[0] < 5 else 10}):
        figure, axis = plt.subplots(figsize=size, layout="constrained")
        for i, group in enumerate(groups):
            rows = [j for j, label in enumerate(labels) if label[0] == group]
            axis.scatter(
                *plane[rows].T, s=26, color=COLOURS[i], marker=MARKERS[i], alpha=0.75, label=group, linewidths=0
            )
        names = {}
        for i, (group, words) in enumerate(groups.items()):
            for word in dict.fromkeys(word for word, _ in words):
                own = plane[[j for j, label in enumerate(labels) if label[:2] == (group, word)]]
                names[group, word] = own.mean(axis=0), COLOURS[i]
                for point in own:
                    axis.plot(*zip(point, names[group, word][0]), color=COLOURS[i], alpha=0.25, linewidth=0.7)
        axis.set(
            title=title,
            xlabel=f"first principal component ({share[0]:.0%} of variance)",
            ylabel=f"second ({share[1]:.0%})",
        )
        figure.legend(loc="outside lower center", ncols=len(groups))
        _name_points(figure, axis, names)
    plt.close(figure)
    return figure


def word_map(word: str, groups: Mapping[str, Sequence[tuple[str, Tensor]]]) -> Figure:
    """The `sense_map` of a word, its synonyms and its antonyms, as wide as a telephone."""
    return sense_map(groups, f"“{word}”, its synonyms and antonyms", (PHONE, 3.6))


def _name_points(figure: Figure, axis: Axes, names: Mapping[tuple, tuple[np.ndarray, str]]) -> None:
    """Write each name (the last part of its key) at its point, or as near as it can stand clear of other names."""
    figure.draw_without_rendering()
    taken, halo = [], [withStroke(linewidth=2.5, foreground="white")]
    for (*_, word), (point, colour) in names.items():
        text = axis.annotate(
            word, point, (0, 0), textcoords="offset points", color=colour, weight="bold", ha="center", va="center",
            path_effects=halo, annotation_clip=False,
        )  # fmt: skip
        for step in range(12):  # above and below in turn, one line height farther each time
            text.set_position((0, 11 * (step + 1) // 2 * (-1) ** step))
            box = text.get_window_extent()
            if not any(Bbox.intersection(box, other) for other in taken):
                break
        taken.append(box)


def sense_counts(senses: Senses) -> Figure:
    """How many senses the tokens have, and how often the tokens occur."""
    number = np.diff(senses.offsets.numpy())
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
        values, counts = np.unique(number, return_counts=True)
        left.bar(values, counts, color=COLOURS[0])
        left.set(xlabel="senses per token", ylabel="number of tokens")
        right.loglog(np.arange(1, len(number) + 1), np.sort(senses.occurrences.numpy())[::-1], color=COLOURS[1])
        right.set(xlabel="token, by rank", ylabel="occurrences (states)")
    plt.close(figure)
    return figure


def degrees(synonyms: Mapping[int, Sequence], antonyms: Mapping[int, Sequence]) -> Figure:
    """How many synonyms and antonyms the heads of the lexicon have."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7.5, 3), layout="constrained")
        for i, (name, table) in enumerate((("synonyms", synonyms), ("antonyms", antonyms))):
            values, counts = np.unique([len(tails) for tails in table.values()], return_counts=True)
            axis.plot(values, counts, MARKERS[i], markersize=4, color=COLOURS[i], label=name)
        axis.set(xscale="log", yscale="log", xlabel="related words per head", ylabel="number of heads")
        axis.legend()
    plt.close(figure)
    return figure


def overlaps(table: pd.DataFrame) -> Figure:
    """How much of each row's list the list of each column repeats (`lexicon_quality.overlaps`)."""
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


_FAMILIES = {  # the codes of docs/trials/codes.csv that make a line, by the beginning of their names
    "senses": "token and sense, then the rest",
    "residual": "residual quantiser",
    "product": "product quantiser",
    "top": "most probable tokens",
    "draws": "drawn tokens",
    "context": "guess from the state below, then the rest",
}
_SINGLE_CODES = ("token mean", "random sense", "word-free senses", "context + token mean", "context + senses")


def rate_distortion(rows: pd.DataFrame) -> Figure:
    """What each code leaves of the teacher (KL) against its bytes a token, without the codebooks."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
        for i, (begins, label) in enumerate(_FAMILIES.items()):
            family = rows[rows["code"].str.match(rf"{begins}( \+)?( \d+)?$")].sort_values("bytes")
            line = family[family["bytes"] > 0]
            axis.plot(line["bytes"], line["kl"], marker=MARKERS[i], markersize=5, color=COLOURS[i], label=label)
            for kl in family[family["bytes"] == 0]["kl"]:
                axis.axhline(kl, color=COLOURS[i], linestyle=":", linewidth=1)
        for found in rows[rows["code"].isin(_SINGLE_CODES)].itertuples():
            axis.plot(found.bytes, found.kl, "X", color="black", markersize=6)
            axis.annotate(found.code, (found.bytes, found.kl), (6, 3), textcoords="offset points", fontsize=8)
        axis.set(xscale="log", xlabel="bytes a token (codebooks apart)", ylabel="KL from the teacher (nats/token)")
        axis.set(xticks=[1, 2, 4, 8, 16, 32, 64, 128], xticklabels=[1, 2, 4, 8, 16, 32, 64, 128])
        axis.minorticks_off()
        axis.legend(fontsize=8)
    plt.close(figure)
    return figure
