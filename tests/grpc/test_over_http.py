"""What arrives as HTTP/1.1 is a call with one message, or is refused with gRPC's status."""

import asyncio
import http.client
import inspect
from collections.abc import Iterable
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from ray.serve._private.grpc_util import set_grpc_code_and_details
from ray.serve._private.http_util import _apply_middlewares
from ray.serve._private.proxy_request_response import ResponseStatus
from ray.serve.config import gRPCOptions
from ray.serve.grpc_util import RayServegRPCContext
from starlette.types import Message, Receive, Scope, Send

from serve_app.grpc.names import MODEL_INFER
from serve_app.grpc.over_http import Call, GrpcOverHttp, over_http, while_connected
from serve_app.grpc.rpcs import SERVICE, Rpcs
from serve_app.http.middleware import middlewares
from tests.grpc.behind_haproxy import BehindHaproxy, HttpServer
from tests.grpc.lane import SERVES_WAY, healthy
from tests.support.grpc_service import GrpcClient, Outcome, infer_request
from tests.support.waiting import wait_until

LONGEST = 40_000
"""More than HAProxy's buffer holds."""
Code = grpc.StatusCode


async def echo(request: bytes, context: Any) -> bytes:
    """Answer with the message, or refuse what begins with ``no``."""
    context.set_trailing_metadata((("request_id", "7"), ("x-said", "größe\n")))
    if request.startswith(b"no"):
        context.set_code(Code.NOT_FOUND)
        context.set_details("100 % größe\n")
    return request


def server(answer: Any = echo, seconds: float = 10) -> GrpcOverHttp:
    """Answers ModelInfer."""
    return GrpcOverHttp(healthy, answer, longest=LONGEST, seconds=seconds)


def call(client: GrpcClient, message: bytes, **options: Any) -> tuple[Outcome, bytes]:
    """What became of a call whose messages are any bytes."""
    asked = client.channel.unary_unary(MODEL_INFER)
    try:
        answer, ended = asked.with_call(message, timeout=10, **options)
    except grpc.RpcError as error:
        trailers = dict(error.trailing_metadata())
        return Outcome(error.code(), error.details(), None, trailers), b""
    return Outcome(ended.code(), ended.details(), None, dict(ended.trailing_metadata())), answer


