"""What is the mean of each group? Bars from zero, so that a small difference looks small; and pairs of shares."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hi_ml.app.text import interval, written
from hi_ml.reports.charts.layout import Floats, add_legend, chart, new_figure, plain_ticks
from hi_ml.reports.charts.style import FILL, INK, MUTED, wrapped

_WIDTH = 7.2  # inches: names stand left of the panel, numbers right of it
_ROW = 0.4  # inches for one line
_MOST = 20  # groups


@chart
def means(table: pd.DataFrame, *, title: str, caption: str, group: str, measure: tuple[str, str]) -> Figure:
    """Draw the mean of each group as a bar from zero, with its interval.

    Parameters
    ----------
    table : DataFrame
        A column named as `group`, and `n, mean, low, high`. The 20 largest groups are drawn.
    title, caption : str
        The verdict as a sentence; n and method, with the level of the intervals.
    group : str
        The column of names.
    measure : tuple of str
        What the mean is of, and its unit.
    """
    shown = table[table.index.isin(table["n"].nlargest(_MOST).index)]
    if len(table) > len(shown):
        caption = f"{caption} {len(table) - len(shown)} smaller groups are in the table."
    figure = new_figure(title, caption, height=_ROW * len(shown) + 0.7, width=_WIDTH, legend_lines=1)
    ax = figure.subplots()
    place = -np.arange(len(shown), dtype=np.float64)
    ax.barh(place, shown["mean"], height=0.62, color=FILL)
    ax.hlines(place, shown["low"], shown["high"], color=INK, linewidth=2)
    ax.axvline(0, color=MUTED, linewidth=1)
    name_lines(ax, place, [wrapped(name, 26) for name in shown[group]])
    for y, row in zip(place, shown.to_dict("records"), strict=True):
        limits = interval(row["low"], row["high"], measure[1]).replace("+", "")
        text = f"{written(row['mean'], measure[1], signed=False)} ({limits})\nn = {row['n']:,}"
        ax.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
    ax.set_xlabel(f"{measure[0]} ({measure[1]})")
    add_legend(figure, [Patch(color=FILL, label="mean"), Line2D([], [], color=INK, linewidth=2, label="95 % interval")])
    return figure


@chart
def agreement(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw how often two admissions of one name agree, beside how often any two do.

    Parameters
    ----------
    table : DataFrame
        `agreement, same_name, chance` (shares of pairs, 0 to 1; chance may be NaN), `n` (pairs that agree).
    title, caption : str
        The verdict as a sentence; n and method.
    """
    figure = new_figure(title, caption, height=_ROW * len(table) + 0.7, width=_WIDTH, legend_lines=1)
    ax = figure.subplots()
    place = -np.arange(len(table), dtype=np.float64)
    ax.barh(place, 100 * table["same_name"], height=0.55, color=FILL)
    ax.plot(100 * table["chance"], place, "D", color=INK, markerfacecolor="white", linestyle="", clip_on=False)
    ax.axvline(0, color=MUTED, linewidth=1)
    name_lines(ax, place, [wrapped(name, 26) for name in table["agreement"]])
    for y, row in zip(place, table.to_dict("records"), strict=True):
        chance = "" if np.isnan(row["chance"]) else f"\nby chance {100 * row['chance']:.2f} %"
        text = f"{100 * row['same_name']:.2f} % (n = {row['n']:,}){chance}"
        ax.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
    ax.set_xlabel("Share of pairs of admissions that agree (%)")
    by_chance = Line2D([], [], color=INK, marker="D", markerfacecolor="white", linestyle="", label="any two admissions")
    add_legend(figure, [Patch(color=FILL, label="two admissions of one name"), by_chance])
    return figure


def name_lines(ax: Axes, place: Floats, names: Sequence[str], *, size: float = 8.5) -> None:
    """Name the lines of a panel, one at each place, and leave its other axis to numbers from zero."""
    ax.margins(x=0.03)  # bars keep the axis at zero
    plain_ticks([ax])
    ax.set_yticks(place, names, fontsize=size)
    ax.set_ylim(place.min() - 0.6, place.max() + 0.6)
    ax.tick_params(axis="y", left=False)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
