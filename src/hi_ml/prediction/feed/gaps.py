"""Which notifications of FHIR subscriptions were missed? They are numbered; the server is asked for those that lack."""

import asyncio
import ssl
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass as settings

from hi_ml.app.config import STRICT
from hi_ml.data.sources.fhir import Notice
from hi_ml.prediction.feed.log import Log
from hi_ml.prediction.feed.settings import is_loopback, word_of

_SECONDS = 30.0  # that the server may take
_LONGEST = 16 * 2**20  # bytes of its answer


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
