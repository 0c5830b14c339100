"""What is the mean of each group, and what would luck make of it? Bars from zero: a small difference looks small."""

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator

from hi_ml.app.text import in_unit, interval, short
from hi_ml.reports.charts.interval_plot import Key, Panel, Reference, interval_plot
from hi_ml.reports.charts.layout import WIDE, chart, new_figure, plain_ticks
from hi_ml.reports.charts.style import BAND, DARK, INK, LIGHT, MUTED, with_rest, wrap

_MOST = 20  # groups
_MOST_HOSPITALS = 40  # by name
_EACH_END = 15  # hospitals at either end, where there are more
_MOST_NAMED, _ROOM_FOR_NAMES = 8, 0.05  # outliers; share of the axis
_WIDE = 20  # from this ratio of volumes on, the axis is logarithmic
_VOLUMES = (1, 2, 5)  # ticks of such an axis, in each power of ten
_OUTSIDE = {"within both limits": ("o", "white"), "outside 95 %": ("s", LIGHT), "outside 99.8 %": ("^", DARK)}
"""Shape and filling of a point."""


@chart
def means(table: pd.DataFrame, *, title: str, caption: str, group: str, measure: tuple[str, str]) -> Figure:
    """Draw the mean of each group as a bar from zero, with its interval.

    Parameters
    ----------
    table : DataFrame
        A column named as `group`, and `n, mean, low, high`. The 20 largest groups are drawn.
    group : str
        The column of names.
    measure : tuple of str
        What the mean is of, and its unit.
    """
    largest = table[table.index.isin(table["n"].nlargest(_MOST).index)].reset_index(drop=True)
    what, unit = measure
    texts = [
        f"{in_unit(row['mean'], unit, signed=False)} ({interval(row['low'], row['high'], unit).replace('+', '')})\n"
        f"n = {row['n']:,}"
        for row in largest.to_dict("records")
    ]
    lines = largest.assign(name=[wrap(name, 26) for name in largest[group]], value=largest["mean"], text=texts)
    panel, key = Panel(lines=lines, axis=f"{what} ({unit})"), Key(bar="mean", interval="95 % interval")
    note = with_rest(caption, len(table) - len(largest), "smaller groups")
    return interval_plot([panel], title=title, caption=note, row=0.4, key=key, bars=True)


