"""What was predicted, against what occurred: amounts, and probabilities of classes."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import PowerNorm
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hi_ml.reports.charts.layout import (
    add_colorbar,
    add_legend,
    chart,
    name_panel,
    new_figure,
    panel_grid,
    plain_ticks,
)
from hi_ml.reports.charts.style import BAND, COUNTS, DARK, DOTS, FILL, INK, MUTED, SERIES, wrap

_TOGETHER = 4  # more classes than this get a panel each: their lines would hide one another
_ONE_LINE = 3  # panels beside one another, with room for more ticks


@chart
def predicted_observed(table: pd.DataFrame, *, title: str, caption: str, unit: str) -> Figure:
    """Draw counts of admissions by predicted and observed value, and the observed median and range per prediction.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.statistics.curves.predicted_observed_table`: layers `cell` and `band`.
    unit : str
        Of both axes.
    """
    figure = new_figure(title, caption, height=4.05, width=5.6, legend=True)
    ax = figure.subplots()
    cells = table[table["layer"] == "cell"]
    _draw_cells(ax, cells, "target")
    ends = _limits(cells, ["prediction_low", "target_low", "prediction_high", "target_high"])
    (diagonal,) = ax.plot(ends, ends, color=INK, linewidth=1, linestyle="--", label="observed = predicted")
    band = _draw_band(ax, table[table["layer"] == "band"], "observed median and central 80 %")
    ax.set(xlim=ends, ylim=ends, box_aspect=1, xlabel=f"Predicted ({unit})", ylabel=f"Observed ({unit})")
    plain_ticks([ax])
    add_legend(figure, [band, diagonal])
    return figure


@chart
def residuals(table: pd.DataFrame, *, title: str, caption: str, unit: str) -> Figure:
    """Draw the distribution of residuals, and residuals against the prediction.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.statistics.curves.residual_table`: layers `histogram`, `cell` and `band`.
    unit : str
        Of predictions and residuals.
    """
    figure = new_figure(title, caption, height=3.4, legend=True)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.8], sharey=True)
    bars = table[table["layer"] == "histogram"]
    height = bars["residual_high"] - bars["residual_low"]
    left.barh(bars["residual_low"], 100 * bars["share"], height, align="edge", color=FILL, edgecolor="white", lw=0.3)
    cells = table[table["layer"] == "cell"]
    _draw_cells(right, cells, "residual")
    band = _draw_band(right, table[table["layer"] == "band"], "median error and central 80 %")
    lines = [ax.axhline(0, color=INK, linewidth=1, linestyle="--", label="no error") for ax in (left, right)]
    left.set(xlabel="Share of admissions (%)", ylabel=f"Observed minus predicted ({unit})")
    right.set(xlabel=f"Predicted ({unit})", xlim=_limits(cells, ["prediction_low", "prediction_high"]))
    right.set_ylim(_limits(cells, ["residual_low", "residual_high"]))
    plain_ticks([right])
    plain_ticks([left], count=3)
    add_legend(figure, [band, lines[0]])
    return figure


def _draw_cells(ax: Axes, cells: pd.DataFrame, name: str) -> None:
    low, high = ["prediction_low", f"{name}_low"], ["prediction_high", f"{name}_high"]
    x0, y0, x1, y1 = cells[low + high].to_numpy().T
    corners = [[(a, b), (a, d), (c, d), (c, b)] for a, b, c, d in zip(x0, y0, x1, y1, strict=True)]
    scale = PowerNorm(0.5, 0, max(4, cells["n"].max()))  # square root: a crowded middle leaves the edges visible
    drawn = PolyCollection(corners, cmap=COUNTS, norm=scale, array=cells["n"], antialiased=False)
    add_colorbar(ax, ax.add_collection(drawn), "Admissions per cell")


def _draw_band(ax: Axes, band: pd.DataFrame, label: str) -> ErrorbarContainer:
    reach = (band["q50"] - band["q10"], band["q90"] - band["q50"])
    points = {"marker": "o", "markerfacecolor": "white", "markersize": 4.5}
    return ax.errorbar(
        band["prediction"],
        band["q50"],
        reach,
        color=INK,
        linewidth=1.8,
        elinewidth=1.1,
        label=label,
        **points,  # type: ignore[arg-type]
    )


def _limits(cells: pd.DataFrame, columns: list[str]) -> tuple[float, float]:
    if cells.empty:  # none of them may be shown
        return 0.0, 1.0
    return float(cells[columns].min().min()), float(cells[columns].max().max())


@chart
def reliability(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw, for each class, how often it occurred among rows of like predicted probability.

    Points inside the grey band agree with probabilities that are right.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.statistics.curves.reliability_table`: `class, probability, observed, low, high`. Where it has
        `in_the_large` and `slope`, each with `_low` and `_high`, one value per class, up to 3 classes show them.
    """
    labels = list(dict.fromkeys(table["class"]))
    end = min(1.0, float(np.ceil(10.5 * table[["probability", "observed", "high"]].max().max()) / 10))
    names = ("Predicted probability", "Observed share")
    figure, panels = panel_grid(title, caption, len(labels), names=names, legend=True)
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
            yield f"{words} {value:z.2f}\n({low:z.2f} to {high:z.2f})".replace("-", "−")


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
    """
    return _one_against_rest(table, title, caption, ("false_positive_rate", "true_positive_rate"))


@chart
def precision_recall(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw precision against recall of each class against the rest, with the precision of guessing.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.statistics.curves.precision_recall_table`.
    """
    return _one_against_rest(table, title, caption, ("recall", "precision"))


