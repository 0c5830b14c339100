"""Where title, legend, panels and caption of a chart stand, so that none covers another.

matplotlib's own layout engines know nothing of a caption and measure every text twice. Here title and caption keep the
room of their lines, and `chart` measures once what stands around the panels.
"""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import ParamSpec

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from hi_ml.reports.charts.style import MUTED, house_style, wrap
from hi_ml.reports.drawing import DPI

WIDTH = 6.4  # inches: a text column of A4
WIDE = 7.2  # inches: for what has names left of its panels and numbers or a key right of them

_TITLE_SIZE, _SUBTITLE_SIZE, _LEGEND_SIZE, _CAPTION_SIZE = 11.5, 9, 10, 8
_LETTER = 0.55  # width of an average letter of DejaVu Sans, in font sizes
_LINE = 1.25  # height of a line, in font sizes
_POINTS = 72  # per inch
_MARGIN = 0.1  # inches
_GAP = 0.03  # inches between title and subtitle
_NAME_ROOM = 0.25  # inches for the name of an axis that panels share
_GRIDS = ((1, 1), (2, 2), (3, 3), (2, 4), (3, 9), (4, 16), (5, 10_000))  # columns for at most so many panels
_GRID_WIDTH = {4: 7.4, 5: 8.8}  # inches for so many columns, where they need more
_SEPARATED_FROM = 10_000
_PAD = 0.07  # inches around what stands outside a panel
_LEAST = 0.2  # share of the drawing that is left to the panels, whatever stands around them

Floats = NDArray[np.float64]
P = ParamSpec("P")


