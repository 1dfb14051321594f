"""What Ray Serve would stumble over is answered before Serve sees it."""

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from serve_app.http.middleware import RefuseUnreadable, middlewares


def run(scope: dict[str, Any]) -> tuple[list[Message], bool]:
    """What a client is sent, and whether the request was handed on."""
    sent: list[Message] = []
    handed_on: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        handed_on.append(scope)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def go() -> None:
        await RefuseUnreadable(app)(scope, receive, send)

    asyncio.run(go())
    return sent, bool(handed_on)


@pytest.mark.parametrize("value", [b"", b"plain", "größe".encode(), b"00-zz"])
def test_readable_headers_are_handed_on(value: bytes) -> None:
    """ASCII and UTF-8 of any content are accepted."""
    headers = [(b"host", b"localhost"), (b"x-request-id", value)]
    assert run({"type": "http", "headers": headers}) == ([], True)


@pytest.mark.parametrize("value", [b"\xff", b"ok\xfe", b"\xc3"])
def test_a_header_that_is_not_utf8_is_400(value: bytes) -> None:
    """The header is named, and the connection is closed: its body is not read."""
    headers = [(b"host", b"localhost"), (b"x-request-id", value)]
    (start, body), handed_on = run({"type": "http", "headers": headers})
    assert not handed_on
    assert start["status"] == 400
    assert dict(start["headers"])[b"connection"] == b"close"
    assert json.loads(body["body"])["detail"].startswith("Header x-request-id is not UTF-8; ")


@pytest.mark.parametrize("value", [b"1e-9", b"", b"5s", b"nan", b"inf", b"1e300", b"\xef\xbc\x95"])
def test_a_time_out_that_is_no_time_is_400(value: bytes) -> None:
    """Serve would ignore it, or answer 408 with a time that the client did not ask for."""
    headers = [(b"host", b"localhost"), (b"x-request-timeout-seconds", value)]
    (start, body), handed_on = run({"type": "http", "headers": headers})
    assert (start["status"], handed_on) == (400, False)
    detail = json.loads(body["body"])["detail"]
    assert detail.startswith(f"Header x-request-timeout-seconds={value.decode()!r} is not a time")
    assert "give seconds" in detail


@pytest.mark.parametrize("value", [b"5", b"0.5", b"1e1", b"0", b"-1", b"86400"])
def test_a_time_out_in_seconds_is_handed_on(value: bytes) -> None:
    """0 and less are no limit, as Serve has it; `serve_app.http.body` has one for bodies."""
    headers = [(b"x-request-timeout-seconds", value)]
    assert run({"type": "http", "headers": headers}) == ([], True)


def test_a_websocket_is_refused() -> None:
    """There is nothing behind one; without an answer the client would wait."""
    (message,), handed_on = run({"type": "websocket", "headers": []})
    assert message["type"] == "websocket.close"
    assert not handed_on


def test_ray_is_given_the_middleware() -> None:
    """The hook returns what Ray checks for, Starlette middlewares; the last is the outermost."""
    names = [
        "Middleware(RefuseUnreadable)",
        "Middleware(LetRefusalsArrive)",
        "Middleware(direct_path)",
        "Middleware(servables_own)",
    ]
    assert [str(middleware) for middleware in middlewares()] == names