@chart
def net_benefit(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw the decision curve of each class, with its interval, between acting on all and on none: a panel each.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.evaluation.usefulness.curve`.
    """
    labels = list(dict.fromkeys(table["class"]))
    figure, panels = panel_grid(title, caption, len(labels), names=("Threshold (%)", "Net hits per 100"), legend=True)
    for ax, label in zip(panels, labels, strict=True):
        part = table[table["class"] == label].sort_values("threshold")
        across = 100 * part["threshold"]
        ax.fill_between(across, part["low"], part["high"], color=BAND, linewidth=0)
        ax.plot(across, part["all"], color=INK, linewidth=1, linestyle="--")
        ax.axhline(0, color=MUTED, linewidth=1)
        ax.plot(across, part["value"], "o-", color=DARK, markersize=3, linewidth=1.4)
        name_panel(ax, label)
    plain_ticks(panels, count=4 if len(labels) <= _ONE_LINE else 2)
    lowest = min(0.0, float(table[["value", "low"]].min().min()))
    highest = float(table[["value", "high", "all"]].max().max())
    room = 0.1 * max(highest - lowest, 1.0)
    panels[0].set_ylim(lowest - room, highest + room)  # acting on all may fall far below
    add_legend(
        figure,
        [
            Line2D([], [], color=DARK, marker="o", markersize=3, linewidth=1.4, label="acting on the prediction"),
            Patch(color=BAND, label="95 % interval"),
            Line2D([], [], color=INK, linewidth=1, linestyle="--", label="on all"),
            Line2D([], [], color=MUTED, linewidth=1, label="on none"),
        ],
    )
    return figure


def _one_against_rest(table: pd.DataFrame, title: str, caption: str, columns: tuple[str, str]) -> Figure:
    labels = list(dict.fromkeys(table["class"]))
    together = len(labels) <= _TOGETHER
    across, up = (column.replace("_", " ").capitalize() for column in columns)
    figure, panels = panel_grid(title, caption, 1 if together else len(labels), names=(across, up))
    for position, label in enumerate(labels):
        ax, part = panels[0 if together else position], table[table["class"] == label]
        color, line, marker = SERIES[position if together else 0]
        _draw_chance(ax, part, color)
        area = _area(part)
        name = f"{wrap(label, 22)}\n{area}"
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
