"""Another process that computes what this one asks for, one thing after the other, while this one goes on.

It is forked off where this one has no thread yet, as at the start of a command on Linux, and started anew otherwise: a
learner's threads do not survive a fork. In a thread instead, each would wait for the other's Python, and what one does
to warnings would last for both. Where nothing is left to do meanwhile, this process does it itself.
"""

import gc
import logging
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from ctypes import CDLL
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import count
from multiprocessing import current_process, get_context
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from queue import PriorityQueue
from threading import Lock, Thread
from typing import Any, Protocol

from hi_ml.app.begin import imported, stops
from hi_ml.app.errors import HiMlError


class Pending(Protocol):
    """What was asked for, once it is there."""

    def result(self) -> Any:
        """Wait for it and return it, or raise what went wrong."""

    def done(self) -> bool:
        """Whether nobody has to wait for it."""

    def soonest(self) -> Any:
        """Return it as `result` does, once; do it here, if nobody has begun it."""


class Ask(Protocol):
    """Takes a function of a module and its arguments, which are pickled."""

    def __call__(self, *call: Any, at_last: bool = False) -> Pending:
        """Ask for it; ``at_last`` after whatever else is asked."""


log = logging.getLogger("hi_ml")
_PR_SET_PDEATHSIG = 1  # of prctl, of Linux
_GONE = object()  # the answer of a process that was killed, most likely since memory was short, or could not start
_GIVE_UP = signal.SIGUSR1  # what it is told that is still at work when nobody waits for it any more
_SECONDS = 3.0  # that it then has
_THREADS = Path("/proc/self/task")  # of this process, where a system tells


@contextmanager
def this_process(*_: Any, **__: Any) -> Iterator[Ask]:
    """Compute what is asked for here, when it is waited for; used as `another_process` is."""
    yield lambda *call, at_last=False: _Later(call)  # noqa: ARG005 -- what is waited for first, is done first


@dataclass
class _Later:
    call: tuple[Any, ...]

    def result(self) -> Any:
        return self._answer

    soonest = result

    def done(self) -> bool:
        return True

    @cached_property
    def _answer(self) -> Any:
        function, *arguments = self.call
        return function(*arguments)


class _Asked(Future[Any]):
    def __init__(self, call: tuple[Any, ...]) -> None:
        super().__init__()
        self.here = _Later(call)  # what is asked for, should this process do it

    def result(self, timeout: float | None = None) -> Any:
        answer = super().result(timeout)
        return self.here.result() if answer is _GONE else answer

    def soonest(self) -> Any:
        return self.here.result() if self.cancel() else self.result()


@contextmanager
def another_process(does: str, *, imports: Sequence[str] = ()) -> Iterator[Ask]:
    """Start the process when it is first asked, and end it whatever happens; if this one is killed, it ends too.

    It may rely on what it is given alone, not on the command line of this process or on what `hi_ml.app.references`
    holds here. What is at work at the end hears a `KeyboardInterrupt`, and has some seconds to leave things as they
    should be. If it ends early, this process does what it owes when that is waited for.

    Parameters
    ----------
    does : str
        What it is for, to be told should it end early.
    imports : sequence of str
        Modules that it will need: it is started at once, and has them, or imports them while nothing is asked yet.

    Yields
    ------
    Ask
        Returns at once; what it returns raises what went wrong.
    """
    asked: PriorityQueue[tuple[bool, int, _Asked | None]] = PriorityQueue()
    numbers, other = count(), _Other(does)

    def hand_over() -> None:
        while (one := asked.get()[-1]) is not None:
            if not one.set_running_or_notify_cancel():
                continue
            answer = other.answer(one.here.call)
            if isinstance(answer, Exception):
                one.set_exception(answer)
            else:
                one.set_result(answer)

    def ask(*call: Any, at_last: bool = False) -> _Asked:
        one = _Asked(call)
        asked.put((at_last, next(numbers), one))
        return one

    thread = Thread(target=hand_over, name=does, daemon=True)
    try:  # from here on: an interrupt may come while it starts
        if imports:
            with suppress(OSError):  # it is tried again when something is asked
                other.start()
            ask(_warm, imports)
        thread.start()
        yield ask
    finally:
        other.end()
        asked.put((True, next(numbers), None))
        if thread.ident is not None:
            thread.join()
        other.close()


