"""How far does each insurer's care stand from the rest, beside how far its patients do? A love plot."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hi_ml.reports.charts.layout import chart, new_figure, plain_ticks
from hi_ml.reports.charts.style import BAND, DARK, INK, LIGHT, MIDDLE, wrapped

_WIDTH = 7.2  # inches
_ROW, _AROUND = 0.22, 0.45  # inches for one line, and for what stands around the lines of a kind
_MOST = 30  # lines of a kind
_MARKERS = (("o", DARK), ("s", LIGHT), ("^", MIDDLE), ("D", "white"), ("v", INK), ("P", "white"))
"""Shape and filling, by insurer; beyond so many they look alike."""
_MEANING = {"care": "what the insurers' patients got", "case mix": "who they are"}
_LEAST_REACH = 1.5  # times the zone: a plot never zooms in so far that noise looks large


@chart
def balance(table: pd.DataFrame, *, title: str, caption: str, zone: float | None) -> Figure:
    """Draw the standardised difference between each insurer and the rest, for care and for who the patients are.

    Parameters
    ----------
    table : DataFrame
        `insurer, kind, variable, level, difference` in standard deviations: a panel per kind, a line per level. The 30
        lines of each kind with the farthest points are drawn.
    title, caption : str
        The verdict as a sentence; n and method.
    zone : float or None
        Difference from which a balance table would flag, shaded in grey.
    """
    named = table.assign(line=_line_names(table))
    kinds = [_farthest(named[named["kind"] == kind]) for kind in dict.fromkeys(named["kind"])]
    sizes = [part["line"].nunique() for part in kinds]
    further = named.groupby("kind")["line"].nunique().sum() - sum(sizes)
    if further:
        caption = f"{caption} {further} lines closer to zero are in the table."
    height = _ROW * sum(sizes) + _AROUND * len(kinds) + 0.4
    figure = new_figure(title, caption, height=height, width=_WIDTH, legend_lines=0)
    panels = figure.subplots(len(kinds), 1, squeeze=False, sharex=True, height_ratios=sizes).ravel()
    insurers = sorted(table["insurer"].unique())
    for ax, part in zip(panels, kinds, strict=True):
        _draw_kind(ax, part, insurers, zone)
    reach = max(1.1 * float(table["difference"].abs().max()), _LEAST_REACH * (zone or 0.0), 1e-3)
    panels[-1].set(xlim=(-reach, reach), xlabel="Insurer less the rest (standard deviations)")
    panels[0].legend(handles=_key(insurers, zone), loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0)
    return figure


def _line_names(table: pd.DataFrame) -> "pd.Series[str]":
    variable = table["variable"].astype(str).str.replace("_", " ")
    level = table["level"].astype(str)
    return variable + level.where(level == "", ": " + level)


def _farthest(part: pd.DataFrame) -> pd.DataFrame:
    far = part["difference"].abs().groupby(part["line"]).max().nlargest(_MOST)
    return part[part["line"].isin(far.index)]


def _draw_kind(ax: Axes, part: pd.DataFrame, insurers: list[str], zone: float | None) -> None:
    lines = list(dict.fromkeys(part["line"]))
    place = part["line"].map({line: -row for row, line in enumerate(lines)})
    if zone:
        ax.axvspan(-zone, zone, color=BAND, linewidth=0, zorder=0)
    ax.axvline(0, color=INK, linewidth=1)
    for number, insurer in enumerate(insurers):
        own = part["insurer"] == insurer
        ax.plot(part.loc[own, "difference"], place[own], **_look(number))
    ax.set_title(f"{part['kind'].iloc[0]} ({_MEANING.get(part['kind'].iloc[0], '')})".capitalize().replace(" ()", ""))
    plain_ticks([ax])
    ax.set_yticks(-np.arange(len(lines)), [wrapped(line, 36, 1) for line in lines], fontsize=8)
    ax.set_ylim(0.4 - len(lines), 0.6)
    ax.tick_params(axis="y", left=False)


def _look(number: int) -> dict[str, Any]:
    marker, filling = _MARKERS[min(number, len(_MARKERS) - 1)]
    return {
        "color": INK,
        "marker": marker,
        "markerfacecolor": filling,
        "markersize": 5,
        "markeredgewidth": 0.7,
        "linestyle": "",
    }


def _key(insurers: list[str], zone: float | None) -> list[Artist]:
    named = insurers[: len(_MARKERS) - 1] if len(insurers) > len(_MARKERS) else insurers
    key: list[Artist] = [Line2D([], [], label=wrapped(name, 20), **_look(place)) for place, name in enumerate(named)]
    if len(insurers) > len(named):
        key.append(Line2D([], [], label=f"{len(insurers) - len(named)} others", **_look(len(_MARKERS))))
    return [*key, *([Patch(color=BAND, label=f"within {zone:g}: balanced")] if zone else [])]
