"""What has to stand before a command imports anything large; importing hi_ml in another program does none of it."""

import gc
import os
import signal
import sys
from types import FrameType

_BEFORE_IMPORTS = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # its usual one keeps what was freed, 60 MB more at millions of rows
    # no thread before the first one that is wanted: a process of one thread may be forked (`hi_ml.app.process`)
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "OPENBLAS_NUM_THREADS": "1",
}


def begin() -> None:
    """Choose memory and threads, collect no garbage and let Ctrl-C and SIGTERM end the imports without a traceback."""
    gc.disable()  # until `imported`: nothing of it is garbage, and looking for some takes a tenth of the seconds
    for name, value in _BEFORE_IMPORTS.items():
        os.environ.setdefault(name, value)
    _open_what_is_closed()
    for number in stops():
        signal.signal(number, _leave)


def stops() -> list[signal.Signals]:
    """List what ends a command: Ctrl-C, what a scheduler sends, the end of a terminal, unless that is ignored."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as `nohup` asks for
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


def _open_what_is_closed() -> None:
    """Let nobody who opens a file get the number of a screen that was closed, and write to no screen into nothing."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def imported() -> None:
    """Collect garbage again, but not from what was imported since `begin`."""
    if not gc.isenabled():
        gc.freeze()
        gc.set_threshold(10_000)  # of the few hundred objects that are usual next to none is garbage
        gc.enable()


def _leave(number: int, _frame: FrameType | None) -> None:
    os.write(2, b"\nInterrupted. Nothing was begun.\n")
    os._exit(128 + number)
