"""A hospital speaks, and is answered: messages over MLLP, resources and readers over HTTP, until a signal ends it."""

import asyncio
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.errors import ConfigurationInvalid
from hi_ml.data.sources.hl7 import Header, Reader
from hi_ml.data.sources.wire import Framer, acknowledge, frame
from hi_ml.prediction.feed.ledger import Ledger
from hi_ml.prediction.feed.live import Live, Outlook
from hi_ml.prediction.feed.log import Entry, Log, alone
from hi_ml.prediction.feed.outlook import OutlookSettings
from hi_ml.prediction.feed.posts import FhirSettings, Gaps, Posts
from hi_ml.prediction.feed.receipt import Committer, Done, Outcome, Receipt
from hi_ml.prediction.feed.settings import HttpSettings, MllpSettings
from hi_ml.prediction.feed.web import Web

_MOST_WAITING = 64  # messages of one connection that wait for their commit; then no more is read of it
_STUCK = 20_000  # milliseconds after which a reader that takes nothing is dropped
_MOST_POSTED = 16 * 2**20  # bytes of what is posted to /fhir
_STOPS = (signal.SIGINT, signal.SIGTERM)
_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)
_BACKLOG = 512  # strangers that knock at one time
_HANDSHAKE = 10.0  # seconds that a stranger may take to say who it is
# A connection whose other end is gone without a word is closed after two minutes: it would take the place of another.
_ALIVE = {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


@dataclass
class Door:
    """What the connections of MLLP have in common."""

    settings: MllpSettings
    receipt: Receipt
    live: Live
    connections: set["Connection"] = field(default_factory=set)
    closing: bool = False

    def admits(self, peer: Sequence[Any]) -> bool:
        """Whether somebody may connect, and there is room."""
        networks, address = self.settings.networks(), ip_address(peer[0].split("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        allowed = not networks or any(address in network for network in networks)
        return allowed and not self.closing and len(self.connections) < self.settings.connections


@dataclass(slots=True)
class _Waiting:
    """A message that was not answered yet."""

    header: Header
    entry: Entry
    began: float
    answer: bytes | None = None


class Connection(asyncio.Protocol):
    """One connection: answers come in the order of the messages, each after its commit."""

    def __init__(self, door: Door) -> None:
        self._door, self._framer = door, Framer(door.settings.max_bytes)
        self._waiting: deque[_Waiting] = deque()
        self._full = False  # of answers that the other side does not read
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close again what is not to be heard."""
        self.transport = transport
        if not self._door.admits(transport.get_extra_info("peername")):
            self.transport.abort()
            return
        self._door.connections.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the other side; what it sent is kept."""
        self._door.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Take what messages are whole."""
        for each in self._framer.feed(data):
            began = time.perf_counter()
            header, entry = self._door.receipt.read(each)
            waiting = _Waiting(header, entry, began)
            self._waiting.append(waiting)
            if not self._door.live.committer.submit(entry, self._done(waiting)):
                self._answer(waiting, Outcome(kept=False))
        self._pace()

    def pause_writing(self) -> None:
        """Hear nothing more of one who does not listen."""
        self._full = True
        self._pace()

    def resume_writing(self) -> None:
        """Hear again."""
        self._full = False
        self._pace()

    def _pace(self) -> None:
        if self._full or len(self._waiting) >= _MOST_WAITING or self._door.closing:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _done(self, waiting: _Waiting) -> Done:
        return lambda outcome: self._answer(waiting, outcome)

    def _answer(self, waiting: _Waiting, outcome: Outcome) -> None:
        live, entry = self._door.live, waiting.entry
        refused = entry.refused if outcome.kept else None
        now = datetime.now(live.log.zone)
        answers = acknowledge(waiting.header, now, refused, busy=not outcome.kept)
        waiting.answer = b"".join(map(frame, answers))
        code = refused.code if refused else "AA" if outcome.kept else "busy"
        live.answered(code, time.perf_counter() - waiting.began)
        live.repeats += outcome.kept and not refused and outcome.position is None
        live.heard = entry.received if outcome.kept else live.heard
        self._flush()

    def _flush(self) -> None:
        ready = []
        while self._waiting and self._waiting[0].answer is not None:
            ready.append(self._waiting.popleft().answer or b"")
        if ready and not self.transport.is_closing():
            self.transport.write(b"".join(ready))
        if ready:
            self._pace()


@settings(frozen=True, config=STRICT)
class ServiceSettings(OutlookSettings):
    """How a service listens, keeps and shows."""

    mllp: MllpSettings
    http: HttpSettings
    fhir: FhirSettings
    group_ms: Annotated[float, Field(ge=0, le=1000)]
    group_rows: Annotated[int, Field(ge=1)]
    queue: Annotated[int, Field(ge=1)]
    board_seconds: Annotated[float, Field(gt=0)]
    silent: bool


@dataclass(frozen=True)
class ServicePlan:
    """What a service is made of."""

    settings: ServiceSettings
    reader: Reader
    key: str  # the fingerprint of the site's key
    outlook: Outlook
    page: tuple[str, str]  # and what a browser may do for it
    announce: Callable[[Sequence[Mapping[str, str]]], None]  # tells MLflow which alarms there are


def run(plan: ServicePlan, say: Callable[[str], None]) -> None:
    """Listen until a signal comes, and then let it do what it does without us.

    Raises
    ------
    HiMlError
        If an address is taken, or the log is in use or none.
    """
    path = Path(plan.settings.log.path).absolute()
    before = {number: signal.getsignal(number) for number in _STOPS}
    with alone(path):
        number = asyncio.run(_run(plan, Log.open(path, plan.reader.zone), say))
    for each, handler in before.items():
        signal.signal(each, handler)
    signal.raise_signal(number)


async def _run(plan: ServicePlan, log: Log, say: Callable[[str], None]) -> int:
    asked = plan.settings
    loop = asyncio.get_running_loop()
    if not log.same_key(plan.key):
        say("The site's key is another one than before: visits of before can no longer be joined, and are not counted.")

    def hand_out(group: list[tuple[Done, Outcome]]) -> None:
        for done, outcome in group:
            done(outcome)
        live.appended()

    committer = Committer(
        log.sibling(), group_ms=asked.group_ms, group_rows=asked.group_rows, queue=asked.queue,
        deliver=lambda group: _call(loop, hand_out, group),
    )  # fmt: skip
    ledger = Ledger.of(log.sibling(), asked.counted)
    live = Live(
        log, ledger, committer, plan.outlook, asked.board_seconds, asked.log.keep_raw_days, asked.silent,
        tell=lambda: _call(loop, web.tell), announce=plan.announce,
    )  # fmt: skip
    ledger.score = live.score
    receipt = Receipt(plan.reader, asked.mllp.max_bytes, keep_raw=asked.log.keep_raw_days > 0)
    gaps = Gaps(log.sibling(), asked.fhir, live.missing)
    web = Web(asked.http, live, *plan.page, receive=Posts(receipt, live, gaps).receive, max_bytes=_MOST_POSTED)
    committer.start()

    def ready(mllp: int, http: int) -> None:
        scheme = "https" if asked.http.tls.cert else "http"
        say(f"Hearing HL7 v2 at {asked.mllp.host}:{mllp}; page at {scheme}://{asked.http.host}:{http}/")
        say(f"Log: {asked.log.path}, {log.last()[0]:,} messages, {len(ledger.here):,} visits in house")

    return await serve(Door(asked.mllp, receipt, live), web, ready=ready)


async def serve(door: Door, web: Web, *, ready: Callable[[int, int], None]) -> int:
    """Listen until a signal comes; then end in order: readers first, then senders, then the log.

    Parameters
    ----------
    ready : callable
        Is told the ports of MLLP and HTTP when both are open.

    Returns
    -------
    int
        The number of the signal.
    """
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()
    for number in _STOPS:
        loop.add_signal_handler(number, _end_with, stop, number)
    mllp, http = door.settings, web.settings
    tls, _, _ = mllp.tls.context("mllp.tls"), http.tls.context("http.tls"), http.token()  # refused before the start
    with _socket("mllp", mllp.host, mllp.port) as hears, _socket("http", http.host, http.port) as shows:
        door.live.start()
        listener = await loop.create_server(
            lambda: Connection(door), sock=hears, ssl=tls, backlog=_BACKLOG,
            ssl_handshake_timeout=_HANDSHAKE if tls else None,
        )  # fmt: skip
        pages = asyncio.create_task(web.serve(shows))
        ready(hears.getsockname()[1], shows.getsockname()[1])
        await asyncio.wait(cast("list[asyncio.Future[Any]]", [stop, pages]), return_when=asyncio.FIRST_COMPLETED)
        await web.close()
        await pages
        listener.close()
        await _hang_up(door, loop)
    return stop.result() if stop.done() else signal.SIGTERM


async def _hang_up(door: Door, loop: asyncio.AbstractEventLoop) -> None:
    """Hear no more, answer what was heard, and fold it."""
    door.closing = True
    for each in list(door.connections):
        each.transport.pause_reading()
    await loop.run_in_executor(None, door.live.committer.finish)
    await asyncio.sleep(0)  # the answers of the last commit
    for each in list(door.connections):
        each.transport.close()
    await loop.run_in_executor(None, door.live.stop)


def _end_with(stop: asyncio.Future[int], number: int) -> None:
    if not stop.done():
        stop.set_result(number)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    """Call a function in the loop, from any thread; where the loop has ended, nobody waits for it."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


def _socket(part: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, _STUCK)
    for name, value in _ALIVE.items():  # as every connection that it takes inherits
        level = socket.SOL_SOCKET if name.startswith("SO_") else socket.IPPROTO_TCP
        if hasattr(socket, name):
            listening.setsockopt(level, getattr(socket, name), value)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise ConfigurationInvalid.no_address(part, host, port, error.strerror or str(error)) from error
    return listening
