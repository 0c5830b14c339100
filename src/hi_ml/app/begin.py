"""What has to stand before a command imports anything large; importing hi_ml in another program does none of it."""

import os
import signal
from types import FrameType


def begin() -> None:
    """Choose the memory of Arrow, and let Ctrl-C and SIGTERM end the seconds of imports without a traceback."""
    # before pyarrow is imported: its usual pool keeps what was freed, 60 MB more at millions of rows
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    os.write(2, b"\nInterrupted. Nothing was begun.\n")
    os._exit(128 + number)
