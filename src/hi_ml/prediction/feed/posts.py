"""What becomes of resources of FHIR that are posted? Each is kept or refused by itself, before the answer.

Notifications of subscriptions are numbered: the server is asked for those that lack.
"""

import asyncio
import hashlib
import json
import ssl
import time
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.app.errors import MessageRefused
from hi_ml.data.sources.fhir import Notice, Resource, Resources
from hi_ml.prediction.feed.live import Live
from hi_ml.prediction.feed.log import Entry, Log
from hi_ml.prediction.feed.receipt import Outcome, Receipt
from hi_ml.prediction.feed.settings import is_loopback, word_of

_SECONDS = 30.0  # that the server may take
_LONGEST = 16 * 2**20  # bytes of its answer
_OK, _UNREADABLE, _IMPOSSIBLE, _BUSY = 200, 400, 422, 503
_AT_ONCE = 100  # resources that wait for their commit
_STATUS = {_OK: "200 OK", _IMPOSSIBLE: "422 Unprocessable Entity", _BUSY: "503 Service Unavailable"}


def _server(written: str | None) -> str | None:
    parts = urlsplit(written or "https://none")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))):
        raise ValueError("expected an address such as https://fhir.example/r4; http on this machine alone")
    return written and written.rstrip("/")


@settings(frozen=True, config=STRICT)
class FhirSettings:
    """Whom to ask for notifications that were missed."""

    server: Annotated[str | None, AfterValidator(_server)]  # the address of its resources; null: gaps are told alone
    token_file: str | None  # holds the word that it asks for
    ca: str | None  # who signed its certificate; null: whom the machine trusts

    def ask(self, path: str) -> bytes:
        """Fetch what stands at a path.

        Raises
        ------
        OSError
            If there is no answer.
        """
        headers = {"Accept": "application/fhir+json"}
        if word := word_of("fhir.token_file", self.token_file):
            headers["Authorization"] = f"Bearer {word}"
        request = urllib.request.Request(f"{self.server}/{path}", headers=headers)  # noqa: S310 -- as checked
        context = ssl.create_default_context(cafile=self.ca) if str(self.server).startswith("https:") else None
        with urllib.request.urlopen(request, timeout=_SECONDS, context=context) as answer:  # noqa: S310
            return bytes(answer.read(_LONGEST))


def follow(until: int | None, notice: Notice) -> int:
    """Return up to which number all events were heard; whoever hears the first time begins with what it hears."""
    if until is None:
        until = min(notice.events) - 1 if notice.events else notice.last
    while until + 1 in notice.events:
        until += 1
    return until


@dataclass
class Gaps:
    """What was heard of each subscription, over restarts too."""

    log: Log  # its own
    settings: FhirSettings
    missing: dict[str, int] = field(default_factory=dict)  # events of each subscription that lack
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def hear(self, notice: Notice, receive: Callable[[bytes], Awaitable[Notice | None]]) -> None:
        """Note a notification whose resources are kept; where others lack, have them received.

        Parameters
        ----------
        receive : callable
            Keeps what a Bundle says, and returns what it says of itself; None where it was not kept.
        """
        async with self._asking:
            until = await self._note(notice)
            if until < notice.last and self.settings.server:
                path = f"Subscription/{notice.subscription}/$events"
                asked = f"{path}?eventsSinceNumber={until + 1}&eventsUntilNumber={notice.last}&content=full-resource"
                with suppress(OSError):  # asked again with the next notification, of which one comes every while
                    answer = await receive(await asyncio.to_thread(self.settings.ask, asked))
                    if answer and answer.subscription == notice.subscription:
                        heard = notice.events | answer.events
                        until = await self._note(Notice(notice.subscription, heard, notice.last))
            self.missing[notice.subscription] = notice.last - until

    async def _note(self, notice: Notice) -> int:
        key = f"subscription {notice.subscription}"
        before = self.log.state(key, None)
        until = follow(None if before is None else int(before), notice)
        if str(until) != before:
            await asyncio.to_thread(self.log.note, key, str(until))
        return until


@dataclass(frozen=True)
class Posts:
    """Takes what is posted to /fhir."""

    receipt: Receipt
    live: Live
    gaps: Gaps
    _behind: set[asyncio.Task[None]] = field(default_factory=set)  # that ask for what was missed

    async def receive(self, content: bytes) -> tuple[int, dict[str, Any]]:
        """Keep what a text says, and return the status and the answer."""
        status, answer, notice = await self._take(content)
        if notice is not None and status == _OK:
            task = asyncio.create_task(self.gaps.hear(notice, self._missed))
            self._behind.add(task)
            task.add_done_callback(self._behind.discard)
        return status, answer

    async def _missed(self, content: bytes) -> Notice | None:
        status, _, notice = await self._take(content)
        return notice if status == _OK else None

    async def _take(self, content: bytes) -> tuple[int, dict[str, Any], Notice | None]:
        received, resources = time.time(), Resources(self.receipt.reader)
        try:
            parts = list(resources.parts(content))
            notice = resources.notice(parts)
        except MessageRefused as refused:
            entry = Entry(hashlib.sha256(content).digest(), received, refused=refused)
            kept = await self._keep(entry)
            return (_UNREADABLE if kept.kept else _BUSY), _outcome(refused), None
        entries = [self._entry(resources, part, received) for part in parts]
        statuses: list[int] = []
        for start in range(0, len(entries), _AT_ONCE):  # a long text leaves room in the queue
            some = entries[start : start + _AT_ONCE]
            statuses += await asyncio.gather(*(self._status(entry) for entry in some))
        answers = [
            {"response": {"status": _STATUS[status]} | ({"outcome": _outcome(entry.refused)} if entry.refused else {})}
            for entry, status in zip(entries, statuses, strict=True)
        ]
        if len(parts) == 1:
            return statuses[0], _outcome(entries[0].refused), notice
        bundle = {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}
        return (_BUSY if _BUSY in statuses else _OK), bundle, notice

    def _entry(self, resources: Resources, part: Resource, received: float) -> Entry:
        content = json.dumps(part, sort_keys=True, separators=(",", ":")).encode()
        sha256 = hashlib.sha256(content).digest()
        try:
            events = resources.events(part, datetime.fromtimestamp(received, self.receipt.reader.zone))
        except MessageRefused as refused:
            return Entry(sha256, received, refused=refused)
        control = events[0].control if events else ""
        raw = content if self.receipt.keep_raw else None
        return Entry(sha256, received, "FHIR", control, str(part["resourceType"]), events, raw=raw)

    async def _status(self, entry: Entry) -> int:
        if not (entry.events or entry.refused):
            return _OK  # of a kind that says nothing of visits
        outcome = await self._keep(entry)
        if not outcome.kept:
            return _BUSY
        return _IMPOSSIBLE if entry.refused else _OK

    async def _keep(self, entry: Entry) -> Outcome:
        began, answer = time.perf_counter(), asyncio.get_running_loop().create_future()
        if not self.live.committer.submit(entry, answer.set_result):
            return Outcome(kept=False)
        outcome: Outcome = await answer
        code = entry.refused.code if entry.refused else "AA"
        self.live.answered(code if outcome.kept else "busy", time.perf_counter() - began)
        self.live.heard = entry.received if outcome.kept else self.live.heard
        return outcome


def _outcome(refused: MessageRefused | None) -> dict[str, Any]:
    issue: dict[str, Any] = {"severity": "information", "code": "informational"}
    if refused:
        issue = {"severity": "error", "code": "processing", "expression": [refused.field], "diagnostics": str(refused)}
    return {"resourceType": "OperationOutcome", "issue": [issue]}
