"""How far is each run from the best one? Paired differences of one score, one line apiece."""

import math

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hi_ml.app.text import apart
from hi_ml.modeling.scores.score import title as score_title
from hi_ml.reports.charts.layout import add_legend, chart, new_figure, plain_ticks
from hi_ml.reports.charts.style import BAND, DARK, INK, wrapped

_WIDTH = 7.2  # inches: names stand left of the panel, numbers right of it
_ROW, _AROUND = 0.42, 0.9  # inches for one line, and for what stands around the lines
_MOST = 24  # lines
_NAME, _NAME_LINES = 30, 2  # letters and lines of a name
_ROOM = 0.08  # of what is shown, beyond the farthest end
_LEVEL = 0.05


@chart
def differences_from_best(table: pd.DataFrame, *, title: str, caption: str, best: str) -> Figure:
    """Draw the paired difference of each run from the best one, with its 95 % interval.

    Parameters
    ----------
    table : DataFrame
        `run, score, difference, low, high, p_holm, unit, better, smallest`, in the order of the lines: the run less the
        best one; `smallest` is the difference that would matter, drawn in grey, or NaN. A dot is filled where `p_holm`
        lies below 5 %. The first 24 are drawn.
    title, caption : str
        What was found, as a sentence; n and method.
    best : str
        The run at zero.
    """
    shown = table.iloc[:_MOST]
    left_out = f" {len(table) - len(shown)} further runs are in the table." if len(table) > len(shown) else ""
    figure = new_figure(title, caption + left_out, height=_ROW * len(shown) + _AROUND, width=_WIDTH, legend_lines=1)
    ax = figure.subplots()
    zone = float(shown["smallest"].iloc[0])
    if math.isfinite(zone):
        ax.axvspan(-zone, zone, color=BAND, linewidth=0, zorder=0)
    ax.axvline(0, color=INK, linewidth=1)
    for place, row in enumerate(shown.itertuples()):
        _draw_line(ax, -place, row)
    ends = np.append(shown[["difference", "low", "high"]].to_numpy(float).ravel(), [0.0, zone, -zone])
    low, high = np.nanmin(ends), np.nanmax(ends)
    room = _ROOM * (high - low or 1.0)
    ax.set(xlim=(low - room, high + room), ylim=(0.5 - len(shown), 0.5))
    plain_ticks([ax])
    ax.set_yticks(-np.arange(len(shown)), [wrapped(run, _NAME, _NAME_LINES) for run in shown["run"]], fontsize=8.5)
    ax.tick_params(axis="y", left=False)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    first = shown.iloc[0]
    score = score_title(first["score"])
    side = "left" if first["better"] == "less" else "right"
    ax.set_xlabel(
        f"{score[:1].upper() + score[1:]} less that of {wrapped(best, _NAME, 1)} ({first['unit']}); {side} is better"
    )
    add_legend(figure, _key(zone=math.isfinite(zone)))
    return figure


def _draw_line(ax: Axes, place: int, row: object) -> None:
    value, low, high, p = (float(getattr(row, name)) for name in ("difference", "low", "high", "p_holm"))
    ax.hlines(place, low, high, color=DARK, linewidth=2.2)
    filling = DARK if p < _LEVEL else "white"
    ax.plot(value, place, "o", color=DARK, markerfacecolor=filling, markersize=7, clip_on=False, zorder=3)
    text = "{} ({})".format(*apart(value, low, high))
    ax.annotate(text, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)


def _key(*, zone: bool) -> list[Artist]:
    looks = ((DARK, "differs (p < 0.05, Holm)"), ("white", "not told apart"))
    told: list[Artist] = [
        Line2D([], [], color=DARK, linewidth=2.2, marker="o", markerfacecolor=filling, label=words)
        for filling, words in looks
    ]
    return [*told, Patch(color=BAND, label="too small to matter")] if zone else told
