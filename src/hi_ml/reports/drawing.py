"""Charts that are drawn by a process of their own, while this one fits the next model, or here where none is left."""

import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from hi_ml.app.files import atomic
from hi_ml.tracking.folder import write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150  # dots per inch of every chart


class Drawing(NamedTuple):
    """A chart that is yet to be drawn."""

    function: str  # its module and name below `hi_ml.reports.charts`
    table: pd.DataFrame  # that the function takes
    words: dict[str, Any]  # and its other arguments

    def draw(self) -> "Figure":
        """Draw it here and now."""
        module, _, name = self.function.partition(".")
        figure: Figure = getattr(import_module(f"hi_ml.reports.charts.{module}"), name)(self.table, **self.words)
        return figure


class Picture(NamedTuple):
    """A chart as the content of a file."""

    png: bytes
    seconds: float  # that it took


def draw(drawing: Drawing) -> Picture:
    """Draw, and take the time."""
    from hi_ml.reports.charts.style import png  # noqa: PLC0415 -- matplotlib, which whoever asks does without

    started = time.perf_counter()
    try:
        return Picture(png(drawing.draw()), time.perf_counter() - started)
    except Exception as error:
        error.add_note(f"{drawing.function} could not be drawn")
        raise


def write(picture: bytes, table: pd.DataFrame, stem: Path | str) -> tuple[Path, Path]:
    """Write a drawn chart and the table behind it.

    Parameters
    ----------
    stem : path
        Where to, without the ending; folders are made.

    Returns
    -------
    tuple of Path
        `<stem>.png` and `<stem>.csv`; each appears complete or not at all.
    """
    place, data = Path(f"{stem}.png"), Path(f"{stem}.csv")
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic(place) as picture_part, atomic(data) as data_part:
        picture_part.write_bytes(picture)
        write_table(data_part, table)
    return place, data


def save(figure: "Figure", table: pd.DataFrame, stem: Path | str) -> tuple[Path, Path]:
    """Write a chart and the table behind it.

    Parameters
    ----------
    table : DataFrame
        What the figure draws.
    stem : path
        Where to, without the ending; folders are made.

    Returns
    -------
    tuple of Path
        As `write`.
    """
    from hi_ml.reports.charts.style import png  # noqa: PLC0415 -- as above

    return write(png(figure), table, stem)


def caption(n: int, method: str, *, noun: str = "admissions") -> str:
    """Say how many rows a chart shows, and how.

    >>> caption(11100, "Bars: 95 % intervals over groups.")
    'n = 11,100 admissions. Bars: 95 % intervals over groups.'
    """
    return f"n = {n:,} {noun}. {method}".rstrip()
