"""One item is made while another is used."""

from collections.abc import Generator, Iterable
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

T = TypeVar("T")
_PATIENCE = 0.1  # seconds after which a thread looks whether it is still needed
_END = object()


def ahead(items: Iterable[T]) -> Generator[T]:
    """Make the next items in a thread of their own, at most two ahead of the one that is used.

    What making them raises is raised here. Close the iterator to end the thread early; it ends with its item.

    Parameters
    ----------
    items : iterable
    """
    box: Queue[Any] = Queue(maxsize=1)
    ended = Event()

    def put(thing: Any) -> bool:
        while not ended.is_set():
            try:
                box.put(thing, timeout=_PATIENCE)
            except Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            if all(put((item, None)) for item in items):
                put((_END, None))
        except BaseException as error:  # noqa: BLE001 -- it is raised again where the items are used
            put((_END, error))
        finally:
            getattr(items, "close", lambda: None)()

    thread = Thread(target=work, name="ahead", daemon=True)  # so that Ctrl-C need not wait for a long chunk
    thread.start()
    try:
        while True:
            item, error = box.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
            del item
    finally:
        ended.set()
