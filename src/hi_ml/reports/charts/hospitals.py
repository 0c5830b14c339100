"""Which hospitals bill more than luck explains? Shrunken means, and the funnel of what luck allows."""

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from hi_ml.reports.charts.layout import add_legend, chart, new_figure, plain_ticks
from hi_ml.reports.charts.means import name_lines
from hi_ml.reports.charts.style import BAND, DARK, FILL, INK, LIGHT, MUTED, number, wrapped

_WIDTH = 7.2  # inches
_ROW = 0.26  # inches for one hospital
_MOST = 40  # hospitals shown by name
_ENDS = 15  # shown at each end, where there are more
_WIDE = 20  # from this ratio of volumes on, the axis is logarithmic
_VOLUMES = (1, 2, 5)  # ticks of such an axis, in each power of ten
_OUTSIDE = {"within both limits": ("o", "white"), "outside 95 %": ("s", LIGHT), "outside 99.8 %": ("^", DARK)}
"""Shape and filling of a point."""


@chart
def hospital_bills(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw the shrunken mean bill of each hospital as a bar from zero, its interval, and the mean as recorded.

    Parameters
    ----------
    table : DataFrame
        `hospital, n, mean, effect, low, high, centre` in currency: effects are distances from the centre, smallest
        first. Of more than 40 hospitals, the 15 highest and the 15 lowest are drawn.
    title, caption : str
        The verdict as a sentence; n and method, with the volume from which a hospital is shown.
    """
    shown, between = table.sort_values("effect", ascending=False, kind="stable"), 0
    if len(table) > _MOST:
        between = len(table) - 2 * _ENDS
        shown = pd.concat([shown.iloc[:_ENDS], shown.iloc[-_ENDS:]])
    place = -np.arange(len(shown), dtype=np.float64)
    place[_ENDS:] -= bool(between)
    figure = new_figure(title, caption, height=_ROW * (1 - place.min()) + 0.7, width=_WIDTH, legend_lines=1)
    ax = figure.subplots()
    _draw_bills(ax, shown, place)
    names = [f"{wrapped(name, 36, 1)} ({n:,})" for name, n in zip(shown["hospital"], shown["n"], strict=True)]
    name_lines(ax, place, names, size=8)
    if between:
        words = f"… {between:,} hospitals between …"
        ax.annotate(words, (0.02, -_ENDS), xycoords=ax.get_yaxis_transform(), va="center", fontsize=8.5, color=MUTED)
    ax.set_xlabel("Mean bill (currency)")
    add_legend(figure, _key())
    return figure


def _draw_bills(ax: Axes, shown: pd.DataFrame, place: np.ndarray) -> None:
    centre = shown["centre"]
    ax.barh(place, centre + shown["effect"], height=0.68, color=FILL)
    ax.hlines(place, centre + shown["low"], centre + shown["high"], color=INK, linewidth=2)
    ax.plot(shown["mean"], place, "D", color=DARK, markerfacecolor="white", markersize=4.5, linestyle="")
    ax.axvline(centre.iloc[0], color=INK, linewidth=1, linestyle="--")


def _key() -> list[Artist]:
    recorded = Line2D([], [], color=DARK, marker="D", markerfacecolor="white", markersize=4.5, linestyle="")
    recorded.set_label("mean as recorded")
    return [
        Patch(color=FILL, label="shrunken mean"),
        Line2D([], [], color=INK, linewidth=2, label="its 95 % interval"),
        recorded,
        Line2D([], [], color=INK, linewidth=1, linestyle="--", label="mean of all"),
    ]


@chart
def hospital_funnel(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw the mean bill of each hospital against its volume, inside the limits that luck alone would keep.

    Parameters
    ----------
    table : DataFrame
        Layer `hospital`: `n, mean, outside95, outside998`; layer `limit`: `n, centre, low95, high95, low998, high998`
        along the volumes; all in currency.
    title, caption : str
        The verdict as a sentence; n and method, with the volume from which a hospital is shown.
    """
    figure = new_figure(title, caption, height=3.6, width=_WIDTH)
    ax = figure.subplots()
    limits = table[table["layer"] == "limit"].sort_values("n")
    key = [*_draw_points(ax, table[table["layer"] == "hospital"]), *_draw_limits(ax, limits)]
    ax.set(xlabel="Admissions of the hospital", ylabel="Mean bill (currency)")
    plain_ticks([ax])
    if limits["n"].max() > _WIDE * limits["n"].min():
        _spread_volumes(ax, limits["n"])
    ax.legend(handles=key, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0)
    return figure


def _draw_limits(ax: Axes, limits: pd.DataFrame) -> list[Artist]:
    ax.fill_between(limits["n"], limits["low95"], limits["high95"], color=BAND, linewidth=0)
    (centre,) = ax.plot(limits["n"], limits["centre"], color=INK, linewidth=1, label="mean of all")
    for name in ("low998", "high998"):
        (outer,) = ax.plot(limits["n"], limits[name], color=MUTED, linewidth=1.2, linestyle="--", label="99.8 % limits")
    return [Patch(color=BAND, label="95 % limits"), outer, centre]


def _draw_points(ax: Axes, hospitals: pd.DataFrame) -> list[Artist]:
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
    ax.set_xticks(ticks, [number(tick) for tick in ticks])
