"""How sure is each estimate? One line apiece: a point or a bar, its interval, and what would be too small to matter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hi_ml.reports.charts.layout import WIDE, add_legend, name_lines, new_figure, plain_ticks
from hi_ml.reports.charts.style import BAND, DARK, FILL, INK, MUTED

_TICKS, _AXIS, _HEADING = 0.3, 0.32, 0.25  # inches of a panel beside its lines: for ticks, its axis' name, its own
_ROOM = 0.07  # of what is drawn, beyond the farthest end
_TALL = 0.4  # inches from which a line has room for larger letters and points
_ONE_LINE = 100  # letters of a key that fit above the panels; a longer one stands right of them
_HANDLE = 8  # letters that the picture of an entry takes
_INTERVAL: tuple[dict[str, Any], ...] = ({"color": DARK, "linewidth": 2.2}, {"color": INK, "linewidth": 2.0})
"""Of points, and of bars."""
_NUMBERS = ["value", "low", "high", "beside", "zone_low", "zone_high"]


class Mark(NamedTuple):
    """How estimates of one kind are drawn."""

    label: str = ""  # in the key, which leaves it out where it has none
    shape: str = "o"
    filling: str = DARK
    edge: str = DARK


_BESIDE = Mark(shape="D", filling="white")


class Reference(NamedTuple):
    """A line against which estimates are read."""

    value: float = 0.0  # NaN: there is none
    label: str = ""
    style: Literal["-", "--"] = "-"


ZERO = Reference()


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines that share an axis.

    `lines` has `name` and `value`, and may have `low, high` (of the interval), `zone_low, zone_high` (shaded behind the
    line), `beside` (a second value), `mark` (number of its mark in the key) and `text` (right of the panel). A number
    may be NaN. The index says on which line an estimate stands, 0 at the top.
    """

    lines: pd.DataFrame
    axis: str = ""  # its name, with the unit
    heading: str = ""
    reference: Reference = ZERO
    ends: tuple[float | None, float | None] = (None, None)  # of the axis, left and right; None: where the lines end
    zone_height: float = 1.0  # of the distance between two lines


@dataclass(frozen=True, kw_only=True)
class Key:
    """What is drawn, in words; what has none is not in the key."""

    marks: Sequence[Mark] = (Mark(),)
    bar: str = ""
    interval: str = ""
    beside: str = ""
    zone: str = ""


def interval_plot(
    panels: Sequence[Panel],
    *,
    title: str,
    caption: str,
    row: float,
    key: Key = Key(),
    bars: bool = False,
    across: bool = False,
) -> Figure:
    """Draw estimates with their intervals, panel by panel; to be called in a function decorated by `chart`.

    Parameters
    ----------
    row : float
        Inches for one line.
    bars : bool
        Draw bars from zero instead of points.
    across : bool
        Stand the panels beside one another, on the same lines, instead of below one another.
    """
    sizes = [int(max(panel.lines.index, default=0)) + 1 for panel in panels]
    around = [_TICKS + _AXIS * bool(panel.axis) + _HEADING * bool(panel.heading) for panel in panels]
    heights = [row * size + more for size, more in zip(sizes, around, strict=True)]
    entries = _entries(panels, key, bars=bars)
    above = sum(len(str(entry.get_label())) + _HANDLE for entry in entries) <= _ONE_LINE
    figure = new_figure(
        title,
        caption,
        height=max(heights) if across else sum(heights),
        width=WIDE,
        legend=above and len(entries) > 0,
    )
    if across:
        grid = figure.subplots(1, len(panels), squeeze=False, sharey=True).ravel()
    else:
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=sizes).ravel()
    for ax, panel in zip(grid, panels, strict=True):
        _draw(ax, panel, key.marks, row=row, bars=bars)
    if entries and above:
        add_legend(figure, entries)
    elif entries:
        grid[0].legend(handles=entries, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0)
    return figure


