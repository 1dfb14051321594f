"""A request is exchanged over HTTP and over gRPC, and what fails is told alike."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from bench.messages import NoAnswerError, Request
from bench.transports import GRPC, HTTP, require_generator
from serve_app.errors import UserError
from serve_app.runtime.ports import free_port
from tests.support.grpc_service import GrpcServer, server_of_one_method
from tests.support.loopback import LoopbackServer, QuietHandler


class Echo(QuietHandler):
    """Answers what it is sent, or refuses."""

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        body = self.rfile.read(int(self.headers["content-length"]))
        self.answer(body, 429 if body == b"refuse" else 200)


@pytest.fixture
def server() -> Iterator[GrpcServer]:
    """Answers what it is sent, or refuses."""

    async def answer(message: bytes, context: Any) -> Any:
        if message == b"refuse":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        return message + dict(context.invocation_metadata()).get("more", "").encode()

    with server_of_one_method(answer) as started:
        yield started


def test_http_posts_bytes() -> None:
    """The answer has a body and headers; another status is a refusal."""
    with LoopbackServer(Echo) as server:
        answer = HTTP.exchange(Request(f"{server.url}/x", b"\x00\xff"))
        assert (answer.body, answer.headers["content-length"]) == (b"\x00\xff", "2")
        with pytest.raises(NoAnswerError, match=r"^answered 429: refuse"):
            HTTP.exchange(Request(f"{server.url}/x", b"refuse"))


def test_grpc_calls_with_bytes(server: GrpcServer) -> None:
    """Headers are metadata; a status that is not OK is a refusal."""
    url = f"http://{server.address}/a.B/Call"
    assert GRPC.exchange(Request(url, b"one", {"more": "two"})).body == b"onetwo"
    with pytest.raises(NoAnswerError, match=r"^answered NOT_FOUND: no such model"):
        GRPC.exchange(Request(url, b"refuse", {}))


@pytest.mark.parametrize("transport", [HTTP, GRPC])
def test_nothing_at_the_address_is_no_answer(transport: Any) -> None:
    """A server that has not started is asked again, not taken for a fault."""
    with pytest.raises(NoAnswerError, match=r"does not answer|UNAVAILABLE"):
        transport.exchange(Request(f"http://127.0.0.1:{free_port()}/a.B/Call", b"", {}))


def test_a_missing_generator_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which package has it."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"h2load, .* apt install nghttp2-client"):
        require_generator("h2load")
