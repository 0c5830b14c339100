"""What becomes of resources of FHIR that are posted? Each is kept or refused by itself, before the answer."""

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hi_ml.app.errors import MessageRefused
from hi_ml.data.sources.fhir import Notice, Resource, Resources
from hi_ml.prediction.feed.gaps import Gaps
from hi_ml.prediction.feed.live import Live
from hi_ml.prediction.feed.log import Entry
from hi_ml.prediction.feed.receipt import Outcome, Receipt

_OK, _UNREADABLE, _IMPOSSIBLE, _BUSY = 200, 400, 422, 503
_AT_ONCE = 100  # resources that wait for their commit
_STATUS = {_OK: "200 OK", _IMPOSSIBLE: "422 Unprocessable Entity", _BUSY: "503 Service Unavailable"}


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
