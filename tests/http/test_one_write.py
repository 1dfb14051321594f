"""An answer of the direct path leaves in one write, against the installed uvicorn."""

import asyncio
import socket
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from serve_app.http.one_write import write_once, write_with_trailers
from serve_app.runtime.ports import LOOPBACK

BODY = b'{"predicted_class":"setosa"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]


class Recorded(asyncio.Transport):
    """Notes what is written to another transport."""

    def __init__(self, transport: Any, writes: list[bytes]) -> None:
        super().__init__()
        self._transport, self._writes = transport, writes

    def write(self, data: Any) -> None:
        self._writes.append(bytes(data))
        self._transport.write(data)

    def __getattribute__(self, name: str) -> Any:
        if name in ("write", "_transport", "_writes"):
            return super().__getattribute__(name)
        return getattr(self._transport, name)


async def exchange(app: Any, request: bytes, count: int, size: int = len(BODY)) -> bytes:
    """What a client gets that sends ``count`` requests over one connection."""
    config = uvicorn.Config(app, http="httptools", log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    listener = socket.create_server((LOOPBACK, 0))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    answers = b""
    for _ in range(count):
        writer.write(request)
        answers += await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(size)
    writer.close()
    server.should_exit = True
    await task
    return answers


@pytest.mark.parametrize(("is_once", "each"), [(True, 1), (False, 2)])
def test_head_and_body_are_one_write(*, is_once: bool, each: int) -> None:
    """And two without it, so that this is worth having; the client sees no difference."""
    writes: list[bytes] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        cycle: Any = send.__self__  # type: ignore[attr-defined]
        cycle.transport = Recorded(cycle.transport, writes)
        if is_once:
            write_once(send)
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})

    got = asyncio.run(exchange(app, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 3))
    assert b"".join(writes) == got
    assert got.count(b"HTTP/1.1 200 OK\r\n") == got.count(BODY) == 3
    assert len(writes) == 3 * each


def test_an_answer_with_trailers_is_one_write() -> None:
    """In chunks, each answer of a connection; whatever its length."""
    writes: list[bytes] = []
    trailers = [(b"grpc-status", b"0"), (b"x", b"a b")]
    body = b"0" * len(BODY)

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        cycle: Any = send.__self__  # type: ignore[attr-defined]
        cycle.transport = Recorded(cycle.transport, writes)
        await write_with_trailers(send, [HEADERS[0]], body, trailers)

    size = b"%x\r\n" % len(body)
    end = b"\r\n0\r\ngrpc-status: 0\r\nx: a b\r\n\r\n"
    count = len(size + body + end)
    got = asyncio.run(exchange(app, b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", 3, count))
    assert b"".join(writes) == got
    assert got.count(b"HTTP/1.1 200 OK\r\n") == got.count(size + body + end) == len(writes) == 3
    assert got.lower().count(b"transfer-encoding: chunked\r\n") == 3


def test_a_server_that_can_send_no_trailers_is_named() -> None:
    """Rather than an answer without its status."""

    async def send(message: Any) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="trailers"):
        asyncio.run(write_with_trailers(send, HEADERS, BODY, []))


def test_a_connection_that_is_closed_gets_its_answer() -> None:
    """The close comes after the write."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        write_once(send)
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})

    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    got = asyncio.run(exchange(app, request, 1))
    assert b"connection: close\r\n" in got.lower()
    assert got.endswith(BODY)


def test_another_server_is_left_alone() -> None:
    """A bound method of something else, or a function."""

    class Other:
        transport = "its own"

        async def send(self, message: Any) -> None:
            raise AssertionError

    async def send(message: Any) -> None:
        raise AssertionError

    other = Other()
    write_once(other.send)
    write_once(send)
    assert other.transport == "its own"
