"""Tables of shares and residuals as heat maps: every cell says in figures what its shade says."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from hi_ml.reports.charts.layout import add_colorbar, chart, new_figure
from hi_ml.reports.charts.style import COUNTS, DARK, INK, LIGHT, with_rest, wrap

BELOW_ABOVE = LinearSegmentedColormap.from_list("below_above", [LIGHT, "#FFFFFF", DARK])
"""Light for below, dark for above: told apart in grey, too."""
_LAYERS = ["residual", "share", "discovery"]
_CELL = 0.62  # inches: least width of a cell
_WIDEST = 9.0  # inches
_MOST_ROWS, _MOST_COLUMNS = 20, 10
_WITH_COUNTS = 8  # more classes than this leave no room for a second line in the cells
_UPRIGHT = {"classes": 4, "groups": 6}  # of more than so many, the names below stand upright
_FAR = 5.0  # standard deviations: the scale never zooms in so far that noise looks like a pattern
_FAR_SHARE = 5.0  # percentage points, likewise
_DARK_SHARE = 70  # % from which ink on the cell gives way to white
_DARK_RESIDUAL = 0.55  # share of the way to the dark end, likewise


@chart
def confusion(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw, for each observed class, how often each class was predicted.

    Parameters
    ----------
    table : DataFrame
        Of `hi_ml.statistics.curves.confusion_table`: `target, prediction, n, share`, all pairs of classes. Up to
        8 classes show the counts in the cells; more show them per row only.
    """
    labels = list(dict.fromkeys(table["target"]))
    size = len(labels)
    counts, share = (table[name].to_numpy(float).reshape(size, size) for name in ("n", "share"))
    side = max(2.6, min(0.75, 0.4 + 2.4 / size) * size)
    upright, in_full = size > _UPRIGHT["classes"], size <= _WITH_COUNTS
    figure = new_figure(title, caption, height=side * 0.8 + (1.7 if upright else 0.7), width=max(5.6, side + 2.6))
    ax = figure.subplots()
    pairs = zip(counts.ravel(), share.ravel(), strict=True)
    texts = [
        "" if math.isnan(part) else f"{100 * part:.0f}" + (f" %\n{n:,.0f}" if in_full else "") for n, part in pairs
    ]
    drawn = _draw_cells(ax, 100 * share, texts, colors=COUNTS, ends=(0, 100), white_from=_DARK_SHARE)
    add_colorbar(ax, drawn, "Share of the observed class (%)")
    names = [wrap(label, *((26, 2) if in_full else (36, 1))) for label in labels]
    sums = ["" if math.isnan(n) else f"\nn = {n:,.0f}" for n in counts.sum(axis=1)]  # none where a cell is withheld
    ax.set_yticks(range(size), [f"{name}{n}" for name, n in zip(names, sums, strict=True)])
    below = [wrap(label, 26 if upright else 14) for label in labels]
    ax.set_xticks(range(size), below, rotation=90 if upright else 0)
    ax.set(xlabel="Predicted class", ylabel="Observed class")
    return figure


