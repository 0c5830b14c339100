"""Who may look, and at what? The page, the board, the stream of changes, the counts; and resources of FHIR come in."""

import asyncio
import base64
import binascii
import hmac
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from hi_ml.prediction.feed.live import Live
from hi_ml.prediction.feed.log import KEPT_CHANGES
from hi_ml.prediction.feed.settings import HttpSettings

_BEAT = 15.0  # seconds after which a silent stream shows that it lives
_PATIENCE = 20.0  # seconds in which a reader has to take what is sent
_PAGE = 200  # changes read at once
_OTHERS = 100  # that may ask for something else than the stream at one time
_LETTERS = 200  # dead letters shown
_NAMES = {"localhost", "127.0.0.1", "[::1]", "::1"}  # of this machine


class _Server(uvicorn.Server):
    """Leaves the signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Stream(StreamingResponse):
    """Drops a reader that takes nothing."""

    async def stream_response(self, send: Send) -> None:
        async def timely(message: Any) -> None:
            await asyncio.wait_for(send(message), _PATIENCE)

        try:
            await super().stream_response(timely)
        except TimeoutError:
            return


@dataclass
class Web:
    """The service's side of HTTP."""

    settings: HttpSettings
    live: Live
    page: str
    policy: str  # what a browser may do for the page
    receive: Callable[[bytes], Awaitable[tuple[int, dict[str, Any]]]]  # takes what is posted to /fhir
    max_bytes: int  # of it
    closing: bool = False
    _readers: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _server: _Server | None = None

    def tell(self) -> None:
        """Wake every reader."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def serve(self, listening: socket.socket) -> None:
        """Answer until `close`."""
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        tls = self.settings.tls
        config = uvicorn.Config(
            self.application(), log_config=None, access_log=False, lifespan="off", ws="none", server_header=False,
            timeout_graceful_shutdown=2, limit_concurrency=self.settings.streams + _OTHERS,
            ssl_certfile=tls.cert, ssl_keyfile=tls.key, ssl_ca_certs=tls.client_ca,
            ssl_cert_reqs=ssl.CERT_REQUIRED if tls.client_ca else ssl.CERT_NONE,
        )  # fmt: skip
        self._server = _Server(config)
        await self._server.serve([listening])

    async def close(self) -> None:
        """Let every stream end, then the server."""
        self.closing = True
        self.tell()
        if self._server is not None:
            self._server.should_exit = True

    def application(self) -> ASGIApp:
        """Put the routes behind the door."""
        routes = [
            Route("/", self._page),
            Route("/board.json", self._board),
            Route("/events", self._events),
            Route("/health", self._health),
            Route("/ready", self._ready),
            Route("/metrics", self._metrics),
            Route("/dead", self._dead),
            Route("/fhir", self._fhir, methods=["POST"]),
        ]
        return _Guard(Starlette(routes=routes), self.settings.token())

    async def _page(self, _request: Request) -> Response:
        return HTMLResponse(self.page, headers={"Content-Security-Policy": self.policy})

    async def _board(self, request: Request) -> Response:
        state = self.live.state()
        asked = request.query_params.get("h")
        if asked is not None:
            state["horizons"] = [each for each in state["horizons"] if str(each.get("days")) == asked]
        return JSONResponse(state)

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _ready(self, _request: Request) -> Response:
        ready = self.live.is_ready()
        state = {"ready": ready, "problems": self.live.problems(), "position": self.live.ledger.position}
        return JSONResponse(state, 200 if ready else 503)

    async def _metrics(self, _request: Request) -> Response:
        return PlainTextResponse(
            f"{self.live.metrics()}hi_ml_readers {self._readers}\n", media_type="text/plain; version=0.0.4"
        )

    async def _dead(self, _request: Request) -> Response:
        count, letters = self.live.log.dead(_LETTERS)
        return JSONResponse({"count": count, "letters": letters})

    async def _fhir(self, request: Request) -> Response:
        content = b""
        async for piece in request.stream():
            content += piece
            if len(content) > self.max_bytes:
                return JSONResponse({"error": f"longer than {self.max_bytes} bytes"}, 413)
        status, answer = await self.receive(content)
        return JSONResponse(answer, status, media_type="application/fhir+json")

    async def _events(self, request: Request) -> Response:
        if self._readers >= self.settings.streams:
            return PlainTextResponse("Too many readers.", 503)
        last = request.headers.get("last-event-id", "")
        after = int(last) if last.isdecimal() else None
        return _Stream(self._changes(after), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _changes(self, after: int | None) -> AsyncIterator[str]:
        """What changed, position by position, behind the one that the reader saw last; without one, from now on."""
        self._readers += 1
        try:
            drawn = None
            if after is None or not 0 <= self.live.ledger.position - after <= KEPT_CHANGES:
                after = self.live.ledger.position
                yield f"id: {after}\nevent: state\ndata: {self.live.census()}\n\n"
            while not self.closing:
                news = self._news
                if drawn is not self.live.board:
                    drawn = self.live.board
                    yield "event: board\ndata: drawn\n\n"
                changes = self.live.log.changes(after, _PAGE)
                for after, body in changes:
                    yield f"id: {after}\nevent: change\ndata: {body}\n\n"
                if not changes:
                    try:
                        await asyncio.wait_for(news.wait(), _BEAT)
                    except TimeoutError:
                        yield ":\n\n"
        finally:
            self._readers -= 1


class _Guard:
    """Lets through who knows the word; without one, who asks for this machine by its own name."""

    def __init__(self, inner: ASGIApp, token: str | None) -> None:
        self._inner, self._token = inner, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/health":
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            if self._token is None and not self._is_own(headers.get(b"host", "")):
                await PlainTextResponse("Another host was meant.", 421)(scope, receive, send)
                return
            origin = headers.get(b"origin")
            if scope["method"] == "POST" and origin and origin.partition("//")[2] != headers.get(b"host"):
                await PlainTextResponse("A page of another site may not write here.", 403)(scope, receive, send)
                return
            if self._token is not None and not self._knows(headers.get(b"authorization", "")):
                ask = {"WWW-Authenticate": 'Basic realm="hi_ml: any name, the token as password"'}
                await PlainTextResponse("A token is needed.", 401, headers=ask)(scope, receive, send)
                return
        await self._inner(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        """Whether a page of another site, whose name was turned to this machine, is not behind the request."""
        return host.rsplit(":", 1)[0] in _NAMES or host in _NAMES

    def _knows(self, authorization: str) -> bool:
        kind, _, word = authorization.partition(" ")
        if kind.lower() == "basic":
            try:
                word = base64.b64decode(word).decode("utf-8", "replace").partition(":")[2]
            except binascii.Error:
                return False
        return hmac.compare_digest(word.strip().encode(), (self._token or "").encode())
