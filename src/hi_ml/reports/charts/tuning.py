"""How does the loss fall, with more training rows and from trial to trial of a search?"""

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hi_ml.app.text import short
from hi_ml.reports.charts.layout import add_legend, chart, new_figure, plain_ticks
from hi_ml.reports.charts.style import DARK, INK, MIDDLE, NEUTRAL

_FOOT = 0.03  # of the height of the axes, where a trial without loss is marked
_AIR = 0.08  # of the height of the axes, above and below the trials that reached all folds


@chart
def learning_curve(table: pd.DataFrame, *, title: str, caption: str, score: str) -> Figure:
    """Draw the loss on the test part against the number of training rows, with the baseline.

    Parameters
    ----------
    table : DataFrame
        `rows, value, low, high, baseline, unit`, one line per training size.
    score : str
        Name of the loss.
    """
    figure = new_figure(title, caption, height=3.2, width=5.6, legend=True)
    ax = figure.subplots()
    reach = [table["value"] - table["low"], table["high"] - table["value"]]
    points = ax.errorbar(table["rows"], table["value"], reach, color=DARK, marker="o", capsize=3, label="model")
    line = ax.axhline(table["baseline"].iloc[0], color=INK, linewidth=1, linestyle="--", label="baseline")
    ax.set(xscale="log", xlabel="Training rows", ylabel=f"{score.replace('_', ' ')} ({table['unit'].iloc[0]})")
    plain_ticks([ax])
    ax.set_xticks(table["rows"], [short(rows) for rows in table["rows"]], minor=False)
    ax.minorticks_off()
    add_legend(figure, [points, line])
    return figure


@chart
def history(table: pd.DataFrame, *, title: str, caption: str, score: str, unit: str) -> Figure:
    """Draw the loss of every trial, the best so far, and the line of the defaults.

    The axis shows the trials that reached all folds, with their intervals; a pruned one that lies beyond is drawn at
    its edge.

    Parameters
    ----------
    table : DataFrame
        `number, state, loss, low, high, best, defaults`, one line per trial in the order of their numbers.
    score, unit : str
        Of the loss.
    """
    figure = new_figure(title, caption, height=3.4, legend=True)
    ax = figure.subplots()
    complete, pruned, failed = (table[table["state"] == state] for state in ("complete", "pruned", "failed"))
    _zoom(ax, complete)
    reach = [complete["loss"] - complete["low"], complete["high"] - complete["loss"]]
    whole = ax.errorbar(
        complete["number"], complete["loss"], reach, color=DARK, fmt="o", markersize=5, elinewidth=1, label="all folds"
    )
    entries: list[Artist | Container] = [whole]
    if len(pruned):
        near = pruned["loss"].clip(*ax.get_ylim())
        entries += ax.plot(pruned["number"], near, "v", color=NEUTRAL, mfc="white", ms=5, clip_on=False, label="pruned")
    if len(failed):
        foot = ax.get_xaxis_transform()
        entries += ax.plot(failed["number"], [_FOOT] * len(failed), "x", color=MIDDLE, transform=foot, label="failed")
    entries += ax.step(table["number"], table["best"], where="post", color=DARK, linewidth=1.2, label="best so far")
    entries += [ax.axhline(table["defaults"].iloc[0], color=INK, linewidth=1, linestyle="--", label="defaults")]
    plain_ticks([ax])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="Trial", ylabel=f"Cross-validated {score.replace('_', ' ')} ({unit})")
    add_legend(figure, entries)
    return figure


def _zoom(ax: Axes, complete: pd.DataFrame) -> None:
    """Show the trials that reached all folds."""
    bottom, top = complete["low"].min(), complete["high"].max()
    air = _AIR * (top - bottom) or _AIR * abs(top) or 1.0
    ax.set_ylim(bottom - air, top + air)
