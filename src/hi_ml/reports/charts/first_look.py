"""What does a table hold? Bars of counts and shares, a panel a question."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hi_ml.reports.charts.layout import chart, new_figure, plain_ticks
from hi_ml.reports.charts.style import FILL, wrap

_MISSING = "missing values"
_TALL = 1.45  # inches of a panel
_MOST_NAMES = 9  # ticks along time and age
_MOST = 12  # columns


@chart
def first_look(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw how many admissions there are a month and by age, and what share of each column is missing.

    Parameters
    ----------
    table : DataFrame
        `part, label, n, share`; of columns the 12 that lack most are drawn.
    """
    table = table[(table["part"] != _MISSING) | (table["n"] > 0)]
    parts = {str(part): rows.reset_index(drop=True) for part, rows in table.groupby("part", sort=False)}
    figure = new_figure(title, caption, height=_TALL * len(parts) + 0.3)
    panels = figure.subplots(len(parts), 1, squeeze=False).ravel()
    for ax, (part, rows) in zip(panels, parts.items(), strict=True):
        draw = _draw_columns if part == _MISSING else _draw_counts
        draw(ax, rows)
        ax.set_title(part.capitalize(), fontsize=9.5)
    return figure


def _draw_counts(ax: Axes, rows: pd.DataFrame) -> None:
    ax.bar(rows.index, rows["n"], width=0.85, color=FILL)
    plain_ticks([ax], count=4)
    step = max(1, -(-len(rows) // _MOST_NAMES))
    ax.set_xticks(rows.index[::step], rows["label"][::step])
    ax.grid(visible=False, axis="x")
    ax.set_ylabel("Admissions")


def _draw_columns(ax: Axes, rows: pd.DataFrame) -> None:
    first = rows.nlargest(_MOST, "share")
    ax.bar(np.arange(len(first)), 100 * first["share"], width=0.85, color=FILL)
    plain_ticks([ax], count=4)
    names = [wrap(str(label).replace("_", " "), 16, 1) for label in first["label"]]
    ax.set_xticks(range(len(first)), names, rotation=35, ha="right", rotation_mode="anchor", fontsize=8)
    ax.grid(visible=False, axis="x")
    ax.set_ylabel("Missing (%)")
    ax.set_ylim(0, max(1.0, 105 * float(first["share"].max())))