def chart(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the house style, then make room for what stands around the panels of the figure.

    Every chart takes the table that it draws, a `title`, which says what it shows, on further lines what was found, and
    a `caption`: n and the method, with the level of the intervals. Its panels are one grid, made by `subplots`.
    """

    @wraps(draw)
    def draw_and_fit(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with house_style():
            figure = draw(*args, **kwargs)
            _fit(figure)
        return figure

    return draw_and_fit


def new_figure(title: str, caption: str, *, height: float, width: float = WIDTH, legend: bool = False) -> Figure:
    """Return an empty figure with its title above and its caption below, both wrapped to the width.

    To be called, and filled with `subplots`, in a function decorated by `chart`. What follows the first line of the
    title is a subtitle, in smaller letters.

    Parameters
    ----------
    height, width : float
        Inches for the drawing itself; title, legend and caption add to the height.
    legend : bool
        Whether to keep a line free for `add_legend`.
    """
    shows, _, says = title.partition("\n")
    title_lines, caption_lines = _fill(shows, width, _TITLE_SIZE), _fill(caption, width, _CAPTION_SIZE)
    subtitle_lines = _fill(says, width, _SUBTITLE_SIZE) if says else []
    above = len(title_lines) * _TITLE_SIZE * _LINE / _POINTS
    below_title = (len(subtitle_lines) * _SUBTITLE_SIZE + legend * _LEGEND_SIZE) * _LINE / _POINTS
    head = 2 * _MARGIN + above + below_title + _GAP * bool(says)
    foot = 2 * _MARGIN + len(caption_lines) * _CAPTION_SIZE * _LINE / _POINTS
    total = head + height + foot
    figure = Figure(figsize=(width, total), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0, right=1, bottom=foot / total, top=(foot + height) / total)
    left, below = _MARGIN / width, _MARGIN / total
    figure.suptitle("\n".join(title_lines), x=left, y=1 - below, ha="left", fontsize=_TITLE_SIZE)
    if says:
        top = 1 - (_MARGIN + above + _GAP) / total
        figure.text(left, top, "\n".join(subtitle_lines), fontsize=_SUBTITLE_SIZE, color=MUTED, va="top")
    foot_text = figure.text(left, below, "\n".join(caption_lines), fontsize=_CAPTION_SIZE, color=MUTED)
    foot_text.set(verticalalignment="bottom", gid="caption")
    return figure


def panel_grid(
    title: str, caption: str, count: int, *, names: tuple[str, str], legend: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` square panels that share their axes, and the panels row by row.

    Parameters
    ----------
    names : tuple of str
        Of the x and the y axis: on the panel if it is the only one, else once on the figure.
    """
    columns = next(columns for columns, most in _GRIDS if count <= most)
    rows = -(-count // columns)
    width = _GRID_WIDTH.get(columns, WIDTH)
    height = 3.4 if count == 1 else rows * ((width - 0.9) / columns + 0.45) + 0.35
    figure = new_figure(title, caption, height=height, width=width, legend=legend)
    if count > 1:
        _name_shared_axes(figure, *names)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for position, ax in enumerate(grid):
        ax.set_box_aspect(1)
        ax.set_visible(position < count)
        ax.tick_params(labelbottom=position + columns >= count)  # the lowest of its column, above an empty one too
    if count == 1:
        grid[0].set(xlabel=names[0], ylabel=names[1])
    return figure, list(grid[:count])


def _name_shared_axes(figure: Figure, across: str, up: str) -> None:
    """Write names left of and below the drawing, and take their room from it."""
    under = figure.subplotpars.bottom
    left, bottom = _NAME_ROOM / figure.get_figwidth(), under + _NAME_ROOM / figure.get_figheight()
    figure.subplots_adjust(left=left, bottom=bottom)
    figure.supxlabel(across, x=(left + 1) / 2, y=under, va="bottom", fontsize=10)
    figure.supylabel(up, x=left, y=(bottom + figure.subplotpars.top) / 2, ha="right", fontsize=10)


def name_panel(ax: Axes, name: object, *more: str) -> None:
    """Name a panel of a grid as far as its width allows; more lines follow as they are."""
    cell = ax.get_subplotspec()
    columns = cell.get_gridspec().ncols if cell else 1
    letters = int(ax.figure.bbox.width / DPI / columns * _POINTS / (9 * _LETTER)) - 4
    ax.set_title("\n".join([wrap(name, letters), *more]), fontsize=9)


def plain_ticks(panels: Iterable[Axes], *, count: int = 6) -> None:
    """Give both axes a few ticks, written out; long numbers with thousands separators, years without."""
    for ax in panels:
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(FuncFormatter(_tick))


def name_lines(ax: Axes, names: Sequence[str], *, size: float = 9) -> None:
    """Name the lines of a panel: the first at the top at height 0, the next at -1, and so on."""
    ax.set_yticks(-np.arange(len(names)), names, fontsize=size)
    ax.set_ylim(0.4 - len(names), 0.6)
    ax.tick_params(axis="y", left=False)
    ax.grid(visible=False, axis="y")


def _tick(value: float, _: int | None) -> str:
    text = f"{value:,.10g}" if abs(value) >= _SEPARATED_FROM else f"{value:.10g}"
    return text.replace("-", "−")


def add_legend(figure: Figure, handles: Sequence[Artist | Container]) -> None:
    """Put a legend in one line between title and drawing, where it covers nothing."""
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(_MARGIN / figure.get_figwidth(), figure.subplotpars.top),
        ncols=len(handles),
        borderaxespad=0,
        columnspacing=1.5,
    )


def add_colorbar(ax: Axes, drawn: ScalarMappable, label: str, *, ends: tuple[str, str] | None = None) -> None:
    """Put a colour bar right of the axes, as tall as they are; with `ends` it names its two ends only."""
    bar = ax.figure.colorbar(drawn, cax=ax.inset_axes((1.03, 0, 0.03, 1)), label=label, format="{x:,.0f}")
    bar.ax.grid(visible=False)
    bar.ax.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
    bar.ax.minorticks_off()
    if ends:
        bar.set_ticks(list(drawn.get_clim()), labels=list(ends))
        bar.set_label(label, labelpad=-12)


def _fit(figure: Figure) -> None:
    """Shrink the panels inside the drawing by what stands around them: names, ticks, legends, colour bars."""
    panels = [(ax, cell) for ax in figure.axes if ax.get_visible() and (cell := ax.get_subplotspec())]
    grid = panels[0][1].get_gridspec()
    around = np.zeros((4, grid.nrows, grid.ncols))
    for ax, cell in panels:
        outer, inner = ax.get_tightbbox(for_layout_only=True) or ax.bbox, ax.bbox
        beyond = inner.x0 - outer.x0, outer.x1 - inner.x1, inner.y0 - outer.y0, outer.y1 - inner.y1
        around[:, cell.rowspan.start, cell.colspan.start] = np.array(beyond) / DPI + _PAD
    left, right, below, above = around
    inside, (width, height) = figure.subplotpars, figure.get_size_inches()
    x0, x1, wspace = _share_out(inside.left * width, inside.right * width, left, right)
    # rows are counted from above
    y0, y1, hspace = _share_out(inside.bottom * height, inside.top * height, below[::-1].T, above[::-1].T)
    figure.subplots_adjust(x0 / width, y0 / height, x1 / width, y1 / height, wspace, hspace)


def _share_out(start: float, end: float, before: Floats, after: Floats) -> tuple[float, float, float]:
    """Return where the panels of a line start and end, and the gaps between them as a share of a panel."""
    count = before.shape[1]
    first, last = before[:, 0].max(), after[:, -1].max()
    gap = (after[:, :-1].max(axis=0) + before[:, 1:].max(axis=0)).max() if count > 1 else 0.0
    room = (1 - _LEAST) * (end - start)
    scale = min(1.0, room / (first + last + gap * (count - 1)))
    panel = (end - start - scale * (first + last + gap * (count - 1))) / count
    return start + scale * first, end - scale * last, scale * gap / panel


def _fill(text: str, width: float, size: float) -> list[str]:
    letters = int((width - 2 * _MARGIN) * _POINTS / (size * _LETTER))
    # no line begins with a lonely per cent
    lines = textwrap.wrap(text.replace(" %", "\u00a0%"), letters, break_on_hyphens=False) or [""]
    return [line.replace("\u00a0", " ") for line in lines]
