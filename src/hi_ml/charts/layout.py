"""Where title, legend, panels and caption of a chart stand, so that none covers another."""

import textwrap
from collections.abc import Iterable, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hi_ml.charts.style import MUTED, wrapped

WIDTH = 6.4  # inches: a text column of A4
DPI = 150

_TITLE_SIZE, _LEGEND_SIZE, _CAPTION_SIZE = 11.5, 10, 8
_LETTER = 0.55  # width of an average letter of DejaVu Sans, in font sizes
_LINE = 1.25  # height of a line, in font sizes
_POINTS = 72  # per inch
_MARGIN = 0.1  # inches
_NAME_ROOM = 0.25  # inches for the name of an axis that panels share
_GRIDS = ((1, 1), (2, 2), (3, 3), (2, 4), (3, 9), (4, 16), (5, 10_000))  # columns for at most so many panels
_GRID_WIDTH = {4: 7.4, 5: 8.8}  # inches for so many columns, where they need more


def new_figure(
    title: str,
    caption: str,
    *,
    height: float,
    width: float = WIDTH,
    legend_lines: int = 0,
    shared_names: bool = False,
) -> Figure:
    """Return an empty figure with its title above and its caption below, both wrapped to the width.

    Parameters
    ----------
    title : str
        The finding or verdict, as a sentence.
    caption : str
        What is shown: n and method.
    height, width : float
        Inches for the drawing itself; title, legend and caption add to the height.
    legend_lines : int
        Lines to keep free for `add_legend`.
    shared_names : bool
        Whether to keep room for the names of axes that panels share, see `name_axes`.
    """
    title_lines, caption_lines = _fill(title, width, _TITLE_SIZE), _fill(caption, width, _CAPTION_SIZE)
    head = 2 * _MARGIN + (len(title_lines) * _TITLE_SIZE + legend_lines * _LEGEND_SIZE) * _LINE / _POINTS
    foot = 2 * _MARGIN + len(caption_lines) * _CAPTION_SIZE * _LINE / _POINTS
    total = head + height + foot
    x, y = (_NAME_ROOM / width, _NAME_ROOM / total) if shared_names else (0.0, 0.0)
    inside = (x, foot / total + y, 1 - x, height / total - y)
    engine = ConstrainedLayoutEngine(rect=inside, w_pad=0.06, h_pad=0.04)
    figure = Figure(figsize=(width, total), dpi=DPI, layout=engine, facecolor="white")
    left = _MARGIN / width
    heading = figure.suptitle("\n".join(title_lines), x=left, y=1 - _MARGIN / total, ha="left", fontsize=_TITLE_SIZE)
    heading.set_in_layout(False)  # its room is already kept
    text = "\n".join(caption_lines)
    figure.text(left, _MARGIN / total, text, va="bottom", fontsize=_CAPTION_SIZE, color=MUTED, gid="caption")
    return figure


def panel_grid(title: str, caption: str, count: int, *, legend_lines: int = 0) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` square panels that share their axes, and the panels row by row."""
    columns = next(columns for columns, most in _GRIDS if count <= most)
    rows = -(-count // columns)
    width = _GRID_WIDTH.get(columns, WIDTH)
    height = 3.4 if count == 1 else rows * ((width - 0.9) / columns + 0.45) + 0.35
    figure = new_figure(title, caption, height=height, width=width, legend_lines=legend_lines, shared_names=count > 1)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for position, ax in enumerate(grid):
        ax.set_box_aspect(1)
        ax.set_visible(position < count)
        ax.tick_params(labelbottom=position + columns >= count)  # the lowest of its column, above an empty place too
    return figure, list(grid[:count])


def name_axes(figure: Figure, panels: Sequence[Axes], names: Sequence[str]) -> None:
    """Name the x and the y axis once: on the panel if it is the only one, else on the figure."""
    if len(panels) == 1:
        panels[0].set(xlabel=names[0], ylabel=names[1])
        return
    left, bottom, width, height = _drawing(figure)
    under = bottom - _NAME_ROOM / figure.get_figheight()
    figure.supxlabel(names[0], x=left + width / 2, y=under, va="bottom", fontsize=10).set_in_layout(False)
    figure.supylabel(names[1], x=left, y=bottom + height / 2, ha="right", fontsize=10).set_in_layout(False)


def name_panel(ax: Axes, name: object, *more: str) -> None:
    """Name a panel of a grid as far as its width allows; more lines follow as they are."""
    place = ax.get_subplotspec()
    columns = place.get_gridspec().ncols if place else 1
    letters = int(ax.figure.bbox.width / DPI / columns * _POINTS / (9 * _LETTER)) - 4
    ax.set_title("\n".join([wrapped(name, letters), *more]), fontsize=9)


def plain_ticks(panels: Iterable[Axes], *, count: int = 6) -> None:
    """Give both axes a few ticks, written out with thousands separators."""
    for ax in panels:
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace("-", "−")))


def add_legend(figure: Figure, handles: Sequence[Artist | Container]) -> None:
    """Put a legend in one line between title and drawing, where it covers nothing."""
    _, bottom, _, height = _drawing(figure)
    corner = (_MARGIN / figure.get_figwidth(), bottom + height)
    legend = figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=corner,
        ncols=len(handles),
        borderaxespad=0,
        columnspacing=1.5,
    )
    legend.set_in_layout(False)


def add_colorbar(ax: Axes, drawn: ScalarMappable, label: str, *, ends: tuple[str, str] | None = None) -> None:
    """Put a colour bar right of the axes, as tall as they are; with `ends` it names its two ends only."""
    bar = ax.figure.colorbar(drawn, cax=ax.inset_axes((1.03, 0, 0.03, 1)), label=label, format="{x:,.0f}")
    bar.ax.grid(visible=False)
    bar.ax.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
    bar.ax.minorticks_off()
    if ends:
        bar.set_ticks(list(drawn.get_clim()), labels=list(ends))
        bar.set_label(label, labelpad=-12)


def _drawing(figure: Figure) -> tuple[float, float, float, float]:
    """Return left, bottom, width and height of what lies between legend and caption, as shares of the figure."""
    engine = figure.get_layout_engine()
    left, bottom, width, height = engine.get()["rect"] if engine else (0, 0, 1, 1)
    return left, bottom, width, height


def _fill(text: str, width: float, size: float) -> list[str]:
    letters = int((width - 2 * _MARGIN) * _POINTS / (size * _LETTER))
    lines = textwrap.wrap(text.replace(" %", "\u00a0%"), letters) or [""]  # no line begins with a lonely per cent
    return [line.replace("\u00a0", " ") for line in lines]
