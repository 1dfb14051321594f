"""The direct path: answers a prediction where it arrives, before Ray Serve's own path.

Serve spends some 200 µs of bookkeeping on each request, on a call that takes a tenth of that. This
middleware is in the replica's HTTP server, outside of Serve's. A usual prediction is answered right
there, by the same routes, and entered in Serve's books. Whatever else it may be goes Serve's way:
another path, unusual headers, a body that is long, or JSON that is not yet there, a replica that is
full or whose model is slow. A sampled request has the same spans on both ways.
docs/decisions/0019-direct-path.md.
"""

import asyncio
from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.http.body import CLIENT_TIMEOUT_HEADER
from serve_app.http.one_write import write_once
from serve_app.http.ongoing import Ongoing, request_ids
from serve_app.protocols.answers import (
    BINARY_TYPE,
    INFERENCE_HEADER,
    JSON_TYPE,
    Answer,
    for_any_protocol,
)
from serve_app.protocols.turns import BINARY_SHARE, BYTES_PER_TURN
from serve_app.ray_internals.direct_ingress import ReplicaBooks
from serve_app.telemetry.plain_spans import PlainContext
from serve_app.tracing.relay import relay_of_process
from serve_app.tracing.requests import RequestSpan, RequestSpans
from serve_app.tracing.sampling import (
    NOT_SAMPLED,
    TRACEPARENT_HEADER,
    TRACESTATE_HEADER,
    Caller,
    Sampling,
    caller_of,
)

METHOD = "POST"
REQUEST_ID_HEADER = b"x-request-id"
UNUSUAL = frozenset((b"content-encoding", b"transfer-encoding", CLIENT_TIMEOUT_HEADER))
"""Headers of requests that go Serve's way."""
USUAL_TYPES = frozenset((JSON_TYPE, BINARY_TYPE, None))
"""JSON, and what protocols that take any type are sent."""
LONGEST = BYTES_PER_TURN * BINARY_SHARE
"""Bytes of a body with tensors in bytes."""
LENGTH_DIGITS = len(str(LONGEST))


class DirectRoutes(Protocol):
    """What answers predictions; a deployment offers one as its ``direct_routes``."""

    @property
    def predictions(self) -> Iterable[str]:
        """Paths, below the place where the application is mounted."""
        ...

    @property
    def takes_any_type(self) -> Collection[str]:
        """Those whose bodies need not say that they are JSON."""
        ...

    @property
    def max_body_bytes(self) -> int:
        """Largest body."""
        ...

    @property
    def is_slow(self) -> bool:
        """Whether the model keeps the event loop so long that requests pile up."""
        ...

    async def predict(
        self, path: str, body: bytes, parent: PlainContext | None, head: bytes | None
    ) -> Answer:
        """Answer the body of a request within its span, if it is sampled; raises nothing.

        ``head`` is the value of `INFERENCE_HEADER`, if there is one.
        """
        ...


class Look(NamedTuple):
    """What the headers say."""

    is_usual: bool
    is_json: bool
    length: int
    """Bytes of the body, if the request is usual."""
    head: bytes | None
    """Value of `INFERENCE_HEADER`."""
    request_id: bytes
    """Empty if the client gave none."""
    traceparent: bytes | None
    tracestate: bytes


def direct_path(app: ASGIApp) -> ASGIApp:
    """``app`` behind the direct path if this process is a replica that offers one."""
    books = ReplicaBooks.behind(app)
    routes: DirectRoutes | None = getattr(books and books.servable, "direct_routes", None)
    if books is None or routes is None:
        return app
    relay = relay_of_process()
    spans = None if relay is None else RequestSpans(books.span_of(METHOD), relay.put)
    return DirectPath(app, books, routes, Sampling.of_process(), spans)


