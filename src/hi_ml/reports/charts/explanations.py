"""Why did the model predict what it did? SHAP contributions, over all rows and column by column for single ones.

Drawn with matplotlib alone. The plots of shap 0.51 cost an import of half a second and more, need pyplot, draw every
category in one grey, and their red and blue are equally dark on a grey printer.
"""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from hi_ml.app.text import short
from hi_ml.reports.charts.interval_plot import Key, Panel, interval_plot
from hi_ml.reports.charts.layout import WIDE, add_colorbar, add_legend, chart, name_lines, new_figure, plain_ticks
from hi_ml.reports.charts.style import DARK, FILL, INK, LIGHT, LOW_TO_HIGH, MUTED, NEUTRAL, with_rest, wrap

_ROW = 0.36  # inches for one column's line
_SWARM_ROW = 0.46  # likewise, with the names of levels above the points
_MOST_BARS = 20
_SLOTS = 90  # places along the axis in which the points of a swarm stack up
_SWARM_HALF = 0.33  # of the distance between two lines
_LABEL_ROOM = 0.22  # of what the bars of a waterfall span, right of them, for their numbers
_APART = 0.017  # of the axis and a letter: names of levels that lie closer would cover one another
_ABOVE = 0.44  # of the distance between two lines: how high the names of levels stand
_LONGEST = 14  # letters of a level above its points
_ROOM = 0.06  # of what contributions span, on both sides
_SEEN = ("observed", "reach_low", "reach_high")
_SHORT = 10  # letters of a unit that fit behind the name of a small panel's axis


@chart
def beeswarm(table: pd.DataFrame, *, title: str, caption: str, unit: str) -> Figure:
    """Draw points of a few admissions each, line by line of the columns: their contribution, shaded by their values.

    Levels of text are named above their points where there is room.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.evaluation.explanations.swarm_table`.
    unit : str
        Of the contributions.
    """
    columns = list(dict.fromkeys(table["column"]))
    text = table["shade"].isna()
    figure = new_figure(title, caption, height=_SWARM_ROW * len(columns) + 0.9, legend=bool(text.any()))
    ax = figure.subplots()
    y = _spread(table) - table["column"].map(columns.index)
    ax.axvline(0, color=MUTED, linewidth=1)
    ax.scatter(table["contribution"][text], y[text], s=7, color=NEUTRAL, marker="D", linewidth=0)
    if not text.all():
        dots = ax.scatter(table["contribution"][~text], y[~text], s=10, c=table["shade"][~text], linewidth=0)
        dots.set(cmap=LOW_TO_HIGH, clim=(0, 1))
        add_colorbar(ax, dots, "Value of the column", ends=("low", "high"))
    plain_ticks([ax])
    name_lines(ax, [wrap(column.replace("_", " "), 24) for column in columns])
    for line, column in enumerate(columns):
        _name_levels(ax, table[table["column"] == column].dropna(subset="level"), -line)
    ax.set_xlabel(f"SHAP contribution to the prediction ({unit})")
    if text.any():
        marker = Line2D([], [], color=NEUTRAL, marker="D", linestyle="", markersize=4, label="category, or missing")
        add_legend(figure, [marker])
    return figure


def _name_levels(ax: Axes, part: pd.DataFrame, line: float) -> None:
    """Write the levels above the middle of their points, the farthest from zero first, where there is room for two."""
    low, high = ax.get_xlim()
    weighted = (part["contribution"] * part["n"]).groupby(part["level"]).sum() / part["n"].groupby(part["level"]).sum()
    named: list[tuple[float, float, str]] = []
    for level, middle in weighted.sort_values(key=np.abs, ascending=False).items():
        name = wrap(level, _LONGEST, 1)
        half = _APART * len(name) / 2 * (high - low)
        if all(abs(middle - other) > half + reach for other, reach, _ in named):
            named.append((float(middle), half, name))
    for middle, _, name in named if len(named) > 1 else ():
        ax.text(middle, line + _ABOVE, name, ha="center", va="center", fontsize=7, color=INK, in_layout=False)


