"""How every chart looks, what stands around it, and how it is saved with its table.

Series differ by lightness, line style and marker as well as by colour, so that a chart survives a grey printer and a
colour-blind reader. Figures are drawn without pyplot: they leave no global state and need no display.
"""

import os
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

WIDTH = 6.4  # inches: a text column of A4
DPI = 150
DARK, MIDDLE, LIGHT = "#004488", "#BB5566", "#DDAA33"  # Paul Tol's high-contrast set, made for grey printing
INK, MUTED, FAINT, BAND = "#222222", "#666666", "#BBBBBB", "#E4E4E4"
SERIES = (
    (DARK, "-", "o"),
    (LIGHT, "--", "s"),
    (MIDDLE, "-.", "^"),
    ("#222222", ":", "D"),
    ("#6699CC", (0, (5, 1)), "v"),
    ("#997700", (0, (3, 1, 1, 1, 1, 1)), "P"),
)
FILL = "#6699CC"  # bars that stand for one series
COUNTS = LinearSegmentedColormap.from_list("counts", ["#E6EEF7", "#8FB3DB", "#3E74B8"])
LOW_TO_HIGH = LinearSegmentedColormap.from_list("low_to_high", ["#EBCB6B", "#BB5566", "#1B2A6B"])

_RC = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same chart on every machine
    "font.size": 10,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.7,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # "$" in a unit or a category is a dollar
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9,
}
_TITLE_SIZE, _LEGEND_SIZE, _CAPTION_SIZE = 11.5, 10, 8
_LETTER = 0.55  # width of an average letter of DejaVu Sans, in font sizes, on the safe side
_LINE = 1.25  # height of a line, in font sizes
_POINTS = 72  # per inch
_MARGIN = 0.1  # inches


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house style; also works as a decorator."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcParams.update(mpl.rcParamsDefault)  # a user's own matplotlibrc does not change our charts
        mpl.rcParams.update(_RC)
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # drawn as a box; the table has the text
        yield


def caption(n: int, method: str, *, noun: str = "admissions") -> str:
    """Say how many rows a chart shows and how.

    >>> caption(11100, "95 % intervals over groups.")
    'n = 11,100 admissions. 95 % intervals over groups.'
    """
    return f"n = {n:,} {noun}. {method}".rstrip()


def new_figure(
    title: str, caption: str, *, height: float, width: float = WIDTH, legend_lines: int = 0
) -> Figure:
    """Return an empty figure with its title above and its caption below, both wrapped to the width.

    Parameters
    ----------
    title : str
        The finding or verdict, as a sentence.
    caption : str
        What is shown: n and method.
    height : float
        Inches for the drawing itself; title and caption add theirs.
    width : float
        Inches.
    legend_lines : int
        Lines to keep free for `add_legend`.
    """
    title_lines = _fill(title, width, _TITLE_SIZE)
    caption_lines = _fill(caption, width, _CAPTION_SIZE)
    head = (len(title_lines) * _TITLE_SIZE + legend_lines * _LEGEND_SIZE) * _LINE / _POINTS + 2 * _MARGIN
    foot = len(caption_lines) * _CAPTION_SIZE * _LINE / _POINTS + 2 * _MARGIN
    total = head + height + foot
    figure = Figure(figsize=(width, total), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    inside = (0.0, foot / total, 1.0, height / total)
    figure.get_layout_engine().set(rect=inside, w_pad=0.06, h_pad=0.04)  # type: ignore[union-attr]
    left = _MARGIN / width
    figure.suptitle("\n".join(title_lines), x=left, y=1 - _MARGIN / total, ha="left", va="top", fontsize=_TITLE_SIZE)
    foot_text = "\n".join(caption_lines)
    figure.text(left, _MARGIN / total, foot_text, va="bottom", fontsize=_CAPTION_SIZE, color=MUTED, gid="caption")
    return figure


def save(figure: Figure, table: pd.DataFrame, stem: Path | str) -> tuple[Path, Path]:
    """Write a chart and the table behind it.

    Parameters
    ----------
    figure : Figure
    table : DataFrame
        What the figure draws.
    stem : path
        Where to, without the ending; folders are made.

    Returns
    -------
    tuple of Path
        `<stem>.png` and `<stem>.csv`; both appear complete or not at all.
    """
    folder, name = Path(stem).parent, Path(stem).name
    folder.mkdir(parents=True, exist_ok=True)
    picture, data = folder / f"{name}.png", folder / f"{name}.csv"
    with house_style():
        figure.canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
        # print_png draws once, where savefig draws twice; level 1 trades a fifth more bytes for half the time
        figure.canvas.print_png(f"{picture}.part", pil_kwargs={"format": "png", "compress_level": 1})
    table.to_csv(f"{data}.part", index=False)
    os.replace(f"{picture}.part", picture)
    os.replace(f"{data}.part", data)
    return picture, data


def wrapped(text: object, width: int = 20, lines: int = 2) -> str:
    """Break a name into lines of at most `width` letters and end it in an ellipsis where it is longer.

    >>> print(wrapped("Smith, Jones and Sons General Hospital", 16))
    Smith, Jones and
    Sons General...
    """
    words = textwrap.wrap(readable(text), width)
    if len(words) > lines:
        words = [*words[: lines - 1], f"{words[lines - 1][: width - 1].rstrip()}\u2026"]
    return "\n".join(words)


def readable(name: object) -> str:
    """Return a category or column as words: never empty, without underscores at its start."""
    words = "missing" if name is None or name is pd.NA or name != name else str(name)  # noqa: PLR0124 (NaN)
    return words.strip().lstrip("_") or "(empty)"


def number(value: float) -> str:
    """Write a number with three digits that matter, or all before the point.

    >>> number(12345.6), number(0.03333), number(-0.0)
    ('12,346', '0.0333', '0')
    """
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004
    return (text if float(text.replace(",", "")) else "0").replace("-", "\u2212")


def plain_ticks(axes: Iterable[Axes], *, count: int = 5) -> None:
    """Give the number axes a few ticks, written out with thousands separators."""
    for one in axes:
        for axis in (one.xaxis, one.yaxis):
            axis.set_major_locator(MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace("-", "\u2212")))


def add_legend(figure: Figure, handles: Sequence[Artist], *, columns: int = 4) -> None:
    """Put a legend between title and drawing, where it covers nothing."""
    left, bottom, _, height = figure.get_layout_engine().get()["rect"]  # type: ignore[union-attr]
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(left, bottom + height),
        ncols=columns,
        borderaxespad=0,
        columnspacing=1.5,
    ).set_in_layout(False)


def add_colorbar(ax: Axes, drawn: ScalarMappable, label: str, *, ends: tuple[str, str] | None = None) -> None:
    """Put a colour bar right of the axes, as tall as they are; with `ends` it names its two ends only."""
    bar_ax = ax.inset_axes((1.03, 0, 0.03, 1))
    bar = ax.figure.colorbar(drawn, cax=bar_ax, label=label, format="{x:,.0f}")
    bar.ax.grid(visible=False)
    bar.ax.minorticks_off()
    if ends:
        bar.set_ticks(list(bar.mappable.get_clim()), labels=list(ends))  # type: ignore[arg-type]


def _fill(text: str, width: float, size: float) -> list[str]:
    letters = int((width - 2 * _MARGIN) * _POINTS / (size * _LETTER))
    lines = textwrap.wrap(text.replace(" %", "\u00a0%"), letters) or [""]  # no line begins with a lonely per cent
    return [line.replace("\u00a0", " ") for line in lines]
