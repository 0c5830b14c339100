"""Predicted classes and probabilities against what occurred."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hi_ml.reports.charts.layout import (
    Floats,
    add_colorbar,
    add_legend,
    chart,
    name_axes,
    name_panel,
    new_figure,
    panel_grid,
    plain_ticks,
)
from hi_ml.reports.charts.style import BAND, COUNTS, DARK, DOTS, INK, MUTED, SERIES, wrapped

_TOGETHER = 4  # more classes than this get a panel each: their lines would hide one another
_WITH_COUNTS = 8  # more classes than this leave no room for a second line in the cells of the confusion matrix
_DARK_CELL = 0.7  # share from which ink on the cell gives way to white
_ONE_LINE = 3  # panels beside one another, with room for more ticks


@chart
def confusion(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw, for each observed class, how often each class was predicted.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.statistics.curves.confusion_table`: `target, prediction, n, share`, all pairs of classes. Up to
        8 classes show the counts in the cells; more show them per row only.
    title, caption : str
        The verdict as a sentence; n and method.
    """
    labels = list(dict.fromkeys(table["target"]))
    size = len(labels)
    counts, share = (table[name].to_numpy(float).reshape(size, size) for name in ("n", "share"))
    side = max(2.6, min(0.75, 0.4 + 2.4 / size) * size)
    figure = new_figure(
        title, caption, height=side * 0.8 + (1.7 if size > _TOGETHER else 0.7), width=max(5.6, side + 2.6)
    )
    ax = figure.subplots()
    drawn = ax.imshow(100 * share, cmap=COUNTS, vmin=0, vmax=100, aspect="auto")
    add_colorbar(ax, drawn, "Share of the observed class (%)")
    _write_shares(ax, counts, share)
    upright = size > _TOGETHER
    rows = [
        f"{wrapped(label, *((26, 2) if size <= _WITH_COUNTS else (36, 1)))}\nn = {n:,.0f}"
        for label, n in zip(labels, counts.sum(axis=1), strict=True)
    ]
    ax.set_yticks(range(size), rows)
    ax.set_xticks(
        range(size), [wrapped(label, 26 if upright else 14) for label in labels], rotation=90 if upright else 0
    )
    ax.set(xlabel="Predicted class", ylabel="Observed class")
    ax.grid(visible=False)
    ax.tick_params(length=0)
    return figure


def _write_shares(ax: Axes, counts: Floats, share: Floats) -> None:
    size = len(counts)
    for row, column in np.ndindex(counts.shape):
        part = share[row, column]
        text = "" if np.isnan(part) else f"{100 * part:.0f}" + (" %" if size <= _WITH_COUNTS else "")
        if text and size <= _WITH_COUNTS:
            text += f"\n{counts[row, column]:,.0f}"
        ax.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if part > _DARK_CELL else INK)


