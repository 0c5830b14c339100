"""Another process that computes what this one asks for, one thing after the other, while this one goes on.

It is started anew, not forked off: a learner's threads do not survive a fork. In a thread instead, each would wait for
the other's Python, and what one does to warnings would last for both.
"""

import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any

from hi_ml.app.errors import HiMlError

Ask = Callable[..., Future[Any]]  # takes a function of a module and its arguments, which are pickled
_STOPS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def another_process(does: str, *, imports: str | None = None) -> Iterator[Ask]:
    """Start the process when it is first asked, and end it whatever happens; if this one is killed, it ends by itself.

    Parameters
    ----------
    does : str
        What it is for, should it end early.
    imports : str, optional
        A module that it will need: it is started at once, and imports it while nothing is asked yet.

    Yields
    ------
    function
        Takes what to call there, and returns at once; its `Future` raises what went wrong.
    """
    asked: SimpleQueue[tuple[tuple[Any, ...], Future[Any]] | None] = SimpleQueue()
    ours, theirs = Pipe()
    started: list[subprocess.Popen[bytes]] = []
    ended, starting = Event(), Lock()

    def hand_over() -> None:
        while (one := asked.get()) is not None:
            call, future = one
            try:
                with starting:
                    if ended.is_set():
                        return
                    if not started:
                        started.append(_started(theirs))
                ours.send(call)
                answer = ours.recv()
            except (OSError, EOFError):  # killed, most likely since memory was short
                answer = MemoryError(f"the process that {does} ended with {started[0].wait() if started else None}")
            except Exception as error:  # noqa: BLE001 -- it is raised again where the answer is waited for
                answer = error
            settle(future, answer)

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
        with starting:
            ended.set()
        asked.put(None)
        for process in started:
            process.kill()  # what is still being done is of no use any more
            process.wait()
        thread.join()
        ours.close()
        theirs.close()


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


def _warm(module: str) -> None:
    import_module(module)


def settle(future: Future[Any], answer: Any) -> None:
    """Let a future return an answer, or raise it if it is an exception."""
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def answer_to(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function; what it raises is the answer, and what is no sentence of ours says where it came from."""
    try:
        return function(*arguments)
    except (HiMlError, MemoryError) as error:
        return error
    except Exception:  # noqa: BLE001 -- it is raised again where the answer is waited for
        return RuntimeError(f"{function.__qualname__} failed\n{traceback.format_exc()}")


def serve(descriptor: int) -> None:
    """Answer what comes in, until whoever asks has ended, however it did."""
    with suppress(EOFError, OSError, pickle.UnpicklingError), Connection(descriptor) as asking:
        while True:
            asking.send(answer_to(*asking.recv()))