@chart
def agreement(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw how often two admissions of one name agree, beside how often any two do.

    Parameters
    ----------
    table : DataFrame
        `agreement, same_name, chance` (shares of pairs, 0 to 1; chance may be NaN), `n` (pairs that agree).
    """
    texts = [
        f"{100 * row['same_name']:.2f} % (n = {row['n']:,})"
        + ("" if np.isnan(row["chance"]) else f"\nby chance {100 * row['chance']:.2f} %")
        for row in table.to_dict("records")
    ]
    lines = pd.DataFrame({"name": [wrap(name, 26) for name in table["agreement"]], "text": texts})
    lines = lines.assign(value=100 * table["same_name"].array, beside=100 * table["chance"].array)
    panel = Panel(lines=lines, axis="Share of pairs of admissions that agree (%)")
    key = Key(bar="two admissions of one name", beside="any two admissions")
    return interval_plot([panel], title=title, caption=caption, row=0.4, key=key, bars=True)


@chart
def hospital_bills(table: pd.DataFrame, *, title: str, caption: str, unit: str) -> Figure:
    """Draw the shrunken mean bill of each hospital as a bar from zero, its interval, and the mean as recorded.

    Parameters
    ----------
    table : DataFrame
        `hospital, n, mean, effect, low, high, centre`: effects are distances from the centre, smallest first. Of more
        than 40 hospitals, the 15 highest and the 15 lowest are drawn.
    unit : str
        Of the bills.
    """
    falling, centre = table.sort_values("effect", ascending=False, kind="stable"), float(table["centre"].iloc[0])
    lines = pd.DataFrame(
        {
            "name": [f"{wrap(row['hospital'], 36, 1)} ({row['n']:,})" for row in falling.to_dict("records")],
            "value": centre + falling["effect"].array,
            "low": centre + falling["low"].array,
            "high": centre + falling["high"].array,
            "beside": falling["mean"].array,
        }
    )
    if len(lines) > _MOST_HOSPITALS:
        between = pd.DataFrame({"name": [f"… {len(lines) - 2 * _EACH_END:,} hospitals between …"]})
        lines = pd.concat([lines.iloc[:_EACH_END], between, lines.iloc[-_EACH_END:]], ignore_index=True)
    panel = Panel(lines=lines, axis=f"Mean bill ({unit})", reference=Reference(centre, "mean of all", "--"))
    key = Key(bar="shrunken mean", interval="its 95 % interval", beside="mean as recorded")
    return interval_plot([panel], title=title, caption=caption, row=0.26, key=key, bars=True)


@chart
def hospital_funnel(table: pd.DataFrame, *, title: str, caption: str, unit: str) -> Figure:
    """Draw the mean bill of each hospital against its volume, inside the limits that luck alone would keep.

    Parameters
    ----------
    table : DataFrame
        Layer `hospital`: `hospital, n, mean, outside95, outside998` and its own limits; layer `limit`: `n, centre,
        low95, high95, low998, high998` along the volumes. The hospitals farthest out are named.
    unit : str
        Of the bills.
    """
    figure = new_figure(title, caption, height=3.6, width=WIDE)
    ax = figure.subplots()
    limits = table[table["layer"] == "limit"].sort_values("n")
    key = [*_draw_hospitals(ax, table[table["layer"] == "hospital"]), *_draw_limits(ax, limits)]
    ax.set(xlabel="Admissions of the hospital", ylabel=f"Mean bill ({unit})")
    plain_ticks([ax])
    if limits["n"].max() > _WIDE * limits["n"].min():
        _spread_volumes(ax, limits["n"])
    _name_outliers(ax, table[table["layer"] == "hospital"])
    ax.legend(handles=key, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0)
    return figure


def _name_outliers(ax: Axes, hospitals: pd.DataFrame) -> None:
    """Name the hospitals that lie farthest beyond the outer limits, as far as their names cover no other."""
    far = hospitals[hospitals["outside998"].astype(bool)]
    beyond = (far["mean"] - far["centre"]).abs() / (far["high998"] - far["low998"])
    low, high = ax.get_ylim()
    ax.set_ylim(low - _ROOM_FOR_NAMES * (high - low), high + _ROOM_FOR_NAMES * (high - low))
    to_axes = ax.transData + ax.transAxes.inverted()
    taken: list[float] = []
    for row in far.loc[beyond.sort_values(ascending=False).index[:_MOST_NAMED]].to_dict("records"):
        x, y = to_axes.transform((row["n"], row["mean"]))
        if all(abs(y - other) > _ROOM_FOR_NAMES for other in taken):
            taken.append(y)
            side, shift = ("left", 5) if x < 0.5 else ("right", -5)  # noqa: PLR2004 -- of the axis
            name, at = wrap(row["hospital"], 26, 1), {"xytext": (shift, 0), "textcoords": "offset points"}
            halo = [withStroke(linewidth=2.5, foreground="white")]  # which parts the name from the points it lies on
            look = {"va": "center", "fontsize": 7, "in_layout": False, "path_effects": halo, "zorder": 4}
            ax.annotate(name, (row["n"], row["mean"]), ha=side, **look, **at)  # type: ignore[arg-type]


def _draw_limits(ax: Axes, limits: pd.DataFrame) -> list[Artist]:
    ax.fill_between(limits["n"], limits["low95"], limits["high95"], color=BAND, linewidth=0)
    (centre,) = ax.plot(limits["n"], limits["centre"], color=INK, linewidth=1, label="mean of all")
    for name in ("low998", "high998"):
        (outer,) = ax.plot(limits["n"], limits[name], color=MUTED, linewidth=1.2, linestyle="--", label="99.8 % limits")
    return [Patch(color=BAND, label="95 % limits"), outer, centre]


def _draw_hospitals(ax: Axes, hospitals: pd.DataFrame) -> list[Artist]:
    far = hospitals["outside95"].astype(int) + hospitals["outside998"].astype(int)
    key: list[Artist] = []
    for step, (label, (marker, filling)) in enumerate(_OUTSIDE.items()):
        part = hospitals[far == step]
        look = {"color": DARK, "marker": marker, "markerfacecolor": filling, "markersize": 5.5, "markeredgewidth": 0.9}
        ax.plot(part["n"], part["mean"], linestyle="", **look)  # type: ignore[arg-type]
        key.append(Line2D([], [], linestyle="", label=f"{label} ({len(part):,})", **look))  # type: ignore[arg-type]
    return key


def _spread_volumes(ax: Axes, volumes: "pd.Series[float]") -> None:
    ax.set_xscale("log")
    low, high = float(volumes.min()), float(volumes.max())
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks = [tick for tick in np.outer(powers, _VOLUMES).ravel() if low <= tick <= high]
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(ticks, [short(tick) for tick in ticks])
