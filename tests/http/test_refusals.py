"""A refusal reaches a client that still sends its body, and is JSON whoever refuses."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from serve_app.http import refusals
from serve_app.http.refusals import MAX_DISCARDED_BYTES, LetRefusalsArrive
from serve_app.runtime.ports import LOOPBACK, free_port
from tests.support.waiting import wait_until

MEGABYTE = 1024 * 1024
Headers = list[tuple[bytes, bytes]]


def exchange(
    app: Any, headers: Headers, parts: list[bytes], *, reads_ahead: bool = False
) -> tuple[list[Message], int]:
    """What ``app`` is let answer to a body in ``parts``, and how many of them were left.

    Args:
        app: refuses.
        headers: of the request.
        parts: of its body; the last one ends it.
        reads_ahead: receive next to ``app`` all the time, as Ray Serve does.
    """
    sent: list[Message] = []
    left = list(parts)

    async def receive() -> Message:
        await asyncio.sleep(0)
        if not left:
            await asyncio.Event().wait()  # a client that waits for its answer
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def read_ahead() -> None:
            while True:
                await receive()

        task = asyncio.create_task(read_ahead()) if reads_ahead else None
        await app(scope, receive, send)
        if task is not None:
            task.cancel()

    scope = {"type": "http", "method": "POST", "headers": headers}
    asyncio.run(asyncio.wait_for(LetRefusalsArrive(serve)(scope, receive, send), 20))
    return sent, len(left)


def length(parts: list[bytes]) -> Headers:
    return [(b"content-length", b"%d" % sum(map(len, parts)))]


PARTS = [b"x" * MEGABYTE] * 15


@pytest.mark.parametrize("headers", [length(PARTS), [(b"transfer-encoding", b"chunked")]])
@pytest.mark.parametrize("reads_ahead", [False, True])
def test_a_body_is_read_to_its_end_before_it_is_refused(
    headers: Headers, *, reads_ahead: bool
) -> None:
    """Also where Serve receives at the same time."""
    sent, left = exchange(PlainTextResponse("no", 413), headers, PARTS, reads_ahead=reads_ahead)
    assert left == 0
    assert sent[0]["status"] == 413


def test_a_body_that_is_too_long_is_not_read() -> None:
    """One that says so is not begun; another is given up at the bound."""
    parts = [b"x" * MEGABYTE] * 100
    _, left = exchange(PlainTextResponse("no", 413), length(parts), parts)
    assert left == len(parts)
    chunked = [(b"transfer-encoding", b"chunked")]
    _, left = exchange(PlainTextResponse("no", 413), chunked, parts)
    assert left == len(parts) - MAX_DISCARDED_BYTES // MEGABYTE


@pytest.mark.parametrize("digits", [b"9" * 5000, b"many", b"-100000"])
def test_any_length_is_taken(digits: bytes) -> None:
    """What is no length of a body is not read, and is answered all the same."""
    sent, left = exchange(PlainTextResponse("no", 400), [(b"content-length", digits)], [b"x"])
    assert (sent[0]["status"], left) == (400, 1)


def test_a_body_that_stops_is_refused_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends no more gets its answer; Serve's 408 has waited long enough already."""
    monkeypatch.setattr(refusals, "MAX_DISCARD_SECONDS", 0.1)
    headers = [(b"content-length", b"1000000")]
    sent, _ = exchange(PlainTextResponse("no", 413), headers, [])
    assert sent[0]["status"] == 413
    monkeypatch.setattr(refusals, "MAX_DISCARD_SECONDS", 60)
    sent, _ = exchange(PlainTextResponse("late", 408), headers, [])
    assert sent[0]["status"] == 408


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_refusal_in_text_becomes_json(status: int) -> None:
    """Serve's own words are ``detail``; other headers, Retry-After among them, stay."""
    app = PlainTextResponse("Request dropped", status, {"retry-after": "1"})
    (start, body), _ = exchange(app, [], [])
    assert json.loads(body["body"]) == {
        "detail": "Request dropped",
        "error": "Request dropped",
    }
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"content-length"] == b"%d" % len(body["body"])
    assert headers[b"retry-after"] == b"1"
    assert len(start["headers"]) == 3


def test_a_time_out_of_the_client_is_named() -> None:
    """Serve's own words name the time-out of the service."""
    headers = [(b"x-request-timeout-seconds", b"0.25")]
    app = PlainTextResponse("Request 1 timed out after 10.0s.", 408)
    (_, body), _ = exchange(app, headers, [])
    assert json.loads(body["body"])["detail"] == (
        "The request took longer than 0.25 s, as x-request-timeout-seconds asks"
    )


def test_everything_else_is_left_alone() -> None:
    """Success in text, an answer in parts, and a body that the application reads itself."""
    (start, body), _ = exchange(PlainTextResponse("yes"), [], [])
    assert (body["body"], dict(start["headers"])[b"content-length"]) == (b"yes", b"3")
    stream = StreamingResponse(iter(["a", "b"]), 500, media_type="text/plain")
    (start, *bodies), _ = exchange(stream, [], [])
    assert b"".join(each["body"] for each in bodies) == b"ab"
    assert dict(start["headers"])[b"content-type"].startswith(b"text/plain")

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        await PlainTextResponse(str(len(body)))(scope, receive, send)

    (_, body), left = exchange(echo, length(PARTS), PARTS)
    assert (int(body["body"]), left) == (15 * MEGABYTE, 0)


async def fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """As Serve when it cannot reach a replica: the exception is for its server's log."""
    raise RuntimeError("Serve has lost its replica")


async def is_cancelled(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """As Serve at the end of a replica."""
    raise asyncio.CancelledError


async def answers_nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """As Serve's fallback proxy after an error of the replica."""


async def begins_an_answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    """In plain text, of which the body never comes."""
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    raise RuntimeError("Serve has lost its replica")


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse at once."""
    await PlainTextResponse("no", 413)(scope, receive, send)


@pytest.fixture
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A real server, whose requests are refused at once, or as the test says."""
    chosen = free_port()
    app = LetRefusalsArrive(getattr(request, "param", refuse))
    config = uvicorn.Config(app, host=LOOPBACK, port=chosen, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield chosen
    server.should_exit = True
    thread.join()


def test_a_client_that_still_sends_gets_the_answer(port: int) -> None:
    """http.client, as urllib and others: it reads no answer before it has sent its whole body."""
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=30)) as client:
        client.putrequest("POST", "/")
        client.putheader("content-length", str(15 * MEGABYTE))
        client.endheaders()
        for _ in range(15):
            client.send(b"x" * MEGABYTE)
            time.sleep(0.01)  # the answer must not come before the end
        answer = client.getresponse()
        said = {"detail": "no", "error": "no"}
        assert (answer.status, json.loads(answer.read())) == (413, said)


@pytest.mark.parametrize(
    "port", [fails, is_cancelled, answers_nothing, begins_an_answer], indirect=True
)
@pytest.mark.parametrize("megabytes", [0, 15])
def test_a_failure_of_serve_itself_is_json(port: int, megabytes: int) -> None:
    """The server would make plain text of it; a client that still sends gets it, too."""
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=30)) as client:
        client.request("POST", "/", b"x" * megabytes * MEGABYTE)
        answer = client.getresponse()
        assert answer.status == 500
        assert answer.headers["content-type"] == "application/json"
        assert "Ray Serve failed" in json.loads(answer.read())["detail"]
        assert answer.headers["connection"] == "close"
