"""How long did each step take, in whichever thread it ran?"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Clock:
    """Seconds by step; a step runs in one thread.

    Attributes
    ----------
    seconds : dict of str to float
    """

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Add the time of a step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - started

    def during(self, step: str, items: Iterable[T]) -> Iterator[T]:
        """Pass items on, and add the time that making them took."""
        maker = iter(items)
        while True:
            with self.of(step):
                item = next(maker, None)
            if item is None:
                return
            yield item
