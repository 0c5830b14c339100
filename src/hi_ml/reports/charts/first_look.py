"""What does a table hold? Bars of counts and shares, a panel a question."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hi_ml.reports.charts.layout import chart, name_lines, new_figure, plain_ticks
from hi_ml.reports.charts.style import FILL, with_rest, wrap

_MISSING = "missing values"
_TALL, _ROW, _AROUND = 1.0, 0.2, 0.5  # inches of a panel of counts, of a column's line, and of what stands around
_MOST_NAMES = 5  # ticks along time and age
_MONTHS = (1, 3, 6, 12, 24, 60)  # from one named month to the next
_MOST = 12  # columns


@chart
def first_look(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw how many admissions there are a month and by age, and what share of each column is missing.

    Parameters
    ----------
    table : DataFrame
        `part, label, n, share`; of columns the 12 that lack most are drawn.
    """
    lacking = (table["part"] == _MISSING) & (table["n"] > 0)
    first = table[lacking].nlargest(_MOST, "share")
    table = pd.concat([table[table["part"] != _MISSING], first])
    parts = {str(part): rows.reset_index(drop=True) for part, rows in table.groupby("part", sort=False)}
    heights = [_ROW * len(rows) + 0.1 if part == _MISSING else _TALL for part, rows in parts.items()]
    note = with_rest(caption, int(lacking.sum()) - len(first), "further columns that lack values")
    figure = new_figure(title, note, height=sum(heights) + _AROUND * len(parts))
    panels = figure.subplots(len(parts), 1, squeeze=False, height_ratios=heights).ravel()
    for ax, (part, rows) in zip(panels, parts.items(), strict=True):
        draw = _draw_columns if part == _MISSING else _draw_counts
        draw(ax, rows)
        ax.set_title(part.capitalize(), fontsize=9.5)
    return figure


def _draw_counts(ax: Axes, rows: pd.DataFrame) -> None:
    ax.bar(rows.index, rows["n"], width=0.85, color=FILL)
    plain_ticks([ax], count=4)
    named = _named(rows["label"].astype(str))
    ax.set_xticks(rows.index[named], rows["label"][named])
    ax.grid(visible=False, axis="x")
    ax.set_ylabel("Admissions")


def _named(labels: pd.Series) -> pd.Series:
    """Choose the bars to be named: of months those that a calendar would name, of others every so many."""
    step = max(1, -(-len(labels) // _MOST_NAMES))
    chosen = pd.Series(labels.index % step == 0, labels.index)
    if labels.str.fullmatch(r"\d{4}-\d{2}").all():
        month = 12 * labels.str[:4].astype(int) + labels.str[5:].astype(int) - 1
        ways = (month % every == 0 for every in _MONTHS)
        chosen = next((way for way in ways if 0 < way.sum() <= _MOST_NAMES), chosen)
    return chosen


def _draw_columns(ax: Axes, rows: pd.DataFrame) -> None:
    ax.barh(-rows.index, 100 * rows["share"], height=0.7, color=FILL)
    plain_ticks([ax], count=5)
    name_lines(ax, [wrap(str(label).replace("_", " "), 24, 1) for label in rows["label"]], size=8.5)
    ax.set_xlabel("Rows that lack a value (%)")
