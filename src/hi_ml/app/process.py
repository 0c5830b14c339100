"""Another process that computes what this one asks for, one thing after the other, while this one goes on.

It is started anew, not forked off: a learner's threads do not survive a fork. In a thread instead, each would wait for
the other's Python, and what one does to warnings would last for both. Where nothing is left to do meanwhile, this
process does it itself.
"""

import gc
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Protocol

from hi_ml.app.begin import imported
from hi_ml.app.errors import HiMlError


class Pending(Protocol):
    """What was asked for, once it is there."""

    def result(self) -> Any:
        """Wait for it and return it, or raise what went wrong."""


Ask = Callable[..., Pending]  # takes a function of a module and its arguments, which are pickled
_STOPS = (signal.SIGINT, signal.SIGTERM)
_GIVE_UP = signal.SIGUSR1  # what it is told that is still at work when nobody waits for it any more
_SECONDS = 3.0  # that it then has


@contextmanager
def this_process(*_: Any, **__: Any) -> Iterator[Ask]:
    """Compute what is asked for here, when it is waited for; used as `another_process` is."""
    yield lambda *call: _Later(call)


@dataclass
class _Later:
    call: tuple[Any, ...]

    def result(self) -> Any:
        return self._answer

    @cached_property
    def _answer(self) -> Any:
        function, *arguments = self.call
        return function(*arguments)


@contextmanager
def another_process(does: str, *, imports: Sequence[str] = ()) -> Iterator[Ask]:
    """Start the process when it is first asked, and end it whatever happens; if this one is killed, it ends by itself.

    It knows what it is given, and neither the command line of this process nor what `hi_ml.app.references` holds here.
    What is at work at the end hears a `KeyboardInterrupt`, and has some seconds to leave things as they should be.

    Parameters
    ----------
    does : str
        What it is for, should it end early.
    imports : sequence of str
        Modules that it will need: it is started at once, and imports them while nothing is asked yet.

    Yields
    ------
    function
        Takes what to call there, and returns at once; its `Future` raises what went wrong.
    """
    asked: SimpleQueue[tuple[tuple[Any, ...], Future[Any]] | None] = SimpleQueue()
    other = _Other(does)

    def hand_over() -> None:
        while (one := asked.get()) is not None:
            call, future = one
            answer = other.answer(call)
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def ask(*call: Any) -> Future[Any]:
        future: Future[Any] = Future()
        asked.put((call, future))
        return future

    thread = Thread(target=hand_over, name=does, daemon=True)
    thread.start()
    if imports:
        ask(_warm, imports)
    try:
        yield ask
    finally:
        other.end()
        asked.put(None)
        thread.join()
        other.close()


class _Other:
    """The process, seen from this one: a thread asks it, another one may end it meanwhile."""

    def __init__(self, does: str) -> None:
        self._does, self._ends = does, Pipe()
        self._process: subprocess.Popen[bytes] | None = None
        self._at_work = self._ended = False
        self._turn = Lock()  # to start, or to end

    def answer(self, call: tuple[Any, ...]) -> Any:
        """Let it do something, and return what it answers; an exception, if it cannot."""
        ours, theirs = self._ends
        try:
            with self._turn:
                if self._ended:
                    return MemoryError(f"the process that {self._does} has ended")
                if self._process is None:
                    self._process = _started(theirs)
            self._at_work = True
            ours.send(call)
            answer = ours.recv()
            self._at_work = False
        except (OSError, EOFError):  # killed, most likely since memory was short
            return MemoryError(f"the process that {self._does} ended with {self._process and self._process.wait()}")
        except Exception as error:  # noqa: BLE001 -- it is raised again where the answer is waited for
            return error
        return answer

    def end(self) -> None:
        """End it: what it is at work on is of no use any more."""
        with self._turn:
            self._ended = True
        if self._process is not None:
            if self._at_work:
                self._process.send_signal(_GIVE_UP)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_SECONDS)
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Close the pipe, once nobody waits at it."""
        for one in self._ends:
            one.close()


def _started(theirs: Connection) -> subprocess.Popen[bytes]:
    code = f"from hi_ml.app.process import serve; serve({theirs.fileno()})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)  # as it stays in the process that is started
    process = subprocess.Popen(  # noqa: S603 -- this Python, and words of our own
        [sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment
    )
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return process


def _warm(modules: Sequence[str]) -> None:
    gc.disable()
    for module in modules:
        import_module(module)
    imported()


def _answer(pickled: bytes) -> Any:
    """Call a function; what it raises is the answer, and what is no sentence of ours says where it came from."""
    try:
        function, *arguments = pickle.loads(pickled)  # noqa: S301 -- of the process that started this one
        return function(*arguments)
    except (HiMlError, MemoryError) as error:
        return error
    except Exception:  # noqa: BLE001 -- it is raised again where the answer is waited for
        return RuntimeError(f"what another process was asked for failed there\n{traceback.format_exc()}")


def serve(descriptor: int) -> None:
    """Pending what comes in, until whoever asks has ended, however it did, or wants nothing any more."""
    signal.signal(_GIVE_UP, signal.default_int_handler)
    quietly = suppress(EOFError, OSError, KeyboardInterrupt)
    with quietly, Connection(descriptor) as asking:
        while True:
            asking.send(_answer(asking.recv_bytes()))