def framed(message: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """A message with its prefix."""
    length = len(message) if length is None else length
    return bytes([flag]) + length.to_bytes(4) + message


def posted(
    address: str,
    parts: Iterable[bytes],
    method: str = "POST",
    path: str = MODEL_INFER,
    kind: str = "application/grpc",
) -> http.client.HTTPResponse:
    """The answer to a body in parts, without HAProxy."""
    with closing(http.client.HTTPConnection(address, timeout=20)) as connection:
        connection.request(method, path, iter(parts), {"content-type": kind}, encode_chunked=True)
        answer = connection.getresponse()
        answer.read()
    return answer


def test_the_path_is_that_of_the_proto() -> None:
    """HAProxy's config, which knows no proto, names the same method."""
    assert f"/{SERVICE.full_name}/{SERVICE.methods_by_name['ModelInfer'].name}" == MODEL_INFER


@pytest.mark.parametrize("size", [0, 1, 1000, LONGEST])
def test_a_message_comes_and_goes_whole(size: int) -> None:
    """Of any length up to the limit, also an empty one; with what is said after it."""
    with BehindHaproxy(server()) as proxy, GrpcClient(proxy.address) as client:
        message = b"\r\n" * (size // 2) + b"0" * (size % 2)
        for _ in range(3):
            found, answer = call(client, message)
            assert (found.code, answer) == (Code.OK, message)
            assert found.trailers == {"request_id": "7", "x-said": "gr%C3%B6%C3%9Fe%0A"}


def test_a_refusal_has_its_status_and_reason() -> None:
    """In any characters; the connection takes the next call."""
    with BehindHaproxy(server()) as proxy, GrpcClient(proxy.address) as client:
        found, _ = call(client, b"no")
        assert found[:2] == (Code.NOT_FOUND, "100 % größe\n")
        assert found.trailers["request_id"] == "7"
        assert call(client, b"yes")[1] == b"yes"


@pytest.mark.parametrize("size", [LONGEST + 1, 3_000_000])
def test_a_message_that_is_too_long_is_refused(size: int) -> None:
    """By what its prefix says, and the client is told although it is still sending."""
    with BehindHaproxy(server()) as proxy, GrpcClient(proxy.address) as client:
        found, _ = call(client, b"0" * size)
        assert found.code is Code.RESOURCE_EXHAUSTED
        assert found.details == f"The message has {size} bytes; the limit is {LONGEST}"
        assert call(client, b"yes")[1] == b"yes"


@pytest.mark.parametrize("message", [b"", b"\0" * 3000])
def test_a_compressed_message_is_refused(message: bytes) -> None:
    """Its length is known only after it has been unpacked."""
    with BehindHaproxy(server()) as proxy, GrpcClient(proxy.address) as client:
        found, _ = call(client, message, compression=grpc.Compression.Gzip)
        assert found.code is Code.UNIMPLEMENTED
        assert "gzip" in found.details


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([], Code.INVALID_ARGUMENT),
        ([b"\0\0"], Code.INVALID_ARGUMENT),
        ([framed(b"abc")[:-1]], Code.INVALID_ARGUMENT),
        ([framed(b"abc") + b"d"], Code.INVALID_ARGUMENT),
        ([framed(b"abc"), framed(b"abc")], Code.INVALID_ARGUMENT),
        ([framed(b"abc"), b"d" * 100_000, b"d" * 100_000], Code.INVALID_ARGUMENT),
        ([framed(b"abc", flag=1)], Code.UNIMPLEMENTED),
        ([framed(b"abc", flag=2)], Code.UNIMPLEMENTED),
        ([framed(b"", length=LONGEST + 1)], Code.RESOURCE_EXHAUSTED),
        ([framed(b"", length=2**32 - 1), b"a", b"b"], Code.RESOURCE_EXHAUSTED),
    ],
)
def test_what_is_not_one_message_is_refused(parts: list[bytes], code: grpc.StatusCode) -> None:
    """None, part of one, several; each with its status, which is in the head of the answer."""
    with HttpServer(server()) as replica:
        answer = posted(replica.address, parts)
        assert (answer.status, answer.headers["grpc-status"]) == (200, str(code.value[0]))
        assert answer.headers["grpc-message"]
        assert answer.headers["content-type"] == "application/grpc"


def test_a_message_in_parts_is_put_together() -> None:
    """However it is cut."""
    with HttpServer(server()) as replica:
        whole = framed(b"no such thing")
        answer = posted(replica.address, [bytes([each]) for each in whole])
        assert answer.headers["grpc-status"] == str(Code.NOT_FOUND.value[0])


def test_a_message_that_does_not_come_is_not_waited_for() -> None:
    """DEADLINE_EXCEEDED after the time for a body."""
    with (
        HttpServer(server(seconds=0.1)) as replica,
        closing(http.client.HTTPConnection(replica.address, timeout=20)) as connection,
    ):
        connection.putrequest("POST", MODEL_INFER)
        connection.putheader("content-type", "application/grpc")
        connection.putheader("transfer-encoding", "chunked")
        connection.endheaders(b"3\r\n\0\0\0\r\n")
        answer = connection.getresponse()
        answer.read()
    assert answer.headers["grpc-status"] == str(Code.DEADLINE_EXCEEDED.value[0])


@pytest.mark.parametrize("seen", [0, 1])
def test_a_client_that_has_gone_away_is_not_answered(seen: int) -> None:
    """Before its message is there."""
    sent, parts = list[Message](), [b"\0\0\0"] * seen

    async def receive() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": True}
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/grpc")]
    scope = {"type": "http", "method": "POST", "path": MODEL_INFER, "headers": headers}

    async def ask() -> None:
        await server()(scope, receive, send)

    asyncio.run(ask())
    assert sent == []


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", MODEL_INFER, "application/grpc"),
        ("POST", "/more" + MODEL_INFER, "application/grpc"),
        ("POST", "/predict/", "application/grpc"),
        ("POST", MODEL_INFER, "application/json"),
        ("POST", MODEL_INFER, "application/grpc-web"),
    ],
)
def test_what_is_no_call_is_handed_on(method: str, path: str, kind: str) -> None:
    """As it is; uvicorn takes the middleware for the ASGI 3 that it is."""
    app = server()
    assert inspect.iscoroutinefunction(app.__call__)
    with HttpServer(app) as replica:
        answer = posted(replica.address, [b""], method, path, kind)
        assert "grpc-status" not in answer.headers


