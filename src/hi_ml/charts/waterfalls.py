"""How does one prediction build up from the base value, column by column?"""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hi_ml.charts.layout import add_legend, chart, new_figure, plain_ticks
from hi_ml.charts.style import DARK, INK, LIGHT, MUTED, number, wrapped

_LABEL_ROOM = 0.22  # of what the bars span, right of them, for their numbers


@chart
def waterfall(table: pd.DataFrame, *, title: str, caption: str, unit: str) -> Figure:
    """Draw how single predictions build up from the base value, one panel per row of the data.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.statistics.contributions.waterfall_table`.
    title, caption : str
        The verdict as a sentence; n and method.
    unit : str
        Of the prediction.
    """
    panels = list(dict.fromkeys(table["panel"]))
    lines = int(table.groupby("panel").size().max())
    height = len(panels) * (0.25 * lines + 0.35) + 0.4
    figure = new_figure(title, caption, height=height, legend_lines=1)
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False).ravel()
    for ax, panel in zip(grid, panels, strict=True):
        _draw_waterfall(ax, table[table["panel"] == panel])
    ends = table[["low", "high", "base_value"]]
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
    place = np.arange(len(part))[::-1]
    raises = part["contribution"].to_numpy() > 0
    ax.axvline(first["base_value"], color=MUTED, linewidth=1, linestyle=":")
    ax.axvline(first["prediction"], color=INK, linewidth=1.2)
    ax.barh(place, part["high"] - part["low"], left=part["low"], height=0.68, color=np.where(raises, DARK, LIGHT))
    for y, contribution in zip(place, part["contribution"], strict=True):
        text = ("+" if contribution > 0 else "") + number(contribution)
        ax.annotate(
            text, (0.99, y), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=8.5, in_layout=False
        )
    plain_ticks([ax])
    ax.set_yticks(place, [_with_value(bar) for bar in part.to_dict("records")], fontsize=8.5)
    prediction = f"{number(first['base_value'])} becomes {number(first['prediction'])}"
    ax.set_title(f"{first['panel']}: {prediction} (row {first['row']})", fontsize=9)
    ax.tick_params(axis="y", left=False)
    ax.grid(visible=False, axis="y")


def _with_value(bar: dict[Hashable, Any]) -> str:
    column, value = str(bar["column"]).replace("_", " "), str(bar["value"])
    return f"{wrapped(column, 22, 1)} = {wrapped(value, 20, 1)}" if value else wrapped(column, 40, 1)
