"""How every chart looks, how it writes names and numbers, and how it is saved with its table.

Series differ by lightness, line style and marker as well as by colour, so that a chart survives a grey printer and a
colour-blind reader. Figures are drawn without pyplot: they leave no global state and need no display.
"""

import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

INK, MUTED, BAND = "#222222", "#666666", "#D2D2D2"  # text and lines; what stands behind; a zone
DARK, MIDDLE, LIGHT = "#004488", "#BB5566", "#DDAA33"  # Paul Tol's high-contrast set, made to differ in grey
FILL = "#6699CC"  # bars that stand for one series
NEUTRAL = "#8C8C8C"  # points without an order
SERIES = ((DARK, "-", "o"), (LIGHT, "--", "s"), (MIDDLE, "-.", "^"), (INK, ":", "D"))  # colour, line, marker
DOTS = (0, (1, 2))  # the line of chance
COUNTS = LinearSegmentedColormap.from_list("counts", ["#E6EEF7", "#8FB3DB", "#3E74B8"])  # black stays legible on it
LOW_TO_HIGH = LinearSegmentedColormap.from_list("low_to_high", ["#EBCB6B", MIDDLE, "#1B2A6B"])

_FONT = "DejaVu Sans"  # ships with matplotlib: the same chart on every machine
_FURTHER = (  # for letters that it lacks, those of them that a machine has
    "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Telugu", "Noto Sans Thai", "Nirmala UI",
    "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Micro Hei", "Microsoft YaHei", "Malgun Gothic",
    "Arial Unicode MS",
)  # fmt: skip
_RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "font.size": 10,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.7,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.color": INK,
    "text.hinting": "no_hinting",  # evener spacing, a tenth less time
    "text.parse_math": False,  # "$" in a unit or a category is a dollar
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house style; also works as a decorator."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # a user's own matplotlibrc does not change our charts
        mpl.rcParams.update(_RC | {"font.family": _fonts()})
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # drawn as a box; the table has the text
        yield


@cache
def _fonts() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [_FONT, *(name for name in _FURTHER if name in installed)]


def with_rest(caption: str, count: int, words: str) -> str:
    """Say at the end of a caption how many of what are too many to be drawn.

    >>> with_rest("n = 5 admissions.", 3, "smaller groups")
    'n = 5 admissions. 3 smaller groups are in the table.'
    """
    return f"{caption} {count} {words} are in the table." if count else caption


def png(figure: Figure) -> bytes:
    """Draw a chart as the content of a file."""
    file = BytesIO()
    picture(figure).save(file, "png", dpi=(figure.dpi, figure.dpi))
    return file.getvalue()


def picture(figure: Figure) -> Image.Image:
    """Draw a chart in 256 colours, which take a quarter of the bytes, and less time, than all of them."""
    canvas: Any = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    with house_style():
        canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return drawn.quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def wrap(text: object, width: int = 20, lines: int = 2) -> str:
    """Break a name into lines of at most `width` letters, and end it in an ellipsis where it is longer.

    >>> print(wrap("Smith, Jones and Sons General Hospital", 16))
    Smith, Jones and
    Sons General…
    """
    parts = textwrap.wrap(_words(text), width)
    if len(parts) > lines:
        last = textwrap.wrap(" ".join(parts[lines - 1 :]), max(1, width - 1))[0]
        parts = [*parts[: lines - 1], last.rstrip(" ,;:.-") + "…"]
    return "\n".join(parts)


def _words(name: object) -> str:
    if name is None or name is pd.NA or name != name:  # noqa: PLR0124 (a missing number differs from itself)
        return "missing"
    return str(name).strip() or "(empty)"
