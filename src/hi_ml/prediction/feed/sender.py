"""A sender as hospitals have them: it waits for each answer, tries again, and where it is asked to, errs."""

import math
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Event
from typing import NamedTuple
from urllib.parse import urlsplit

from hi_ml.app.errors import ConfigurationInvalid, SourceUnreadable, Undelivered
from hi_ml.data.sources.hl7 import moment
from hi_ml.data.sources.wire import Framer, frame

_PAUSE = 0.2  # seconds between two tries
_LONGEST = 2**24  # bytes of an answer
_CODE = 1  # field of MSA that holds the answer
_WEEK = 7 * 86_400  # seconds
_TIMES = {b"MSH": (6,), b"EVN": (2, 6), b"PID": (7,), b"PV1": (44, 45)}  # fields that begin with a day


class Sent(NamedTuple):
    """One message to send."""

    content: bytes
    at: float | None  # seconds since 1970 when it was recorded
    broken: bool = False  # whether the line breaks before its answer is read, so that it is sent again


@dataclass(frozen=True)
class Fault:
    """How often, and how, a line errs: shares of messages."""

    disorder: float  # that change places with the next one
    repeat: float  # that are sent twice
    drop: float  # after which the line breaks before the answer is read
    seed: int

    def apply(self, messages: Sequence[Sent]) -> list[Sent]:
        """Make of a good line a bad one."""
        draw, line = Random(self.seed), list(messages)  # noqa: S311 -- no secret
        for i in range(len(line) - 1):
            if draw.random() < self.disorder:
                line[i], line[i + 1] = line[i + 1], line[i]
        twice = [one for one in line for _ in range(1 + (draw.random() < self.repeat))]
        return [one._replace(broken=draw.random() < self.drop) for one in twice]


def read_messages(path: Path) -> list[Sent]:
    """Read a file of messages, one after the other: HL7 v2 by their headers, framed or not, or resources one a line.

    Raises
    ------
    SourceUnreadable
        If there is none.
    """
    if not path.is_file():
        raise SourceUnreadable.no_messages(path)
    content = path.read_bytes()
    if path.suffix == ".ndjson":
        return [Sent(line, None) for line in content.splitlines() if line.strip()]
    lines = content.replace(b"\x0b", b"\r").replace(b"\x1c", b"\r").replace(b"\n", b"\r").split(b"\r")
    messages: list[list[bytes]] = []
    for line in lines:
        line = line.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901
        if line.startswith(b"MSH"):
            messages.append([])
        if line and messages:
            messages[-1].append(line)
    if not messages:
        raise SourceUnreadable.no_messages(path)
    return [Sent(b"\r".join([*message, b""]), _recorded(message[0])) for message in messages]


def _recorded(header: bytes) -> float | None:
    fields = header.decode("latin-1").split("|")
    try:
        at = moment(fields[6], UTC) if len(fields) > 6 else None  # noqa: PLR2004 -- MSH-7
    except ValueError:
        return None
    return None if at is None else at.timestamp()


def as_if_now(messages: Sequence[Sent], now: float) -> list[Sent]:
    """Move all times by whole weeks, births too, so that the last message is recorded within a week from now.

    Raises
    ------
    ConfigurationInvalid
        If a message does not say when it was recorded.
    """
    times = [one.at for one in messages if one.at is not None]
    if len(times) < len(messages):
        raise ConfigurationInvalid.no_times(len(messages) - len(times))
    days = 7 * math.ceil((now - max(times, default=now)) / _WEEK)
    return [one._replace(content=_moved(one.content, days), at=(one.at or 0.0) + days * 86_400) for one in messages]


def _moved(content: bytes, days: int) -> bytes:
    lines = []
    for line in content.split(b"\r"):
        fields = line.split(b"|")
        for at in _TIMES.get(fields[0], ()):
            with suppress(ValueError, OverflowError, IndexError):  # what is no day stays as it is
                day = datetime.strptime(fields[at][:8].decode("latin-1"), "%Y%m%d").date() + timedelta(days)  # noqa: DTZ007
                fields[at] = f"{day:%Y%m%d}".encode() + fields[at][8:]
        lines.append(b"|".join(fields))
    return b"\r".join(lines)


def wall_clock() -> float:
    """What the clock on the wall shows, as `Sent.at` counts it."""
    return datetime.now().replace(tzinfo=UTC).timestamp()  # noqa: DTZ005 -- the messages say no zone


Wait = Callable[[float], bool]  # so many seconds; True where there is nothing to wait for any more
Pace = Callable[[Sequence[Sent], Wait], Iterator[Sent]]


