"""What has to stand before a command imports anything large; importing hi_ml in another program does none of it."""

import gc
import os
import signal
from types import FrameType


def begin() -> None:
    """Choose the memory of Arrow, collect no garbage and let Ctrl-C and SIGTERM end the imports without a traceback."""
    gc.disable()  # until `imported`: nothing of it is garbage, and looking for some takes a tenth of the seconds
    # before pyarrow is imported: its usual pool keeps what was freed, 60 MB more at millions of rows
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)


def imported() -> None:
    """Collect garbage again, but not from what was imported since `begin`."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _leave(number: int, _frame: FrameType | None) -> None:
    os.write(2, b"\nInterrupted. Nothing was begun.\n")
    os._exit(128 + number)