class DirectPath:
    """ASGI middleware; see the module.

    Args:
        app: Serve's way.
        books: the replica's.
        routes: what answers.
        sampling: decides which requests are traced; None if none is.
        spans: makes the spans of those; None to let Serve make them.
    """

    def __init__(
        self,
        app: ASGIApp,
        books: ReplicaBooks,
        routes: DirectRoutes,
        sampling: Sampling | None,
        spans: RequestSpans | None,
    ) -> None:
        self._app = app
        self._books = books
        self._routes = routes
        self._sampling = sampling
        self._spans = spans
        prefix = books.route_prefix.rstrip("/")
        self._paths = {prefix + path: path for path in routes.predictions}
        self._any_type = routes.takes_any_type
        self._longest = min(BYTES_PER_TURN, routes.max_body_bytes)
        self._longest_binary = min(LONGEST, routes.max_body_bytes)
        self._request_ids = map(str.encode, request_ids())
        self.ongoing = Ongoing(books, METHOD)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        look = look_at(scope["headers"])
        caller, is_traced = None, False
        if self._sampling is not None:
            caller = caller_of(look.traceparent)
            is_traced = self._sampling.wants(caller)
        path = self._paths.get(_path(scope)) if scope["method"] == METHOD else None
        if (
            path is None
            or not look.is_usual
            or not (look.is_json or path in self._any_type)
            or look.length > (self._longest if look.head is None else self._longest_binary)
            or self.ongoing.has_access_log
            or self._routes.is_slow
            or self._books.is_full
            or (is_traced and self._spans is None)
        ):
            await self._app(self._decided(scope, caller, is_traced), receive, send)
            return
        message = await receive()
        # JSON that has not arrived is rare. Tensors in bytes come in pieces: HAProxy's buffer is
        # smaller than a thousand rows.
        more = message.get("more_body", False)
        if message["type"] != "http.request" or (more and look.head is None):
            again = _again(message, receive)
            await self._app(self._decided(scope, caller, is_traced), again, send)
            return
        request_id, span = look.request_id or next(self._request_ids), None
        if is_traced and self._spans is not None:
            span = self._spans.begin(request_id.decode(), caller, look.tracestate.decode())
        await self._answer(path, look, message, receive, send, request_id=request_id, span=span)

    def _decided(self, scope: Scope, caller: Caller | None, is_traced: bool) -> Scope:  # noqa: FBT001
        """A request for Serve, with what was decided; Serve samples what no caller decides."""
        if self._sampling is None or is_traced or caller is not None:
            return scope
        return {**scope, "headers": [*scope["headers"], (TRACEPARENT_HEADER, NOT_SAMPLED)]}

    async def _answer(
        self,
        path: str,
        look: Look,
        message: Message,
        receive: Receive,
        send: Send,
        *,
        request_id: bytes,
        span: RequestSpan | None,
    ) -> None:
        parent = None if span is None else span.context
        task, status = self.ongoing.begin(), None
        try:
            try:
                body = message.get("body", b"")
                if message.get("more_body", False):
                    body += await _rest(receive)
                answer = await self._routes.predict(path, body, parent, look.head)
            except asyncio.CancelledError as error:
                if not self.ongoing.is_overdue(task):
                    raise
                answer = self._too_late(request_id)
                if span is not None:
                    span.fail(error)
            headers = answer.all_headers()
            headers.append((REQUEST_ID_HEADER, request_id))
            write_once(send)
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})
            status = answer.status
        finally:
            self.ongoing.end(task, status)
        if span is not None:
            span.end(answer.status)

    def _too_late(self, request_id: bytes) -> Answer:
        seconds = self._books.timeout_seconds
        detail = f"Request {request_id.decode()} timed out after {seconds}s."
        return Answer(for_any_protocol(detail), 408)


def look_at(headers: Collection[tuple[bytes, bytes]]) -> Look:
    """Look at a request's headers, once."""
    found = dict(headers)
    content_type, length = found.get(b"content-type"), found.get(b"content-length", b"")
    head = found.get(INFERENCE_HEADER)
    is_json = content_type == JSON_TYPE
    is_usual = (
        (head is None or len(found) == len(headers))
        and (is_json or content_type in USUAL_TYPES)
        and UNUSUAL.isdisjoint(found)
        and len(length) <= LENGTH_DIGITS
        and length.isdigit()
        and all(map(bytes.isascii, found.values()))
    )
    return Look(
        is_usual,
        is_json,
        int(length) if is_usual else 0,
        head,
        found.get(REQUEST_ID_HEADER, b""),
        found.get(TRACEPARENT_HEADER),
        found.get(TRACESTATE_HEADER, b""),
    )


async def _rest(receive: Receive) -> bytes:
    """What is left of a body; of a client that has gone away, what it has sent."""
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _again(message: Message, receive: Receive) -> Receive:
    """What receives a message that was received already, and then the others."""
    first: Message | None = message

    async def receive_again() -> Message:
        nonlocal first
        if first is None:
            return await receive()
        found, first = first, None
        return found

    return receive_again
