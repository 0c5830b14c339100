"""Tables of shares and residuals as heat maps: every cell says in figures what its shade says."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from hi_ml.reports.charts.layout import add_colorbar, chart, new_figure
from hi_ml.reports.charts.style import COUNTS, DARK, INK, LIGHT, wrapped

BELOW_ABOVE = LinearSegmentedColormap.from_list("below_above", [LIGHT, "#FFFFFF", DARK])
"""Light for below, dark for above: told apart in grey, too."""
_LAYERS = ["residual", "share", "discovery"]
_CELL = 0.62  # inches: least width of a cell
_WIDEST = 9.0  # inches
_MOST_ROWS, _MOST_COLUMNS = 20, 10
_SIDE_BY_SIDE = 6  # from more insurers on, their names stand upright
_FAR = 5.0  # standard deviations: the scale never zooms in so far that noise looks like a pattern
_HEADROOM = 1.25  # of the largest share: the darkest shade is never reached, so figures stay legible
_DARK_BLUE = 0.55  # share of the way to the dark end from which ink gives way to white


@chart
def shares_by_decade(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw each condition's share of the admissions of each decade of age, shaded from zero.

    Parameters
    ----------
    table : DataFrame
        `decade` (its first year), `condition, n` (admissions of the decade), `share`. The 20 largest conditions are
        drawn.
    title, caption : str
        The verdict as a sentence; n and method.
    """
    cells, further = _largest(table.pivot_table(index="condition", columns="decade", values="share", aggfunc="first"))
    n = table.drop_duplicates("decade").set_index("decade")["n"]
    if further:
        caption = f"{caption} {further} smaller conditions are in the table."
    height = 0.32 * len(cells) + 1.0
    figure = new_figure(title, caption, height=height, width=_width(cells.shape[1], names=2.6))
    ax = figure.subplots()
    drawn = ax.imshow(
        100 * cells, cmap=COUNTS, vmin=0, vmax=100 * _HEADROOM * _positive(np.nanmax(cells)), aspect="auto"
    )
    add_colorbar(ax, drawn, "Share (%)")
    for (row, column), share in np.ndenumerate(cells.to_numpy()):
        ax.text(column, row, f"{100 * share:.1f}", ha="center", va="center", fontsize=9, color=INK)
    ax.set_xticks(
        range(cells.shape[1]), [f"{decade}–{decade + 9}\n{n[decade]:,}" for decade in map(int, cells.columns)]
    )
    ax.set_yticks(range(len(cells)), [wrapped(name, 28, 1) for name in cells.index])
    ax.set_xlabel("Age at admission (years), and admissions of that age")
    _bare(ax)
    return figure


@chart
def residuals_by_insurer(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw what share of each insurer's admissions got which care, shaded by its residual; stars mark discoveries.

    Parameters
    ----------
    table : DataFrame
        `outcome, insurer, level, share, residual, discovery`: one panel per outcome, up to 20 levels each, and up to 10
        insurers, those with the farthest residuals.
    title, caption : str
        The verdict as a sentence; n and method.
    """
    outcomes = list(dict.fromkeys(table["outcome"]))
    insurers = _far_insurers(table)
    grids = [_grid(table[table["outcome"] == outcome], insurers) for outcome in outcomes]
    further = table["insurer"].nunique() - len(insurers)
    if further > 0:
        caption = f"{caption} {further} insurers closer to the rest are in the table."
    sizes = [len(grid) for grid in grids]
    height = 0.42 * sum(sizes) + 0.42 * len(grids) + (0.7 if len(insurers) <= _SIDE_BY_SIDE else 1.9)
    figure = new_figure(title, caption, height=height, width=_width(len(insurers), names=3.2, cell=1.05))
    panels = figure.subplots(len(grids), 1, squeeze=False, sharex=True, height_ratios=sizes).ravel()
    far = max(_FAR, float(table["residual"].abs().max()))
    for ax, outcome, grid in zip(panels, outcomes, grids, strict=True):
        drawn = ax.imshow(grid["residual"], cmap=BELOW_ABOVE, vmin=-far, vmax=far, aspect="auto")
        _write_residuals(ax, grid, far)
        ax.set_yticks(range(len(grid)), [wrapped(level, 26, 1) for level in grid.index])
        ax.set_title(str(outcome).replace("_", " ").capitalize())
        _bare(ax)
        if ax is panels[int(np.argmax(sizes))]:
            add_colorbar(ax, drawn, "Adjusted residual")
    upright = len(insurers) > _SIDE_BY_SIDE
    names = [wrapped(insurer, *((24, 2) if upright else (16, 3))) for insurer in insurers]
    panels[-1].set_xticks(range(len(insurers)), names, fontsize=8.5, rotation=90 if upright else 0)
    return figure


def _grid(part: pd.DataFrame, insurers: list[str]) -> pd.DataFrame:
    """Spread one outcome over levels x insurers, for share, residual and discovery beside one another."""
    grid = part.pivot_table(index="level", columns="insurer", values=_LAYERS, aggfunc="first")
    far = part["residual"].abs().groupby(part["level"]).max()
    kept = grid.index.isin(far.nlargest(_MOST_ROWS).index)
    order = pd.MultiIndex.from_product([_LAYERS, insurers])
    return grid.reindex(columns=order)[kept].astype(float)


def _far_insurers(table: pd.DataFrame) -> list[str]:
    far = table["residual"].abs().groupby(table["insurer"]).max()
    return sorted(far.nlargest(_MOST_COLUMNS).index)


def _write_residuals(ax: Axes, grid: pd.DataFrame, far: float) -> None:
    residual, share, found = (grid[name].to_numpy() for name in _LAYERS)
    for (row, column), value in np.ndenumerate(residual):
        if np.isnan(value):
            continue
        star = bool(found[row, column])
        text = f"{100 * share[row, column]:.1f} %\n{round(value, 1) + 0.0:+.1f}{' *' * star}".replace("-", "−")
        color = "white" if value > _DARK_BLUE * far else INK
        weight = "bold" if star else "normal"
        ax.text(column, row, text, ha="center", va="center", fontsize=8, color=color, fontweight=weight)


def _largest(cells: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    kept = cells.index.isin(cells.sum(axis=1).nlargest(_MOST_ROWS).index)
    return cells[kept], int((~kept).sum())


def _width(columns: int, *, names: float, cell: float = _CELL) -> float:
    return min(_WIDEST, max(5.6, names + cell * columns))


def _positive(value: float) -> float:
    return value if value > 0 else 1.0


def _bare(ax: Axes) -> None:
    ax.grid(visible=False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
