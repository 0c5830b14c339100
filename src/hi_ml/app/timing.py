"""How long did each step take?"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def stopwatch(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Add the time of a step to ``seconds``, in which one thread at a time writes."""
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - started


def round_seconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """Round to milliseconds, for a file."""
    return {step: round(value, 3) for step, value in seconds.items()}