@chart
def shares_by_decade(table: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw each condition's share of the admissions of each decade of age, shaded around its share at any age.

    Parameters
    ----------
    table : DataFrame
        `decade` (its first year), `condition, n` (admissions of the decade), `share, overall` (at any age), `claimed`.
        The 20 largest conditions are drawn, and those claimed are marked.
    """
    every = table.pivot_table(index="condition", columns="decade", values="share", aggfunc="first")
    cells = 100 * every[every.index.isin(every.sum(axis=1).nlargest(_MOST_ROWS).index)]
    note = with_rest(caption, len(every) - len(cells), "smaller conditions")
    width = _width(cells.shape[1], names=2.6, cell=_CELL)
    figure = new_figure(title, note, height=0.32 * len(cells) + 1.0, width=width)
    ax = figure.subplots()
    shares = cells.to_numpy()
    of_condition = table.drop_duplicates("condition").set_index("condition").loc[cells.index]
    away = shares - 100 * of_condition[["overall"]].to_numpy()
    far = max(_FAR_SHARE, float(np.nanmax(np.abs(away))))
    look = {"colors": BELOW_ABOVE, "ends": (-far, far), "white_from": _DARK_RESIDUAL * far}
    drawn = _draw_cells(ax, away, ["" if math.isnan(share) else f"{share:.1f}" for share in shares.ravel()], **look)  # type: ignore[arg-type]
    add_colorbar(ax, drawn, "Less the share at any age (points)")
    n = table.drop_duplicates("decade").set_index("decade")["n"]
    decades = [f"{decade}–{decade + 9}\n{n[decade]:,}" for decade in map(int, cells.columns)]
    ax.set_xticks(range(len(decades)), decades)
    names = [
        f"{'► ' * row['claimed']}{wrap(name, 24, 1)} ({100 * row['overall']:.1f})"
        for name, row in of_condition.iterrows()
    ]
    ax.set_yticks(range(len(cells)), names)
    ax.set_xlabel("Age at admission (years), and admissions of that age")
    return figure


@chart
def residuals_by_group(table: pd.DataFrame, *, title: str, caption: str, group: str = "insurer") -> Figure:
    """Draw what share of each group's admissions has which level, shaded by its residual; stars mark discoveries.

    Parameters
    ----------
    table : DataFrame
        `outcome, level, share, residual, discovery`, and the group: one panel per outcome, up to 20 levels each, and up
        to 10 groups, those with the farthest residuals.
    group : str
        The column of groups.
    """
    groups = sorted(_farthest(table, group, _MOST_COLUMNS))
    note = with_rest(caption, table[group].nunique() - len(groups), f"{group.replace('_', ' ')}s closer to the rest")
    grids = {str(outcome): _grid(part, group, groups) for outcome, part in table.groupby("outcome", sort=False)}
    sizes, upright = [len(grid) for grid in grids.values()], len(groups) > _UPRIGHT["groups"]
    height = 0.42 * sum(sizes) + 0.42 * len(grids) + (1.9 if upright else 0.7)
    figure = new_figure(title, note, height=height, width=_width(len(groups), names=3.2, cell=1.05))
    panels = figure.subplots(len(grids), 1, squeeze=False, sharex=True, height_ratios=sizes).ravel()
    far = max(_FAR, float(table["residual"].abs().max()))
    look = {"colors": BELOW_ABOVE, "ends": (-far, far), "white_from": _DARK_RESIDUAL * far, "size": 8}
    for ax, (outcome, grid) in zip(panels, grids.items(), strict=True):
        drawn = _draw_cells(ax, grid["residual"].to_numpy(), _residuals(grid), **look)  # type: ignore[arg-type]
        ax.set_yticks(range(len(grid)), [wrap(level, 26, 1) for level in grid.index])
        ax.set_title(outcome.replace("_", " ").capitalize())
        if ax is panels[int(np.argmax(sizes))]:
            add_colorbar(ax, drawn, "Adjusted residual")
    names = [wrap(name, *((24, 2) if upright else (16, 3))) for name in groups]
    panels[-1].set_xticks(range(len(groups)), names, fontsize=8.5, rotation=90 if upright else 0)
    return figure


def _farthest(table: pd.DataFrame, column: str, most: int) -> pd.Index:
    return table["residual"].abs().groupby(table[column]).max().nlargest(most).index


def _grid(part: pd.DataFrame, group: str, groups: list[str]) -> pd.DataFrame:
    """Spread one outcome over levels x groups, for share, residual and discovery beside one another."""
    grid = part.pivot_table(index="level", columns=group, values=_LAYERS, aggfunc="first")
    order = pd.MultiIndex.from_product([_LAYERS, groups])
    return grid.reindex(columns=order)[grid.index.isin(_farthest(part, "level", _MOST_ROWS))].astype(float)


def _residuals(grid: pd.DataFrame) -> list[str]:
    cells = zip(*(grid[name].to_numpy().ravel() for name in _LAYERS), strict=True)
    return [
        f"{100 * share:.1f} %\n{round(residual, 1) + 0.0:+.1f}{' *' * bool(star)}".replace("-", "−")
        if math.isfinite(residual)
        else ""
        for residual, share, star in cells
    ]


def _draw_cells(
    ax: Axes,
    shades: NDArray[np.float64],
    texts: list[str],
    *,
    colors: Colormap,
    ends: tuple[float, float],
    white_from: float = math.inf,
    size: float = 9,
) -> AxesImage:
    """Shade the cells and write the text of each, row by row: bold if it ends in a star, white on a dark shade."""
    drawn = ax.imshow(shades, cmap=colors, vmin=ends[0], vmax=ends[1], aspect="auto")
    for ((row, column), shade), text in zip(np.ndenumerate(shades), texts, strict=True):
        color, weight = "white" if shade > white_from else INK, "bold" if text.endswith("*") else "normal"
        ax.text(column, row, text, ha="center", va="center", fontsize=size, color=color, fontweight=weight)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return drawn


def _width(columns: int, *, names: float, cell: float) -> float:
    return min(_WIDEST, max(5.6, names + cell * columns))
