"""When may the sender hear that its message is kept? After the commit that holds it: many share one."""

import hashlib
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, Full, Queue
from threading import Thread
from typing import NamedTuple

from hi_ml.app.errors import MessageRefused
from hi_ml.data.sources.hl7 import Header, Reader
from hi_ml.data.sources.wire import NOBODY, Frame
from hi_ml.prediction.feed.log import Entry, Log

Done = Callable[["Outcome"], None]
Deliver = Callable[[list[tuple[Done, "Outcome"]]], None]


class Outcome(NamedTuple):
    """What became of a message."""

    kept: bool
    position: int | None = None  # None for a repeat, and for a dead letter


@dataclass(frozen=True)
class Receipt:
    """Reads what comes over the wire."""

    reader: Reader
    longest: int  # bytes of a message
    keep_raw: bool

    def read(self, frame: Frame) -> tuple[Header, Entry]:
        """Make of a message what the log keeps, and what its sender's answer needs."""
        received, sha256 = time.time(), hashlib.sha256(frame.content).digest()
        header, too_long = NOBODY, MessageRefused("AR", "MSH", f"longer than {self.longest} bytes (mllp.max_bytes)")
        try:
            message = self.reader.parse(frame.content)
            header = message.header
            if not frame.whole:
                return header, Entry(sha256, received, refused=too_long)
            events = self.reader.events(message, datetime.fromtimestamp(received, self.reader.zone))
        except MessageRefused as refused:
            known = refused.header if isinstance(refused.header, Header) else header
            return known, Entry(sha256, received, refused=refused)
        raw = frame.content if self.keep_raw else None
        return header, Entry(sha256, received, header.sender, header.control, header.trigger, events, raw=raw)


class Committer(Thread):
    """The one thread that appends to the log: what waits goes into one commit."""

    def __init__(self, log: Log, *, group_ms: float, group_rows: int, queue: int, deliver: Deliver) -> None:
        super().__init__(name="commit", daemon=True)
        self._log, self._deliver = log, deliver
        self._seconds, self._rows = group_ms / 1000, group_rows
        self._queue: Queue[tuple[Entry, Done] | None] = Queue(queue)
        self.failure = ""  # why the last commit failed; empty where it did not

    def submit(self, entry: Entry, done: Done) -> bool:
        """Hand in a message; False where the queue is full."""
        try:
            self._queue.put_nowait((entry, done))
        except Full:
            return False
        return True

    def waiting(self) -> int:
        """Count the messages that wait."""
        return self._queue.qsize()

    def finish(self) -> None:
        """Commit what waits, and end."""
        self._queue.put(None)
        self.join()

    def run(self) -> None:
        """Commit, until `finish` is called."""
        ended = False
        while not ended:
            group, ended = self._group()
            if group:
                self._deliver(self._commit(group))

    def _commit(self, group: list[tuple[Entry, Done]]) -> list[tuple[Done, Outcome]]:
        try:
            outcomes = [Outcome(kept=True, position=at) for at in self._log.append([entry for entry, _ in group])]
            self.failure = ""
        except Exception as error:  # noqa: BLE001 -- a full disk or whatever else: the sender tries again, and we go on
            reason = str(error) if isinstance(error, sqlite3.Error) else type(error).__name__
            outcomes, self.failure = [Outcome(kept=False)] * len(group), reason
        return [(done, outcome) for (_, done), outcome in zip(group, outcomes, strict=True)]

    def _group(self) -> tuple[list[tuple[Entry, Done]], bool]:
        """What goes into the next commit, and whether nothing comes after it."""
        first = self._queue.get()
        if first is None:
            return [], True
        group, end = [first], time.monotonic() + self._seconds
        while len(group) < self._rows:
            try:
                entry = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                break
            if entry is None:
                return group, True
            group.append(entry)
        return group, False