def test_serves_way_ends_when_the_client_goes_away() -> None:
    """As in grpcio's server; a call that waits for its turn waits for nothing."""
    states: list[str] = []

    async def hang(_request: bytes, _context: Any) -> bytes:
        states.append("waits")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            states.append("ended")
            raise
        return b""

    app = server(while_connected(hang))
    with BehindHaproxy(app) as proxy, GrpcClient(proxy.address) as client:
        asked = client.channel.unary_unary(MODEL_INFER).future(b"", timeout=30)
        wait_until(lambda: states == ["waits"])
        asked.cancel()
        wait_until(lambda: states == ["waits", "ended"])


def test_serve_takes_it_for_grpcios_context() -> None:
    """It reads and sets what the installed Serve reads and sets."""
    headers = [(b"request_id", b"mine"), (b"application", b"classifier")]

    async def receive() -> Message:
        raise AssertionError

    made: Any = Call({"headers": headers, "client": ("10.0.0.1", 80)}, receive)
    context = RayServegRPCContext(made)
    assert (context.request_id(), context.application()) == ("mine", "classifier")
    context.set_trailing_metadata([("request_id", "mine")])
    context._set_on_grpc_context(made)
    set_grpc_code_and_details(made, ResponseStatus(code=Code.RESOURCE_EXHAUSTED, message="full"))
    assert (made.code(), made.details()) == (Code.RESOURCE_EXHAUSTED, "full")
    assert made.trailing_metadata() == (("request_id", "mine"),)
    assert made.peer() == "ipv4:10.0.0.1:80"


class Replica:
    """As Serve's, as far as calls are concerned; it answers nothing itself."""

    def __init__(self, rpcs: Rpcs, *, is_direct: bool, has_grpc: bool = True) -> None:
        def wrap(app: Any) -> Any:
            return over_http(app, rpcs, is_direct=is_direct)

        deployment = SimpleNamespace(http_middleware=wrap)
        self._user_callable_wrapper = SimpleNamespace(user_callable=deployment)
        self._metrics_manager = SimpleNamespace(
            _cached_metrics_enabled=True,
            inc_num_ongoing_requests=lambda _metadata: None,
            dec_num_ongoing_requests=lambda _metadata: None,
        )
        self._semaphore = SimpleNamespace(locked=lambda: False, _value=0, release=lambda: None)
        self._deployment_id = SimpleNamespace(app_name="classifier", name="Classifier")
        self._replica_id = SimpleNamespace(unique_id="1")
        logging_config = {"enable_access_log": False}
        self._deployment_config = SimpleNamespace(logging_config=logging_config)
        functions = ["serve_app.grpc.server:add_to_server"] if has_grpc else []
        self._grpc_options = gRPCOptions(
            port=9000, request_timeout_s=7, grpc_servicer_functions=functions
        )

    def _direct_ingress_service_handler_factory(
        self, service_method: str, streaming_type: object
    ) -> Any:
        async def handler(_request: bytes, context: Any) -> bytes:
            context.set_code(Code.ABORTED)
            context.set_details(SERVES_WAY)
            return b""

        assert service_method == MODEL_INFER
        return handler

    async def _direct_ingress_asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        await healthy(scope, receive, send)

    @property
    def app(self) -> Any:
        """What its HTTP server calls."""
        return _apply_middlewares(self._direct_ingress_asgi, middlewares())


@pytest.mark.parametrize(("is_direct", "code"), [(True, Code.OK), (False, Code.ABORTED)])
def test_a_replica_answers_calls_with_or_without_serve(
    rpcs: Rpcs, is_direct: bool, code: grpc.StatusCode
) -> None:
    """HAProxy need not know which."""
    app = Replica(rpcs, is_direct=is_direct).app
    with BehindHaproxy(app) as proxy, GrpcClient(proxy.address) as client:
        found = client("ModelInfer", infer_request())
        assert found.code is code
        assert found.details == ("" if is_direct else SERVES_WAY)


def test_a_service_without_grpc_has_none_over_http_either(rpcs: Rpcs) -> None:
    """Nor has a proxy, which has no replica behind it."""
    replica = Replica(rpcs, is_direct=True, has_grpc=False)
    for app in (replica._direct_ingress_asgi, healthy):
        assert over_http(app, rpcs, is_direct=True) is app
