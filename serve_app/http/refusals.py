"""Lets every refusal reach the client, and in the same form.

A client that still sends its body when it is refused gets a reset connection in place of the
answer: HAProxy reads no further. So the rest of the body is read and thrown away first, within
limits. Ray Serve refuses in plain text; the body becomes JSON with ``detail``, as the service's own
protocol has it, and ``error``, as the others have. Where Serve fails without an answer, its server
would make one in plain text; this module makes it.
"""

import asyncio
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.http.body import CLIENT_TIMEOUT_HEADER, MAX_LENGTH_DIGITS
from serve_app.protocols.answers import for_any_protocol

MAX_DISCARDED_BYTES = 32 * 1024 * 1024
"""A longer body is not read to its end; its client may see a reset connection."""
MAX_DISCARD_SECONDS = 5.0
"""For a client that sends slowly; it is refused after that, and may see a reset connection."""
MANY_DIGITS = 5
"""Of a Content-Length: what is shorter has arrived, or fits into the buffers in between."""
MAX_DETAIL = 1_000
"""Characters."""
FAILED = for_any_protocol("Ray Serve failed on this request; the log of the service says more")
FAILED_START: Message = {
    "type": "http.response.start",
    "status": HTTPStatus.INTERNAL_SERVER_ERROR,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(FAILED)),
        (b"connection", b"close"),  # the request's body may not have been read
    ],
}


class LetRefusalsArrive:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, and change how it is refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = Body(receive) if _is_long(scope) else None
        held: Message | None = None
        answered = False

        async def answer(message: Message) -> None:
            nonlocal held, answered
            if held is not None:
                start, held = held, None
                start, message = _in_json(start, message, _clients_timeout(scope, start))
                await send(start)
            elif message["type"] == "http.response.start" and message["status"] >= 400:  # noqa: PLR2004
                # A body that is too slow would not end now, either.
                if body is not None and message["status"] != HTTPStatus.REQUEST_TIMEOUT:
                    await body.discard()
                if _is_text(message):
                    held = message
                    return
            answered = True
            await send(message)

        try:
            await self._app(scope, receive if body is None else body.receive, answer)
        finally:
            if not answered:
                held = None
                await answer(FAILED_START)
                await answer({"type": "http.response.body", "body": FAILED})


class Body:
    """A request's body, which a reader and `discard` may receive at the same time."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._one_at_a_time = asyncio.Lock()
        self._ended = False
        self._discarding = False
        self._discarded = 0

    async def receive(self) -> Message:
        """The next message; without its part of the body if that is thrown away."""
        async with self._one_at_a_time:
            return await self._next()

    async def discard(self) -> None:
        """Receive what is left of the body, within the limits of size and time."""
        self._discarding = True
        try:
            async with asyncio.timeout(MAX_DISCARD_SECONDS):
                while not self._ended and self._discarded < MAX_DISCARDED_BYTES:
                    async with self._one_at_a_time:
                        # It may have ended while the other one received.
                        if not self._ended:
                            await self._next()
        except TimeoutError:
            pass

    async def _next(self) -> Message:
        message = await self._receive()
        self._ended = not message.get("more_body", False)
        if self._discarding and message["type"] == "http.request":
            # Serve would keep it in memory.
            self._discarded += len(message.get("body", b""))
            message = {**message, "body": b""}
        return message


def _is_long(scope: Scope) -> bool:
    """Whether the body may still be on its way when the request is refused, and has a bound."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return len(value) >= MANY_DIGITS and value.isdigit() and _is_bounded(value)
        if name == b"transfer-encoding":
            return True
    return False


def _is_bounded(length: bytes) -> bool:
    # Python refuses to convert thousands of digits.
    return int(length[:MAX_LENGTH_DIGITS]) <= MAX_DISCARDED_BYTES


def _is_text(start: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/plain")
        for name, value in start["headers"]
    )


def _clients_timeout(scope: Scope, start: Message) -> str | None:
    """What to say of a time-out that the client has set; Serve would name its own in its place."""
    if start["status"] == HTTPStatus.REQUEST_TIMEOUT:
        for name, value in scope["headers"]:
            if name == CLIENT_TIMEOUT_HEADER:
                header = name.decode()
                return f"The request took longer than {value.decode()} s, as {header} asks"
    return None


def _in_json(start: Message, body: Message, detail: str | None) -> tuple[Message, Message]:
    """A whole answer in plain text as JSON; an answer in parts as it is.

    Args:
        start: the answer's head.
        body: the answer's body.
        detail: what to say in place of its text.
    """
    if body["type"] != "http.response.body" or body.get("more_body", False):
        return start, body
    if detail is None:
        detail = body.get("body", b"").decode("utf-8", errors="replace")[:MAX_DETAIL]
    content = for_any_protocol(detail)
    changed = (b"content-type", b"content-length")
    headers = [
        *((name, value) for name, value in start["headers"] if name.lower() not in changed),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(content)),
    ]
    return {**start, "headers": headers}, {**body, "body": content}
