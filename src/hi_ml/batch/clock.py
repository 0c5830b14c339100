"""How long did each step take, in whichever thread it ran?"""

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Clock:
    """Seconds by step, of all threads together.

    Attributes
    ----------
    seconds : dict of str to float
    """

    seconds: dict[str, float] = field(default_factory=dict)
    _turn: Lock = field(default_factory=Lock)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Add the time of a step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - started
            with self._turn:
                self.seconds[step] = self.seconds.get(step, 0.0) + taken

    def during(self, step: str, items: Iterable[T]) -> Generator[T]:
        """Pass items on, and add the time that making them took."""
        maker = iter(items)
        while True:
            with self.of(step):
                item = next(maker, None)
            if item is None:
                return
            yield item
