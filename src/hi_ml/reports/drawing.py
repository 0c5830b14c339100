"""Charts that are drawn by a process of their own, while this one fits the next model, or here where none is left.

That process draws and does nothing else: it knows no learner, and no thread of one. It is started anew, not forked off.
"""

import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from hi_ml.app.files import atomic
from hi_ml.tracking.folder import write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150  # dots per inch of every chart
_STOPS = (signal.SIGINT, signal.SIGTERM)


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
    """Start the process that draws, and end it whatever happens; if this one is killed, it ends by itself.

    Yields
    ------
    function
        Takes a `Drawing` and returns at once; its `Future` raises what went wrong there.
    """
    asked: SimpleQueue[tuple[Drawing, Future[Picture]] | None] = SimpleQueue()
    ours, theirs = Pipe()
    code = f"from hi_ml.reports.drawing import serve; serve({theirs.fileno()})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)  # as it stays in the process that is started
    process = subprocess.Popen(  # noqa: S603 -- this Python, and words of our own
        [sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment
    )
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    thread = Thread(target=_ask, args=(asked, ours, process), name="drawing", daemon=True)
    thread.start()

    def draw(drawing: Drawing) -> Future[Picture]:
        future: Future[Picture] = Future()
        asked.put((drawing, future))
        return future

    try:
        yield draw
    finally:
        asked.put(None)
        process.kill()  # what is still being drawn is of no use any more
        process.wait()
        thread.join()
        ours.close()


@contextmanager
def drawing_here() -> Iterator[Draw]:
    """Draw in this process, for where nothing else is left to do meanwhile; used as `drawing_process` is."""

    def draw(drawing: Drawing) -> Future[Picture]:
        future: Future[Picture] = Future()
        _settle(future, _drawn(drawing))
        return future

    yield draw


def _ask(
    asked: "SimpleQueue[tuple[Drawing, Future[Picture]] | None]",
    process_at: Connection,
    process: subprocess.Popen[bytes],
) -> None:
    """Hand over one drawing after the other."""
    while (one := asked.get()) is not None:
        drawing, future = one
        try:
            process_at.send(drawing)
            answer = process_at.recv()
        except (OSError, EOFError):  # killed, most likely since memory was short
            answer = MemoryError(f"the process that draws charts ended with {process.wait()}")
        except Exception as error:  # noqa: BLE001 -- it is raised again where the chart is waited for
            answer = error
        _settle(future, answer)


def _settle(future: Future[Picture], answer: Picture | Exception) -> None:
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def serve(descriptor: int) -> None:
    """Draw what comes in, until whoever asks for it has ended, however it did."""
    with suppress(EOFError, OSError, pickle.UnpicklingError), Connection(descriptor) as asking:
        while True:
            asking.send(_drawn(asking.recv()))


def _drawn(drawing: Drawing) -> Picture | Exception:
    from hi_ml.reports.charts.style import png  # noqa: PLC0415 -- matplotlib, which whoever asks does without

    started = time.perf_counter()
    try:
        return Picture(png(drawing.draw()), time.perf_counter() - started)
    except MemoryError as error:
        return error
    except Exception:  # noqa: BLE001 -- it is raised again where the chart is waited for
        return RuntimeError(f"{drawing.function} could not be drawn\n{traceback.format_exc()}")


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
