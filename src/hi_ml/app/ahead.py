"""Work that goes on in threads while its results are waited for."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
S = TypeVar("S")


def prefetch(items: Iterable[T], make: Callable[[T], S], *, threads: int = 1) -> Generator[S]:
    """Make something of each item, in order, in so many threads ahead of the one that is used.

    What ``make`` raises is raised here. A thread that is no longer needed ends with its item, and nobody waits for it:
    Ctrl-C need not outlast a long chunk, as it would in a `concurrent.futures.ThreadPoolExecutor`.
    """
    ahead: deque[Future[S]] = deque()
    for item in items:
        if len(ahead) < threads:
            ahead.append(_begun(make, item))
            continue
        first = ahead.popleft().result()
        ahead.append(_begun(make, item))
        yield first
        del first  # it is large
    while ahead:
        yield ahead.popleft().result()


def _begun(make: Callable[[T], S], item: T) -> Future[S]:
    future: Future[S] = Future()

    def run() -> None:
        try:
            future.set_result(make(item))
        except BaseException as error:  # noqa: BLE001 -- it is raised again where the item is used
            future.set_exception(error)

    Thread(target=run, name="ahead", daemon=True).start()
    return future
