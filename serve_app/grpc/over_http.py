"""ModelInfer, as HAProxy hands it to the HTTP server of a replica.

HAProxy speaks gRPC to clients, and HTTP/1.1 to replicas: a call is a POST whose body is the message
behind a prefix of five bytes, and its status is in the trailers of the answer. grpcio's server
takes ten times as long for a call as what it calls. docs/decisions/0021-grpc.md.
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

import asyncio
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import grpc
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.grpc.direct import DirectRpc, ServesWay
from serve_app.grpc.names import CONTENT_TYPES, MODEL_INFER
from serve_app.grpc.rpcs import RpcError, Rpcs
from serve_app.http.one_write import write_with_trailers
from serve_app.http.refusals import Body
from serve_app.ray_internals.direct_ingress import GrpcBooks
from serve_app.ray_internals.grpc_server import replica_handler
from serve_app.tracing.relay import relay_of_process
from serve_app.tracing.requests import RequestSpans
from serve_app.tracing.sampling import Sampling

PREFIX_BYTES = 5
"""Before a message: whether it is compressed, and its length."""
CONTENT_TYPE = (b"content-type", b"application/grpc")
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
"""What the value of a trailer may have; all else is percent-encoded, and in a message ``%`` is."""
PRINTABLE_BUT_PERCENT = PRINTABLE.replace("%", "")

Metadata = tuple[tuple[str, str], ...]


def over_http(app: ASGIApp, rpcs: Rpcs, *, is_direct: bool) -> ASGIApp:
    """``app`` behind what answers ModelInfer, in a replica of a service that has gRPC.

    Args:
        app: the replica's HTTP server.
        rpcs: what answers.
        is_direct: whether a usual call skips Serve's own path.
    """
    serve = replica_handler(app, MODEL_INFER)
    if serve is None:
        return app
    answer, books = while_connected(serve), GrpcBooks.behind(app)
    if is_direct and books is not None:
        relay = relay_of_process()
        method = MODEL_INFER.rpartition("/")[2]
        spans = None if relay is None else RequestSpans(books.span_of(method), relay.put)
        sampling = Sampling.of_process()
        direct = DirectRpc(MODEL_INFER, answer, books, rpcs, sampling=sampling, spans=spans)
        answer = direct.answer
    limits = rpcs.settings
    return GrpcOverHttp(app, answer, longest=limits.max_body_bytes, seconds=limits.max_body_seconds)


class GrpcOverHttp:
    """ASGI middleware; see the module.

    Args:
        app: answers all other requests.
        answer: answers a call.
        longest: bytes of the longest message.
        seconds: most for a message that comes in parts.
    """

    def __init__(self, app: ASGIApp, answer: ServesWay, *, longest: int, seconds: float) -> None:
        self._app = app
        self._answer = answer
        self._longest = longest
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call, or hand a request on, for which this must cost next to nothing."""
        if scope["type"] == "http" and scope["path"].endswith(MODEL_INFER) and _is_call(scope):
            await self._answer_call(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer_call(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = await receive()
        if first["type"] != "http.request":
            return
        call, answer = Call(scope, receive), b""
        data: bytes | None = first.get("body", b"")
        rest = Body(receive) if first.get("more_body", False) else None
        try:
            if data is not None and rest is not None:
                data = await self._whole(data, rest)
            if data is None:
                return  # the client has gone away
            request = self._message(call, data)
        except RpcError as error:
            if rest is not None:
                await rest.discard()
            call.set_code(error.code)
            call.set_details(str(error))
        else:
            answer = await self._answer(request, call)
        await call.send(answer, send)

    async def _whole(self, first: bytes, rest: Body) -> bytes | None:
        """A body that comes in parts, or as much of one as is too much; None if it has no end.

        Raises:
            RpcError: the message is compressed, too long, or too slow.
        """
        data, more = bytearray(first), True
        try:
            async with asyncio.timeout(self._seconds):
                while more and (
                    len(data) < PREFIX_BYTES or len(data) <= PREFIX_BYTES + self._length(data)
                ):
                    message = await rest.receive()
                    if message["type"] != "http.request":
                        return None
                    data += message.get("body", b"")
                    more = message.get("more_body", False)
        except TimeoutError:
            details = f"The message did not arrive within {self._seconds} s"
            raise RpcError(grpc.StatusCode.DEADLINE_EXCEEDED, details) from None
        return bytes(data)

    def _message(self, call: "Call", data: bytes) -> bytes:
        """The message of a body.

        Raises:
            RpcError: it is compressed, too long, or not one.
        """
        if call.encoding != "identity":
            raise _compressed(call.encoding)
        length, found = self._length(data), len(data) - PREFIX_BYTES
        if length != found:
            details = (
                f"A call has one message: {max(found, 0)} bytes are there where its prefix says "
                f"{length}"
            )
            raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, details)
        return data[PREFIX_BYTES:]

    def _length(self, data: bytes | bytearray) -> int:
        """What the prefix says; 0 if there is none.

        Raises:
            RpcError: the message is compressed, or too long.
        """
        prefix = data[:PREFIX_BYTES]
        if prefix[:1] not in (b"", b"\0"):
            raise _compressed("a flag")
        length = int.from_bytes(prefix[1:])
        if len(prefix) == PREFIX_BYTES and length > self._longest:
            details = f"The message has {length} bytes; the limit is {self._longest}"
            raise RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, details)
        return length


