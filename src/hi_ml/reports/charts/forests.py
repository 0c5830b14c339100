"""Which estimates lie in the zone of what is too small to matter? Each with its interval, one line apiece."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hi_ml.app.text import interval, scale_of, written
from hi_ml.reports.charts.layout import add_legend, chart, new_figure, plain_ticks
from hi_ml.reports.charts.style import BAND, DARK, INK, wrapped

_WIDTH = 7.2  # inches: names stand left of the panels, numbers right of them
_ROW, _AROUND = 0.47, 0.62  # inches for one line, and for what stands around the lines of a unit
_MOST = 24  # lines
_NAME, _NAME_LINES = 38, 3  # letters and lines of a name
_ROOM = 0.06  # of what is shown, beyond the farthest end
_MARKERS = (("o", DARK), ("o", "white"), ("D", "white"))  # shape and filling, by the order of the marks


@chart
def forest(table: pd.DataFrame, *, title: str, caption: str, marks: Sequence[str]) -> Figure:
    """Draw estimates with their 95 % intervals and, in grey, the effects that are too small to matter.

    Parameters
    ----------
    table : DataFrame
        `label, unit, estimate, low, high, n, smallest_effect, mark`, in the order of the lines; each unit has a panel
        of its own. A line whose `discovery` is true gets a star, where there is such a column. The first 24 are drawn.
    title, caption : str
        The verdict as a sentence; n and method.
    marks : sequence of str
        What `mark` may say, at most three; the first is drawn filled.
    """
    shown = table.iloc[:_MOST]
    units = list(dict.fromkeys(shown["unit"]))
    sizes = [int((shown["unit"] == unit).sum()) for unit in units]
    height = _ROW * len(shown) + _AROUND * len(units)
    left_out = f" {len(table) - len(shown)} further lines are in the table." if len(table) > len(shown) else ""
    figure = new_figure(title, caption + left_out, height=height, width=_WIDTH, legend_lines=1)
    panels = figure.subplots(len(units), 1, squeeze=False, height_ratios=sizes).ravel()
    for ax, unit in zip(panels, units, strict=True):
        _draw_panel(ax, shown[shown["unit"] == unit], unit, marks)
    add_legend(figure, _key([mark for mark in marks if (shown["mark"] == mark).any()], marks))
    return figure


def _draw_panel(ax: Axes, part: pd.DataFrame, unit: str, marks: Sequence[str]) -> None:
    scale = scale_of(unit)
    for place, row in enumerate(part.to_dict("records")):
        _draw_line(ax, -place, row, marks)
    ends = part[["estimate", "low", "high", "smallest_effect"]].to_numpy(float) * scale.factor
    high = np.nanmax(np.append(ends.ravel(), 0.0))
    low = 0.0 if scale.from_zero else np.nanmin(np.append(np.column_stack([ends[:, :3], -ends[:, 3]]), 0.0))
    room = _ROOM * (high - low or 1.0)
    ax.axvline(0, color=INK, linewidth=1)
    ax.set(xlim=(low if scale.from_zero else low - room, high + room), ylim=(0.5 - len(part), 0.5))
    plain_ticks([ax])
    names = [wrapped(_sentence(row), _NAME, _NAME_LINES) for row in part.to_dict("records")]
    ax.set_yticks(-np.arange(len(part)), names, fontsize=8.5)
    ax.tick_params(axis="y", left=False)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(scale.words[:1].upper() + scale.words[1:])


def _sentence(row: dict[Hashable, Any]) -> str:
    name = str(row["label"]).replace("_", " ")
    return name[:1].upper() + name[1:] + (" *" if row.get("discovery") else "")


def _draw_line(ax: Axes, place: int, row: dict[Hashable, Any], marks: Sequence[str]) -> None:
    factor, unit = scale_of(row["unit"]).factor, row["unit"]
    estimate, low, high, zone = (float(row[name]) for name in ("estimate", "low", "high", "smallest_effect"))
    if np.isfinite(zone):
        ax.barh(place, 2 * zone * factor, left=-zone * factor, height=1.0, color=BAND, linewidth=0, zorder=0)
    marker, filling = _MARKERS[marks.index(row["mark"])]
    ax.hlines(place, low * factor, high * factor, color=DARK, linewidth=2.2)
    ax.plot(
        estimate * factor, place, marker, color=DARK, markerfacecolor=filling, markersize=7, clip_on=False, zorder=3
    )
    text = f"{written(estimate, unit)} ({interval(low, high, unit)})\nn = {row['n']:,}"
    ax.annotate(text, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)


def _key(present: Sequence[str], marks: Sequence[str]) -> list[Artist]:
    look = dict(zip(marks, _MARKERS, strict=False))
    lines: list[Artist] = [
        Line2D([], [], color=DARK, linewidth=2.2, marker=look[mark][0], markerfacecolor=look[mark][1], label=mark)
        for mark in present
    ]
    return [*lines, Patch(color=BAND, label="too small to matter")]
