"""How the loss falls as the training rows grow."""

import pandas as pd
from matplotlib.figure import Figure

from hi_ml.charts.layout import add_legend, chart, new_figure, plain_ticks
from hi_ml.charts.style import DARK, INK, number


@chart
def learning_curve(table: pd.DataFrame, *, title: str, caption: str, score: str) -> Figure:
    """Draw the loss on the test part against the number of training rows, with the baseline.

    Parameters
    ----------
    table : DataFrame
        `rows, value, low, high, baseline, unit`, one line per training size.
    title, caption : str
        The verdict as a sentence; n and method.
    score : str
        Name of the loss.
    """
    figure = new_figure(title, caption, height=3.2, width=5.6, legend_lines=1)
    ax = figure.subplots()
    reach = [table["value"] - table["low"], table["high"] - table["value"]]
    points = ax.errorbar(table["rows"], table["value"], reach, color=DARK, marker="o", capsize=3, label="model")
    line = ax.axhline(table["baseline"].iloc[0], color=INK, linewidth=1, linestyle="--", label="baseline")
    ax.set(xscale="log", xlabel="Training rows", ylabel=f"{score.replace('_', ' ')} ({table['unit'].iloc[0]})")
    plain_ticks([ax])
    ax.set_xticks(table["rows"], [number(rows) for rows in table["rows"]], minor=False)
    ax.minorticks_off()
    add_legend(figure, [points, line])
    return figure