@chart
def reliability(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw, for each class, how often it occurred among rows of like predicted probability.

    Points inside the grey band agree with probabilities that are right.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.statistics.curves.reliability_table`: `class, probability, observed, low, high`. Where it has
        `in_the_large` and `slope`, each with `_low` and `_high`, one value per class, up to 3 classes show them.
    title, caption : str
        The verdict as a sentence; n and method, with the level of the band.
    """
    labels = list(dict.fromkeys(table["class"]))
    end = min(1.0, float(np.ceil(10.5 * table[["probability", "observed", "high"]].max().max()) / 10))
    figure, panels = panel_grid(title, caption, len(labels), legend_lines=1)
    name_axes(figure, panels, ["Predicted probability", "Observed share"])
    for ax, label in zip(panels, labels, strict=True):
        part = table[table["class"] == label]
        ax.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--")
        _draw_consistency(ax, part)
        ax.plot(part["probability"], part["observed"], "o-", color=DARK, markersize=4, linewidth=0.8, clip_on=False)
        ax.set(xlim=(0, end), ylim=(0, end))
        name_panel(ax, label, *(_measures(part) if "slope" in part and len(labels) <= _ONE_LINE else ()))
    plain_ticks(panels, count=4 if len(labels) <= _ONE_LINE else 2)
    add_legend(
        figure,
        [
            Line2D([], [], color=DARK, marker="o", markersize=4, linewidth=0.8, label="observed"),
            Patch(color=BAND, label="expected if the probabilities are right"),
            Line2D([], [], color=INK, linewidth=1, linestyle="--", label="observed = predicted"),
        ],
    )
    return figure


def _measures(part: pd.DataFrame) -> Iterator[str]:
    for name in ("in_the_large", "slope"):
        value, low, high = (float(part[f"{name}{end}"].iloc[0]) for end in ("", "_low", "_high"))
        words = name.replace("_", " ")
        if np.isnan(value):
            yield f"{words}\nnot estimable"
        else:
            yield f"{words} {value:.2f}\n({low:.2f} to {high:.2f})".replace("-", "−")


def _draw_consistency(ax: Axes, part: pd.DataFrame) -> None:
    reach = (part["probability"] - part["low"]).clip(lower=0), (part["high"] - part["probability"]).clip(lower=0)
    if len(part) > 1:
        ax.fill_between(part["probability"], part["low"], part["high"], color=BAND, linewidth=0)
    ax.errorbar(part["probability"], part["probability"], reach, fmt="none", ecolor=BAND, elinewidth=4, zorder=1)


@chart
def roc(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw the receiver operating characteristic of each class against the rest, with the line of chance.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.statistics.curves.roc_table`.
    title, caption : str
        The verdict as a sentence; n and method.
    """
    return _one_against_rest(table, title, caption, ("false_positive_rate", "true_positive_rate"))


@chart
def precision_recall(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw precision against recall of each class against the rest, with the precision of guessing.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.statistics.curves.precision_recall_table`.
    title, caption : str
        The verdict as a sentence; n and method.
    """
    return _one_against_rest(table, title, caption, ("recall", "precision"))


def _one_against_rest(table: pd.DataFrame, title: str, caption: str, columns: tuple[str, str]) -> Figure:
    labels = list(dict.fromkeys(table["class"]))
    together = len(labels) <= _TOGETHER
    figure, panels = panel_grid(title, caption, 1 if together else len(labels))
    name_axes(figure, panels, [column.replace("_", " ").capitalize() for column in columns])
    for position, label in enumerate(labels):
        ax, part = panels[0 if together else position], table[table["class"] == label]
        color, line, marker = SERIES[position if together else 0]
        _draw_chance(ax, part, color)
        area = _area(part)
        name = f"{wrapped(label, 22)}\n{area}"
        name = f" {name}" if name.startswith("_") else name  # matplotlib leaves such a name out of a legend
        ax.plot(part[columns[0]], part[columns[1]], color=color, linestyle=line, linewidth=1.8, label=name)
        if together:
            ax.lines[-1].set(marker=marker, markersize=5, markevery=(10 * position, 50))
        ax.set(xlim=(0, 1), ylim=(0, 1.01))
        if not together:
            name_panel(ax, label, area)
    if together:
        panels[0].plot([], [], color=MUTED, linewidth=1, linestyle=DOTS, label="chance")
        panels[0].legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), labelspacing=1.0)
    plain_ticks(panels, count=5 if together else 2)
    return figure


def _draw_chance(ax: Axes, part: pd.DataFrame, color: str) -> None:
    if "chance" in part:
        ax.axhline(part["chance"].iloc[0], color=color, linewidth=1.2, linestyle=DOTS)
    else:
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, linestyle=DOTS)


def _area(part: pd.DataFrame) -> str:
    area, n = part["area"].iloc[0], part["n_positive"].iloc[0]
    return f"not defined, n = {n:,}" if pd.isna(area) else f"area {area:.2f}, n = {n:,}"