def _spread(table: pd.DataFrame) -> NDArray[np.float64]:
    """Lay the points of a line that share a slot above and below one another."""
    ends = table["contribution"].min(), table["contribution"].max()
    width = (ends[1] - ends[0]) / _SLOTS or 1.0
    slot = ((table["contribution"] - ends[0]) / width).astype(int)
    rank = table.groupby([table["column"], slot]).cumcount()
    crowd = rank.groupby(table["column"]).transform("max") + 1
    step = (2 * _SWARM_HALF / crowd).clip(upper=0.06)
    return ((rank + 1) // 2 * step * (2 * (rank % 2) - 1)).to_numpy(float)


@chart
def importance(
    table: pd.DataFrame, *, title: str, caption: str, unit: str, measure: str = "Mean absolute SHAP contribution"
) -> Figure:
    """Draw how much each column matters, with its interval: the first 20 of the table.

    Parameters
    ----------
    table : DataFrame
        `column, importance, low, high`, largest first.
    unit : str
        Of the measure.
    measure : str
        What is drawn: SHAP contributions, or another measure of importance such as the growth of the loss.
    """
    first = table.iloc[:_MOST_BARS].reset_index(drop=True)
    names = [wrap(column.replace("_", " "), 24) for column in first["column"]]
    lines = first.assign(name=names, value=first["importance"], text=first["importance"].map(short))
    panel, key = Panel(lines=lines, axis=f"{measure} ({unit})"), Key(bar="importance", interval="95 % interval")
    note = with_rest(caption, len(table) - len(first), "further columns, smaller,")
    return interval_plot([panel], title=title, caption=note, row=_ROW, key=key, bars=True)


@chart
def dependence(table: pd.DataFrame, *, title: str, caption: str, unit: str) -> Figure:
    """Draw how the contribution of a column depends on its value: points for numbers, ranges per level for text.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.evaluation.explanations.dependence_table`.
    unit : str
        Of the contributions.
    """
    columns = list(dict.fromkeys(table["column"]))
    across = min(2, len(columns))
    down = -(-len(columns) // across)
    figure = new_figure(title, caption, height=2.5 * down, width=WIDE, legend=True)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for ax in grid[len(columns) :]:
        ax.set_visible(False)
    drawn = table[["contribution", "q10", "q90"]].to_numpy(float)
    room = _ROOM * (np.nanmax(drawn) - np.nanmin(drawn) or 1.0)
    ends = float(np.nanmin(drawn) - room), float(np.nanmax(drawn) + room)  # of all panels: a small effect looks small
    for ax, column in zip(grid, columns, strict=False):
        part = table[table["column"] == column]
        if part["kind"].iloc[0] == "point":
            _draw_points(ax, part, unit)
            ax.set_ylim(ends)
        else:
            _draw_levels(ax, part, unit)
            ax.set_xlim(ends)
        ax.set_title(wrap(column.replace("_", " "), 26, 1), fontsize=9.5)
    if (table["kind"] == "level").any():
        add_legend(figure, _level_key())
    return figure


def _level_key() -> list[Line2D]:
    return [
        Line2D([], [], color=DARK, marker="o", markersize=5, markeredgecolor="white", linestyle="", label="median"),
        Line2D([], [], color=FILL, linewidth=7, label="central half"),
        Line2D([], [], color=FILL, linewidth=2, label="central 80 %"),
    ]


def _draw_points(ax: Axes, part: pd.DataFrame, unit: str) -> None:
    ax.axhline(0, color=MUTED, linewidth=1)
    ax.scatter(part["number"], part["contribution"], s=12, color=DARK, alpha=0.4, linewidth=0)
    plain_ticks([ax], count=4)
    missing = int(part["n"][part["number"].isna()].sum())
    ax.set_xlabel(f"Value{f' ({missing} missing not shown)' if missing else ''}", fontsize=9)
    ax.set_ylabel(_contribution(unit), fontsize=9)


def _contribution(unit: str) -> str:
    return f"Contribution{' ' if len(unit) <= _SHORT else chr(10)}({wrap(unit, 26, 1)})"


def _draw_levels(ax: Axes, part: pd.DataFrame, unit: str) -> None:
    part = part[::-1]
    y = -np.arange(len(part))
    ax.axvline(0, color=MUTED, linewidth=1)
    ax.hlines(y, part["q10"], part["q90"], color=FILL, linewidth=2)
    ax.hlines(y, part["q25"], part["q75"], color=FILL, linewidth=7)
    ax.plot(part["q50"], y, "o", color=DARK, markersize=5, markeredgecolor="white")
    plain_ticks([ax], count=3)
    names = [f"{wrap(level, 18, 1)} ({n:,.0f})" for level, n in zip(part["level"], part["n"], strict=True)]
    name_lines(ax, names, size=8)
    ax.set_xlabel(_contribution(unit), fontsize=9)


@chart
def waterfall(table: pd.DataFrame, *, title: str, caption: str, unit: str) -> Figure:
    """Draw how predictions build up from the base value, one panel per some like rows of the data.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.evaluation.explanations.waterfall_table`; it may have `observed`, and `reach_low, reach_high` of the
        intervals, each the mean of the rows.
    unit : str
        Of the prediction.
    """
    panels = list(dict.fromkeys(table["panel"]))
    lines = int(table.groupby("panel").size().max()) + ("observed" in table)
    height = len(panels) * (0.25 * lines + 0.35) + 0.4
    figure = new_figure(title, caption, height=height, width=WIDE, legend=True)
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False).ravel()
    for ax, panel in zip(grid, panels, strict=True):
        _draw_waterfall(ax, table[table["panel"] == panel])
    seen = [name for name in _SEEN if name in table]
    ends = table[["low", "high", "base_value", *seen]]
    low, high = ends.min().min(), ends.max().max()
    reach = high - low or 1.0
    grid[-1].set(xlim=(low - 0.03 * reach, high + _LABEL_ROOM * reach), xlabel=f"Prediction ({unit})")
    add_legend(
        figure,
        [
            Line2D([], [], color=MUTED, linewidth=1, linestyle=":", label="base value"),
            Patch(color=DARK, label="raises"),
            Patch(color=LIGHT, label="lowers"),
            Line2D([], [], color=INK, linewidth=1.2, label="prediction"),
        ],
    )
    return figure


def _draw_waterfall(ax: Axes, part: pd.DataFrame) -> None:
    first = part.iloc[0]
    lines = -np.arange(len(part))
    raises = part["contribution"].to_numpy() > 0
    ax.axvline(first["base_value"], color=MUTED, linewidth=1, linestyle=":")
    ax.axvline(first["prediction"], color=INK, linewidth=1.2)
    ax.barh(lines, part["high"] - part["low"], left=part["low"], height=0.68, color=np.where(raises, DARK, LIGHT))
    for y, contribution in zip(lines, part["contribution"], strict=True):
        text = ("+" if contribution > 0 else "") + short(contribution)
        ax.annotate(
            text, (0.99, y), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=8.5, in_layout=False
        )
    names = [_with_value(bar) for bar in part.to_dict("records")]
    if "observed" in part:
        names.append("observed" + (", and the interval" if "reach_low" in part else ""))
        _draw_observed(ax, first, -len(part))
    plain_ticks([ax])
    name_lines(ax, names, size=8.5)
    prediction = f"{short(first['base_value'])} becomes {short(first['prediction'])}"
    ax.set_title(f"{first['panel']}: {prediction} (means of {first['n']} admissions)", fontsize=9)


def _draw_observed(ax: Axes, first: "pd.Series[Any]", y: float) -> None:
    if "reach_low" in first:
        ax.hlines(y, first["reach_low"], first["reach_high"], color=NEUTRAL, linewidth=2)
    ax.plot(first["observed"], y, marker="D", markerfacecolor="white", markersize=5, color=INK)
    at = ("axes fraction", "data")
    ax.annotate(
        short(first["observed"]), (0.99, y), xycoords=at, ha="right", va="center", fontsize=8.5, in_layout=False
    )


def _with_value(bar: dict[Hashable, Any]) -> str:
    column, value = str(bar["column"]).replace("_", " "), str(bar["value"])
    return f"{wrap(column, 22, 1)} = {wrap(value, 26, 1)}" if value else wrap(column, 40, 1)