def _draw(ax: Axes, panel: Panel, marks: Sequence[Mark], *, row: float, bars: bool) -> None:
    lines = _whole(panel.lines)
    once = lines[~lines.index.duplicated()]
    letters, points = (8.5, 7) if row >= _TALL else (8, 5.5)
    plain_ticks([ax])
    name_lines(ax, list(once["name"]), size=letters)
    ax.spines["left"].set_visible(False)
    ax.grid(visible=len(once) < len(lines), axis="y")  # a thread for the eye from point to point
    _shade(ax, once.dropna(subset=["zone_low", "zone_high"]), panel.zone_height)
    ax.axvline(panel.reference.value, color=INK, linewidth=1, linestyle=panel.reference.style)
    if bars:
        ax.barh(-lines.index, lines["value"], height=0.66, color=FILL)
        ax.axvline(0, color=MUTED, linewidth=1)
    ax.hlines(-lines.index, lines["low"], lines["high"], **_INTERVAL[bars])
    for number, mark in enumerate(() if bars else marks):
        if len(own := lines[lines["mark"] == number]):
            ax.plot(own["value"], -own.index, **_look(mark, points))
    if lines["beside"].notna().any():
        ax.plot(lines["beside"], -lines.index, **_look(_BESIDE, 5))
    for y, text in zip(-lines.index, lines["text"], strict=True):
        ax.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
    ax.set(xlim=_ends(panel, lines, bars=bars), xlabel=panel.axis, title=panel.heading)


def _whole(lines: pd.DataFrame) -> pd.DataFrame:
    absent: dict[str, Any] = {"text": "", "mark": 0, **dict.fromkeys(_NUMBERS, np.nan)}
    return lines.assign(**{name: value for name, value in absent.items() if name not in lines})


def _shade(ax: Axes, zones: pd.DataFrame, height: float) -> None:
    width = zones["zone_high"] - zones["zone_low"]
    for bar in ax.barh(-zones.index, width, left=zones["zone_low"], height=height, color=BAND, linewidth=0, zorder=0):
        bar.set_antialiased(False)  # no seams between lines


def _look(mark: Mark, size: float) -> dict[str, Any]:
    look = {"color": mark.edge, "marker": mark.shape, "markerfacecolor": mark.filling, "markersize": size}
    return look | {"markeredgewidth": 0.9, "linestyle": "", "clip_on": False, "zorder": 3}


def _ends(panel: Panel, lines: pd.DataFrame, *, bars: bool) -> tuple[float, float]:
    """Leave some room beyond what is drawn; where nothing is negative, the axis does not go below zero."""
    left, right = panel.ends
    fixed = [end for end in (*panel.ends, 0.0 if bars else None) if end is not None]
    numbers = np.array([*lines[_NUMBERS].to_numpy(float).ravel(), panel.reference.value, *fixed])
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    room = _ROOM * (high - low or 1.0)
    least = low - room if low < 0 else max(low - room, 0.0)
    return least if left is None else left, high + room if right is None else right


def _entries(panels: Sequence[Panel], key: Key, *, bars: bool) -> list[Artist]:
    lines = pd.concat([_whole(panel.lines) for panel in panels])
    interval = _INTERVAL[bars] | {"linestyle": "-"} if lines["low"].notna().any() else {}
    marks = [] if bars else [mark for number, mark in enumerate(key.marks) if (lines["mark"] == number).any()]
    entries: list[Artist] = [Patch(color=FILL, label=key.bar), Line2D([], [], **_INTERVAL[bars], label=key.interval)]
    entries += [Line2D([], [], **_look(mark, 6) | interval, label=mark.label) for mark in marks]
    entries += [Line2D([], [], **_look(_BESIDE, 5), label=key.beside), Patch(color=BAND, label=key.zone)]
    references = [panel.reference for panel in panels]
    entries += [Line2D([], [], color=INK, linewidth=1, linestyle=one.style, label=one.label) for one in references]
    return [entry for entry in entries if entry.get_label()]