class Call:
    """What is known of a call, and is to be answered: as much of grpcio's context as Serve uses."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._client = scope.get("client")
        self._metadata = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        )
        self.encoding = dict(self._metadata).get("grpc-encoding", "identity")
        """How messages are compressed."""
        self._code: Any = 0
        self._details = ""
        self._trailers: Metadata = ()

    def invocation_metadata(self) -> Metadata:
        """What came with the call."""
        return self._metadata

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, str]]) -> None:
        """Set what goes with the status."""
        self._trailers = tuple(metadata)

    def trailing_metadata(self) -> Metadata:
        """What goes with the status."""
        return self._trailers

    def set_code(self, code: Any) -> None:
        """Set the status."""
        self._code = code

    def code(self) -> Any:
        """The status; 0 until it is set."""
        return self._code

    def set_details(self, details: str) -> None:
        """Set the reason."""
        self._details = details

    def details(self) -> str:
        """The reason."""
        return self._details

    def peer(self) -> str:
        """Address of the client, which is HAProxy."""
        return "" if self._client is None else f"ipv4:{self._client[0]}:{self._client[1]}"

    def auth_context(self) -> dict[str, Any]:
        """Nothing: there is no TLS."""
        return {}

    def peer_identities(self) -> None:
        """None, either."""

    def peer_identity_key(self) -> None:
        """None, either."""

    async def gone(self) -> None:
        """Wait until the client has gone away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def send(self, message: bytes, send: Send) -> None:
        """Send the answer: a message and its status, or the status of a refusal."""
        code = self._code.value[0] if isinstance(self._code, grpc.StatusCode) else self._code
        trailers = [(b"grpc-status", b"%d" % code)]
        if self._details:
            said = quote(self._details, safe=PRINTABLE_BUT_PERCENT, errors="replace")
            trailers.append((b"grpc-message", said.encode()))
        trailers += ((name.encode(), _printable(value)) for name, value in self._trailers)
        if code == 0:
            data = b"\0" + len(message).to_bytes(PREFIX_BYTES - 1) + message
            await write_with_trailers(send, [CONTENT_TYPE], data, trailers)
            return
        headers = [CONTENT_TYPE, *trailers, (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def while_connected(serve: ServesWay) -> ServesWay:
    """``serve``, which ends as soon as the client has gone away, as in grpcio's server."""

    async def answer(request: bytes, context: Any) -> bytes:
        way = asyncio.ensure_future(serve(request, context))
        gone = asyncio.ensure_future(context.gone())
        try:
            await asyncio.wait((way, gone), return_when=asyncio.FIRST_COMPLETED)
            return way.result() if way.done() else b""
        finally:
            way.cancel()
            gone.cancel()

    return answer


def _is_call(scope: Scope) -> bool:
    is_grpc = dict(scope["headers"]).get(CONTENT_TYPE[0]) in CONTENT_TYPES
    path: str = scope["path"]
    return (
        is_grpc
        and scope["method"] == "POST"
        and path.removeprefix(scope.get("root_path", "")) == MODEL_INFER
    )


def _compressed(how: str) -> RpcError:
    details = f"Messages are not compressed here; this one says so with {how[:100]!r}"
    return RpcError(grpc.StatusCode.UNIMPLEMENTED, details)


def _printable(value: str) -> bytes:
    if value.isascii() and value.isprintable():
        return value.encode()
    return quote(value, safe=PRINTABLE, errors="replace").encode()
