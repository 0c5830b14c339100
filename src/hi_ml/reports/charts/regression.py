"""Predicted numbers against observed ones, and what is left between them."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import PowerNorm
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from hi_ml.reports.charts.layout import add_colorbar, add_legend, chart, new_figure, plain_ticks
from hi_ml.reports.charts.style import COUNTS, FILL, INK


@chart
def predicted_observed(table: pd.DataFrame, *, title: str, caption: str, unit: str) -> Figure:
    """Draw counts of admissions by predicted and observed value, and the observed median and range per prediction.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.statistics.curves.predicted_observed_table`: layers `cell` and `band`.
    title, caption : str
        The verdict as a sentence; n and method.
    unit : str
        Of both axes.
    """
    figure = new_figure(title, caption, height=4.05, width=5.6, legend_lines=1)
    ax = figure.subplots()
    cells = table[table["layer"] == "cell"]
    _draw_cells(ax, cells, "target")
    ends = _limits(cells, ["prediction_low", "target_low", "prediction_high", "target_high"])
    (diagonal,) = ax.plot(ends, ends, color=INK, linewidth=1, linestyle="--", label="observed = predicted")
    band = _draw_band(ax, table[table["layer"] == "band"])
    ax.set(xlim=ends, ylim=ends, box_aspect=1, xlabel=f"Predicted ({unit})", ylabel=f"Observed ({unit})")
    plain_ticks([ax])
    add_legend(figure, [band, diagonal])
    return figure


@chart
def residuals(table: pd.DataFrame, *, title: str, caption: str, unit: str) -> Figure:
    """Draw the distribution of residuals, and residuals against the prediction.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.statistics.curves.residual_table`: layers `histogram`, `cell` and `band`.
    title, caption : str
        The verdict as a sentence; n and method.
    unit : str
        Of predictions and residuals.
    """
    figure = new_figure(title, caption, height=3.4, legend_lines=1)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.8], sharey=True)
    bars = table[table["layer"] == "histogram"]
    height = bars["residual_high"] - bars["residual_low"]
    left.barh(bars["residual_low"], 100 * bars["share"], height, align="edge", color=FILL, edgecolor="white", lw=0.3)
    cells = table[table["layer"] == "cell"]
    _draw_cells(right, cells, "residual")
    band = _draw_band(right, table[table["layer"] == "band"])
    lines = [
        ax.axhline(0, color=INK, linewidth=1, linestyle="--", label="observed = predicted") for ax in (left, right)
    ]
    left.set(xlabel="Share of admissions (%)", ylabel=f"Observed minus predicted ({unit})")
    right.set(xlabel=f"Predicted ({unit})", xlim=_limits(cells, ["prediction_low", "prediction_high"]))
    right.set_ylim(_limits(cells, ["residual_low", "residual_high"]))
    plain_ticks([right])
    plain_ticks([left], count=3)
    add_legend(figure, [band, lines[0]])
    return figure


def _draw_cells(ax: Axes, cells: pd.DataFrame, name: str) -> None:
    low, high = ["prediction_low", f"{name}_low"], ["prediction_high", f"{name}_high"]
    x0, y0, x1, y1 = cells[low + high].to_numpy().T
    corners = [[(a, b), (a, d), (c, d), (c, b)] for a, b, c, d in zip(x0, y0, x1, y1, strict=True)]
    scale = PowerNorm(0.5, 0, max(4, cells["n"].max()))  # square root: a crowded middle leaves the edges visible
    drawn = PolyCollection(corners, cmap=COUNTS, norm=scale, array=cells["n"], antialiased=False)
    add_colorbar(ax, ax.add_collection(drawn), "Admissions per cell")


def _draw_band(ax: Axes, band: pd.DataFrame) -> ErrorbarContainer:
    reach = (band["q50"] - band["q10"], band["q90"] - band["q50"])
    points = {"marker": "o", "markerfacecolor": "white", "markersize": 4.5}
    return ax.errorbar(
        band["prediction"],
        band["q50"],
        reach,
        color=INK,
        linewidth=1.8,
        elinewidth=1.1,
        label="observed median and central 80 %",
        **points,  # type: ignore[arg-type]
    )


def _limits(cells: pd.DataFrame, columns: list[str]) -> tuple[float, float]:
    return float(cells[columns].min().min()), float(cells[columns].max().max())
