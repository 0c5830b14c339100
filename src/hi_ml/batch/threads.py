"""Things are made of items in other threads, ahead of their use, and come in order."""

from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Full, Queue
from threading import Event, Lock, Thread
from typing import Any, Generic, TypeVar

T = TypeVar("T")
S = TypeVar("S")
_PATIENCE = 0.1  # seconds after which a thread looks whether it is still needed
_END: Any = object()


def ahead(items: Generator[T], make: Callable[[T], S], *, threads: int = 1) -> Generator[S]:
    """Make something of each item in so many threads; as many are made ahead of the one that is used.

    What is raised by an item, or by making something of it, is raised here. Close the iterator to end the threads
    early: each ends with the item that it is at, and nobody waits for it.

    Parameters
    ----------
    items : generator
        Asked for the next item by one thread at a time, and closed in the end.
    make : callable
        Called in several threads at once.
    threads : int, optional
    """
    line = _Line(items, make, Queue(maxsize=threads))
    for _ in range(threads):
        Thread(target=line.work, name="ahead", daemon=True).start()  # so that Ctrl-C need not wait for a long chunk
    try:
        while (made := line.places.get().result()) is not _END:
            yield made
            del made
    finally:
        line.over.set()


@dataclass(frozen=True)
class _Line(Generic[T, S]):
    """What several threads work off; each takes a place in the line before an item, so that items keep their order."""

    items: Generator[T]
    make: Callable[[T], S]
    places: Queue[Future[Any]]
    turn: Lock = field(default_factory=Lock)
    over: Event = field(default_factory=Event)

    def work(self) -> None:
        while not self.over.is_set():
            self._one()
        with self.turn:
            self.items.close()

    def _one(self) -> None:
        place: Future[Any] = Future()
        try:
            with self.turn:
                if not self._lined_up(place):
                    return
                item: Any = next(self.items, _END)
            if item is _END:
                self.over.set()
            place.set_result(_END if item is _END else self.make(item))
        except BaseException as error:  # noqa: BLE001 -- it is raised again where the item is used
            self.over.set()
            place.set_exception(error)

    def _lined_up(self, place: Future[Any]) -> bool:
        while not self.over.is_set():
            try:
                self.places.put(place, timeout=_PATIENCE)
            except Full:
                continue
            return True
        return False
