"""How do a share and a mean run along age and time? Lines with the bands of their intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hi_ml.app.text import short
from hi_ml.reports.charts.layout import (
    WIDE,
    add_legend,
    chart,
    name_panel,
    new_figure,
    panel_grid,
    plain_ticks,
)
from hi_ml.reports.charts.style import BAND, DARK, INK, NEUTRAL, with_rest, wrap

_MOST = 12  # panels
_TALL, _LEAST = 1.35, 2.9  # inches of one panel above others, and of all
_LONGEST = 60  # days: what lies beyond is counted, not drawn
_ROOM, _LEAST_ROOM = 0.15, 1.0  # above and below the means: share of their range, and days
_MIDDLE = 5  # years from the beginning of a decade


@chart
def share_by_decade(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw the share of each condition over the decades of age, with its interval: a panel each, from zero.

    Parameters
    ----------
    table : DataFrame
        `decade` (its first year), `condition, share, low, high`. The 12 largest conditions are drawn.
    """
    peak = table.groupby("condition")["share"].max()
    names = sorted(peak.nlargest(_MOST).index)
    note = with_rest(caption, len(peak) - len(names), "smaller conditions")
    axes = ("Age (years)", "Share of admissions (%)")
    figure, panels = panel_grid(title, note, len(names), names=axes, legend=True)
    for ax, name in zip(panels, names, strict=True):
        part = table[table["condition"] == name].sort_values("decade")
        _draw_band(ax, part["decade"] + _MIDDLE, 100 * part[["share", "low", "high"]].to_numpy(float))
        name_panel(ax, name)
    plain_ticks(panels, count=4)
    panels[0].set_ylim(0, 1.05 * 100 * float(table.loc[table["condition"].isin(names), "high"].max()))
    add_legend(figure, [_line("share of the decade's admissions"), Patch(color=BAND, label="95 % interval")])
    return figure


@chart
def stay_by_month(table: pd.DataFrame, *, title: str, caption: str, smallest: float | None) -> Figure:
    """Draw the mean stay of each admission type by month, with its interval: a panel each, the other types thin.

    Parameters
    ----------
    table : DataFrame
        `month` (its first day), `admission_type, n, mean, low, high` in days. The 12 largest types are drawn.
    smallest : float or None
        Difference that matters, in days: drawn as a bar beside the panels.
    """
    low, high = _reach(table["mean"], smallest or 0.0)
    cut = int(((table["low"] < low) | (table["high"] > high)).sum())
    note = f"{caption} {cut} of {len(table)} leave the panel, and are cut." if cut else caption
    figure, panels = _panel_per_type(table, title, note, names=["Month of admission", "Mean length of stay (days)"])
    types = {name: table[table["admission_type"] == name].sort_values("month") for name in panels}
    for name, ax in panels.items():
        for other in (part for kind, part in types.items() if kind != name):
            ax.plot(other["month"].to_numpy(), other["mean"], color=NEUTRAL, linewidth=0.7)
        own = types[name]
        _draw_band(ax, own["month"], own[["mean", "low", "high"]].to_numpy(float))
        ax.set_title(f"{wrap(name, 50, 1)} (n = {own['n'].sum():,})", fontsize=9)
        ax.yaxis.set_major_locator(MaxNLocator(4))
        if smallest:
            _draw_bar(ax, smallest, table)
        _tick_months(ax)
        ax.set_ylim(low, high)
    key = [_line("mean stay of the month"), Patch(color=BAND, label="95 % interval")]
    if len(types) > 1:
        key.append(Line2D([], [], color=NEUTRAL, linewidth=0.7, label="other types"))
    add_legend(figure, key)
    return figure


@chart
def stay_distribution(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw how the stays of each admission type are distributed, with their mean: a panel each.

    Parameters
    ----------
    table : DataFrame
        `admission_type, days` (whole), `n, share` (of the type), `mean` (of the type, in days). Stays beyond 60 days
        are counted in the panel's name. The 12 largest types are drawn.
    """
    figure, panels = _panel_per_type(table, title, caption, names=["Length of stay (days)", "Share of the type (%)"])
    for name, ax in panels.items():
        part = table[table["admission_type"] == name]
        near = part[part["days"] <= _LONGEST]
        ax.bar(near["days"], 100 * near["share"], width=0.85, color=NEUTRAL)
        mean, beyond = float(part["mean"].iloc[0]), int(part.loc[part["days"] > _LONGEST, "n"].sum())
        ax.axvline(mean, color=DARK, linewidth=2)
        more = f"; {beyond:,} longer than {_LONGEST} days" if beyond else ""
        ax.set_title(f"{wrap(name, 36, 1)} (n = {part['n'].sum():,}; mean {short(mean)} days{more})", fontsize=9)
        plain_ticks([ax], count=4)
    add_legend(figure, [Line2D([], [], color=DARK, linewidth=2, label="mean"), Patch(color=NEUTRAL, label="stays")])
    return figure


def _panel_per_type(
    table: pd.DataFrame, title: str, caption: str, *, names: Sequence[str]
) -> tuple[Figure, dict[str, Axes]]:
    """Stack a panel for each of the largest admission types; name the axes once."""
    types = sorted(table.groupby("admission_type")["n"].sum().nlargest(_MOST).index)
    figure = new_figure(title, caption, height=max(_LEAST, _TALL * len(types) + 0.5), width=WIDE, legend=True)
    panels = figure.subplots(len(types), 1, squeeze=False, sharex=True, sharey=True).ravel()
    panels[-1].set_xlabel(names[0])
    panels[len(types) // 2].set_ylabel(names[1])
    return figure, dict(zip(types, panels, strict=True))


def _line(label: str) -> Line2D:
    return Line2D([], [], color=DARK, marker="o", markersize=3, linewidth=1.4, label=label)


def _draw_band(ax: Axes, x: "pd.Series[float]", values: np.ndarray) -> None:
    """Draw a line with its band; where a value stands alone, its interval is a bar."""
    (middle, low, high), across = values.T, x.to_numpy()
    ax.fill_between(across, low, high, color=BAND, linewidth=0)
    ax.vlines(across, low, high, color=BAND, linewidth=2, zorder=1)
    ax.plot(across, middle, "o-", color=DARK, markersize=3, linewidth=1.4)


def _tick_months(ax: Axes) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))  # type: ignore[no-untyped-call]


def _draw_bar(ax: Axes, smallest: float, table: pd.DataFrame) -> None:
    """Draw a bar as high as the difference that matters, right of the panel."""
    low, high = _reach(table["mean"], smallest)
    middle, beside = (low + high) / 2, ax.get_yaxis_transform()
    ends = [middle - smallest / 2, middle + smallest / 2]
    (bar,) = ax.plot([1.015, 1.015], ends, color=INK, linewidth=3, transform=beside, clip_on=False)
    bar.set_solid_capstyle("butt")
    words = f"{short(smallest)} day{'s' * (smallest != 1)}:\nmatters"
    ax.annotate(words, (1.03, middle), xycoords=beside, va="center", fontsize=8)


def _reach(mean: "pd.Series[float]", smallest: float) -> tuple[float, float]:
    """Limits of the axis: the means and some room, at least twice the difference that matters; bands may leave it."""
    low, high = float(mean.min()), float(mean.max())
    room = max(_ROOM * (high - low), smallest - (high - low) / 2, _LEAST_ROOM)
    return low - room, high + room
