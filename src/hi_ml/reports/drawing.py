"""Charts that are drawn by a process of their own, while this one fits the next model, or here where none is left."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from hi_ml.app.files import atomic
from hi_ml.app.process import another_process, answer_to, settle
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


Draw = Callable[[Drawing], Future[Picture]]


@contextmanager
def drawing_process() -> Iterator[Draw]:
    """Start the process that draws, and end it; it knows no learner.

    Yields
    ------
    function
        Takes a `Drawing` and returns at once; its `Future` raises what went wrong there.
    """
    with another_process("draws charts") as ask:
        yield partial(ask, drawn)


@contextmanager
def drawing_here() -> Iterator[Draw]:
    """Draw in this process, for where nothing else is left to do meanwhile; used as `drawing_process` is."""

    def draw(drawing: Drawing) -> Future[Picture]:
        future: Future[Picture] = Future()
        settle(future, answer_to(drawn, drawing))
        return future

    yield draw


def drawn(drawing: Drawing) -> Picture:
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


def caption(n: int, method: str, *, noun: str = "admissions") -> str:
    """Say how many rows a chart shows, and how.

    >>> caption(11100, "Bars: 95 % intervals over groups.")
    'n = 11,100 admissions. Bars: 95 % intervals over groups.'
    """
    return f"n = {n:,} {noun}. {method}".rstrip()
