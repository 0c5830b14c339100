"""What has to stand before a command imports anything large; importing hi_ml in another program does none of it."""

import ctypes
import os
import signal
from contextlib import suppress
from types import FrameType

_M_ARENA_MAX = -8  # of the GNU C library's malloc.h


def begin() -> None:
    """Choose where memory comes from, and let Ctrl-C and SIGTERM end the seconds of imports without a traceback."""
    with suppress(OSError, AttributeError, TypeError):  # another C library, or Windows, has no such choice
        # before any thread starts: each would take its memory from a heap of its own, and keep there what it freed
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    # before pyarrow is imported: its usual pool keeps what was freed, 60 MB more at millions of rows
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    os.write(2, b"\nInterrupted. Nothing was begun.\n")
    os._exit(128 + number)
