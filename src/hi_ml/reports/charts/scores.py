"""Is the model better than knowing nothing? Its scores beside those of the baseline."""

import math
from collections.abc import Collection, Hashable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hi_ml.modeling.scores.score import title as score_title
from hi_ml.reports.charts.layout import chart, new_figure, plain_ticks
from hi_ml.reports.charts.style import DARK, INK, wrapped

_LEAST_REACH = 0.1  # of the baseline: a strip never zooms in so far that a hair's breadth looks like a gulf
_ROOM = 1.25  # of the farthest value from the baseline


@chart
def scores_against_baseline(
    table: pd.DataFrame, *, title: str, caption: str, higher_is_better: Collection[str]
) -> Figure:
    """Draw each score with its interval on a strip of its own, in its own unit, around the baseline in the middle.

    Right of the line is better than the baseline, left is worse, for every score: where less is better, the strip's
    axis runs from right to left.

    Parameters
    ----------
    table : DataFrame
        `score, value, low, high, baseline, unit`, one row per score. A score without baseline is drawn
        around itself, one without value is named only.
    title, caption : str
        The verdict as a sentence; n and method, with the level of the intervals.
    higher_is_better : collection of str
        Names of the scores of which more is better; of all others, less is.
    """
    figure = new_figure(title, caption, height=0.6 * len(table) + 0.3)
    strips = figure.subplots(len(table), 1, squeeze=False).ravel()
    for ax, row in zip(strips, table.to_dict("records"), strict=True):
        _draw_strip(ax, row, ascending=row["score"] in higher_is_better)
    for x, text, side in ((0.0, "← worse", "left"), (0.5, "baseline", "center"), (1.0, "better →", "right")):
        strips[0].annotate(text, (x, 1.08), xycoords="axes fraction", ha=side, va="bottom", fontsize=9)
    return figure


def _draw_strip(ax: Axes, row: dict[Hashable, Any], *, ascending: bool) -> None:
    value, low, high, baseline = (float(row[name]) for name in ("value", "low", "high", "baseline"))
    center = next((place for place in (baseline, value) if math.isfinite(place)), 0.0)
    farthest = max((abs(end - center) for end in (value, low, high) if math.isfinite(end)), default=0.0)
    reach = max(_ROOM * farthest, _LEAST_REACH * (abs(center) or 1.0))
    better = center + reach if ascending else center - reach
    ax.set_xlim(2 * center - better, better)
    ax.axvspan(center, better, color="#EDF2F8", zorder=0)
    ax.axvline(center, color=INK, linewidth=1.2, linestyle="--", visible=math.isfinite(baseline))
    ax.hlines(0, low, high, color=DARK, linewidth=3.5)
    ax.plot(value, 0, "o", color=DARK, markersize=7, markeredgecolor="white")
    plain_ticks([ax], count=4)
    ax.tick_params(axis="x", labelsize=8)
    ax.set(ylim=(-1, 1), yticks=[])
    ax.set_ylabel(_name(row), rotation=0, ha="right", va="center", fontsize=9)
    ax.annotate(_in_words(value, low, high, baseline), (1.02, 0.5), xycoords="axes fraction", va="center", fontsize=9)
    ax.spines["left"].set_visible(False)


def _name(row: dict[Hashable, Any]) -> str:
    score = str(row["score"])
    unit = "" if pd.isna(row["unit"]) or not row["unit"] else f"\n({wrapped(row['unit'], 24, 1)})"
    return wrapped(score_title(score), 24) + unit


def _in_words(value: float, low: float, high: float, baseline: float) -> str:
    if not math.isfinite(value):
        return "not defined"
    width = high - low
    # two digits of the interval's width, so that its ends and the baseline can be told apart
    places = min(4, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 3
    shown, lowest, highest, constant = (f"{end:,.{places}f}".replace("-", "−") for end in (value, low, high, baseline))
    interval = f" ({lowest} to {highest})" if math.isfinite(width) else ""
    return f"{shown}{interval}\n" + (f"baseline {constant}" if math.isfinite(baseline) else "no baseline")