class _Other:
    """The process, seen from this one: a thread asks it, another one may end it meanwhile."""

    def __init__(self, does: str) -> None:
        self._does, self._ends = does, Pipe()
        self._process: subprocess.Popen[bytes] | _Forked | None = None
        self._at_work = self._ended = self._is_gone = False
        self._turn = Lock()  # to start, or to end

    def start(self) -> None:
        """Start it, if it is not."""
        if self._process is not None or self._is_gone:
            return
        ours, theirs = self._ends
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, stops())  # as it stays in the process that is started
            self._process = _Forked(ours, theirs) if _is_alone() else _begun_anew(theirs)
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # an interrupt is heard here, when there is what to end

    def answer(self, call: tuple[Any, ...]) -> Any:
        """Let it do something, and return what it answers; an exception, if it cannot."""
        ours, _ = self._ends
        try:
            with self._turn:
                if self._ended or self._is_gone:
                    return _GONE
                self.start()
            self._at_work = True
            ours.send(call)
            answer = ours.recv()
            self._at_work = False
        except (OSError, EOFError):
            return self._gone()
        except Exception as error:  # noqa: BLE001 -- it is raised again where the answer is waited for
            return error
        return answer

    def _gone(self) -> object:
        if not self._is_gone and not self._ended:
            how = f"ended with {self._process.wait()}" if self._process else "could not start"
            log.warning("The process that %s %s; this one does the rest.", self._does, how)
        self._is_gone = True
        return _GONE

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


class _Forked:
    """A process that is this one as it stands, with the part of `subprocess.Popen` that is used here."""

    def __init__(self, ours: Connection, theirs: Connection) -> None:
        self._process = get_context("fork").Process(target=self._serve, args=(ours, theirs, os.getpid()))
        self._process.start()

    @staticmethod
    def _serve(ours: Connection, theirs: Connection, parent: int) -> None:
        ours.close()  # or it would not see that whoever asks has ended
        serve(theirs.fileno(), parent)

    def send_signal(self, number: int) -> None:
        if self._process.is_alive() and self._process.pid:
            os.kill(self._process.pid, number)

    def wait(self, seconds: float | None = None) -> int | None:
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


def _is_alone() -> bool:
    """Whether this process is sure to have one thread, and may be forked: `multiprocessing` lets no daemon be."""
    return _THREADS.is_dir() and len([*_THREADS.iterdir()]) == 1 and not current_process().daemon


def _begun_anew(theirs: Connection) -> subprocess.Popen[bytes]:
    code = f"from hi_ml.app.process import serve; serve({theirs.fileno()}, {os.getpid()})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(  # noqa: S603 -- this Python, and words of our own
        [sys.executable, "-P", "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment
    )


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
    except OSError as error:  # of a disk, most likely; of a connection, or a library's own, it is no sentence
        return error if type(error).__module__ == "builtins" and not isinstance(error, ConnectionError) else _strange()
    except Exception:  # noqa: BLE001 -- it is raised again where the answer is waited for
        return _strange()


def _strange() -> RuntimeError:
    return RuntimeError(f"what another process was asked for failed there\n{traceback.format_exc()}")


def _end_with(parent: int) -> None:
    """Let the system end this process with the one that started it, however that ends; Linux alone can."""
    if sys.platform == "linux":
        CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # which ended before it was said
            os._exit(1)


def serve(descriptor: int, parent: int) -> None:
    """Answer what comes in, until whoever asks, the process ``parent``, has ended, or wants nothing any more."""
    _end_with(parent)
    signal.signal(_GIVE_UP, signal.default_int_handler)
    quietly = suppress(EOFError, OSError, KeyboardInterrupt)
    with quietly, Connection(descriptor) as asking:
        while True:
            asking.send(_answer(asking.recv_bytes()))