def as_time_goes(messages: Sequence[Sent], wait: Wait) -> Iterator[Sent]:
    """Yield what is past at once, and the rest when its time comes, by the clock of this machine."""
    for one in messages:
        if wait(max(0.0, (one.at or 0.0) - wall_clock())):
            return
        yield one


def paced(messages: Sequence[Sent], wait: Wait, speed: float | None = None) -> Iterator[Sent]:
    """Yield messages as far apart as they were recorded, so many times faster; None: at once."""
    before: float | None = None
    for one in messages:
        gap = one.at - before if speed and one.at is not None and before is not None else 0.0
        if wait(max(0.0, gap / (speed or 1.0))):
            return
        before = one.at
        yield one


@dataclass(frozen=True)
class Receiver:
    """Where messages go."""

    host: str
    port: int
    url: str | None  # of FHIR
    tls: ssl.SSLContext | None
    token: str | None
    patience: float  # seconds to wait for an answer, and for the other side to come back

    @classmethod
    def of(cls, written: str, *, tls: ssl.SSLContext | None, token: str | None, patience: float) -> "Receiver":
        """Read an address as ``127.0.0.1:2575`` or ``http://127.0.0.1:8080/fhir``.

        Raises
        ------
        ConfigurationInvalid
            If it is none.
        """
        parts = urlsplit(written if "//" in written else f"mllp://{written}")
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.hostname is None or port is None or parts.scheme not in ("mllp", "http", "https"):
            raise ConfigurationInvalid.strange_address(written)
        return cls(parts.hostname, port, None if parts.scheme == "mllp" else written, tls, token, patience)

    def send(self, messages: Sequence[Sent], *, connections: int, pace: Pace = paced) -> Counter[str]:
        """Send messages, each until it is answered, and count the answers.

        Raises
        ------
        Undelivered
            If the other side is gone for longer than patience lasts.
        """
        lines = [messages[i::connections] for i in range(connections)]
        work = self._post if self.url else self._speak
        stop = Event()
        with ThreadPoolExecutor(connections) as pool:
            try:
                counts = [pool.submit(work, pace(line, stop.wait)) for line in lines]
                return sum((count.result() for count in counts), Counter[str]())
            finally:
                stop.set()  # when one gives up, or Ctrl-C ends it, nobody sleeps on

    def _speak(self, messages: Iterator[Sent]) -> Counter[str]:
        counts, line = Counter[str](), _Line(self)
        for one in messages:
            if one.broken:
                line.abandon(one.content)
            end = time.monotonic() + self.patience
            while (code := line.ask(one.content)) is None or code in ("AE busy", "CE busy"):
                if time.monotonic() > end:
                    raise Undelivered.of(f"{self.host}:{self.port}", sum(counts.values()), self.patience)
                time.sleep(_PAUSE)
            counts[code] += 1
        line.close()
        return counts

    def _post(self, messages: Iterator[Sent]) -> Counter[str]:
        counts = Counter[str]()
        for one in messages:
            end = time.monotonic() + self.patience
            while (status := self._try(one.content)) in (0, 503):
                if time.monotonic() > end:
                    raise Undelivered.of(str(self.url), sum(counts.values()), self.patience)
                time.sleep(_PAUSE)
            counts[str(status)] += 1
        return counts

    def _try(self, content: bytes) -> int:
        headers = {"Content-Type": "application/fhir+json"}
        headers |= {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = urllib.request.Request(str(self.url), content, headers)  # noqa: S310 -- http, as checked
        try:
            with urllib.request.urlopen(request, timeout=self.patience, context=self.tls) as answer:  # noqa: S310
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


class _Line:
    """One connection, opened again whenever it is lost."""

    def __init__(self, address: Receiver) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def ask(self, content: bytes) -> str | None:
        """Send a message and return the code of its answer; None where the line was lost."""
        try:
            line = self._open()
            line.sendall(frame(content))
            framer = Framer(_LONGEST)
            while True:
                data = line.recv(65536)
                if not data:
                    raise ConnectionResetError
                for answer in framer.feed(data):
                    return _code(answer.content)
        except OSError:
            self.close()
            return None

    def abandon(self, content: bytes) -> None:
        """Send a message, and break the line before anything is heard."""
        with suppress(OSError):
            self._open().sendall(frame(content))
        self.close()

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        if self._socket is None:
            address = self._address
            plain = socket.create_connection((address.host, address.port), address.patience)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = address.tls.wrap_socket(plain, server_hostname=address.host) if address.tls else plain
        return self._socket


def _code(answer: bytes) -> str:
    for line in answer.decode("utf-8", "replace").split("\r"):
        if line.startswith("MSA"):
            fields = line.split(line[3:4] or "|")
            return f"{fields[_CODE]}{' busy' if 'Busy:' in line else ''}"
    return "no answer"
