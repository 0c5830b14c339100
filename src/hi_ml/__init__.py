"""Honest machine learning on hospital admissions."""

import os
import signal
import sys
from types import FrameType

# Before anything imports pyarrow: its usual pool keeps what was freed, 60 MB more at millions of rows.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def _leave(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"\nInterrupted. Nothing was begun.\n")
    os._exit(130)


if sys.argv[:1] == ["-m"]:  # python -m hi_ml.<command>, which now imports for seconds: Ctrl-C needs no traceback
    signal.signal(signal.SIGINT, _leave)
