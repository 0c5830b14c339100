"""Do the intervals hold the truth as often as they say, everywhere, and are they narrower than knowing nothing?"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hi_ml.reports.charts.layout import add_legend, chart, new_figure, plain_ticks
from hi_ml.reports.charts.style import BAND, DARK, INK, wrapped

_ROW, _AROUND = 0.3, 0.65  # inches for one line, and for what stands around the lines
_MOST = 24  # lines
_NAME = 26  # letters
_ROOM = 0.08  # of what is shown, beyond the farthest end


@chart
def intervals(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw coverage against the level that was asked for, and mean size against knowing nothing, slice by slice.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.evaluation.conformal.table`: `by, slice, n, coverage, low, high, level, size, baseline_size, unit`,
        in the order of the lines. The first 24 are drawn.
    title, caption : str
        What was reached, as a sentence; n and method.
    """
    shown = table.iloc[:_MOST].reset_index(drop=True)
    left_out = f" {len(table) - len(shown)} further lines are in the table." if len(table) > len(shown) else ""
    figure = new_figure(title, caption + left_out, height=_ROW * len(shown) + _AROUND, legend_lines=1)
    coverage, size = figure.subplots(1, 2, sharey=True)
    _draw_coverage(coverage, shown)
    _draw_size(size, shown)
    names = [f"{wrapped(name, _NAME, 1)}, n = {n:,}" for name, n in zip(shown["slice"], shown["n"], strict=True)]
    coverage.set(ylim=(0.5 - len(shown), 0.5), ylabel=wrapped(_capital(shown["by"].iloc[-1]), _NAME, 1))
    plain_ticks([coverage, size], count=4)
    coverage.set_yticks(-shown.index, names)
    for ax in (coverage, size):
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", left=False)
    add_legend(
        figure,
        [
            Line2D([], [], color=INK, linewidth=1, label="asked for"),
            Patch(color=BAND, label="what chance explains"),
            Line2D([], [], color=INK, linewidth=1.2, linestyle="--", label="knowing nothing"),
        ],
    )
    return figure


def _draw_coverage(ax: Axes, shown: pd.DataFrame) -> None:
    ends = 100 * shown[["coverage", "low", "high", "level"]]
    ax.hlines(-shown.index, ends["low"], ends["high"], color=BAND, linewidth=9, zorder=0)
    ax.axvline(ends["level"].iloc[0], color=INK, linewidth=1)
    _draw_points(ax, ends["coverage"])
    room = _ROOM * (ends.max().max() - ends.min().min() or 1.0)
    ax.set(xlim=(max(0, ends.min().min() - room), min(100, ends.max().max() + room)), xlabel="Coverage (% of groups)")


def _draw_size(ax: Axes, shown: pd.DataFrame) -> None:
    unit, nothing = shown["unit"].iloc[0], shown["baseline_size"].iloc[0]
    ax.axvline(nothing, color=INK, linewidth=1.2, linestyle="--")
    _draw_points(ax, shown["size"])
    end = (1 + _ROOM) * max(shown["size"].max(), nothing)
    ax.set(xlim=(0, end or 1.0), xlabel=f"{'Mean size' if unit == 'labels' else 'Mean width'} ({unit})")


def _draw_points(ax: Axes, values: pd.Series) -> None:
    ax.plot(values, -values.index, "o", color=DARK, markersize=6, clip_on=False, zorder=3)


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:].replace("_", " ")
