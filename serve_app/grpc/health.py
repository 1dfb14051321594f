"""The standard health service; serve_config.yaml names `add_to_server`.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md. It answers in the server that a
call came to, and takes no place of a prediction: a service that has as many requests as it can
answer is no broken one. docs/decisions/0021-grpc.md.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2 as pb2

from serve_app.grpc.names import HEALTH
from serve_app.grpc.rpcs import SERVICE
from serve_app.ray_internals.grpc_server import answer_here, proxys_way

NAMES = ("", SERVICE.full_name)
"""What a client may ask about: the server, or the service."""
READY = f"/{SERVICE.full_name}/ServerReady"
UP = (None, 0, grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED)
"""Statuses of `READY` of a service that answers predictions, if not this one more."""
NO_WATCH = "Watch is not offered: its stream would tell of one replica, and end with it. Use Check"


def add_to_server(_servicer: Any, server: Any) -> None:
    """Add the service to ``server``, one of Serve's."""
    health = Health(proxys_way(server, READY))
    handlers = {
        "Check": grpc.unary_unary_rpc_method_handler(health.check),
        "List": grpc.unary_unary_rpc_method_handler(health.list),
        "Watch": grpc.unary_stream_rpc_method_handler(health.watch),
    }
    answer_here(server, HEALTH)
    handler = grpc.method_handlers_generic_handler(HEALTH, handlers)
    server.add_generic_rpc_handlers((handler,))


class Health:
    """The methods; their requests and answers are bytes.

    Args:
        ask: asks a replica whether it is ready, in a proxy; it sets the status of the call. None in
            a replica, which answers predictions as it answers here.
    """

    def __init__(self, ask: Callable[[bytes, Any], Awaitable[bytes]] | None) -> None:
        self._ask = ask

    async def check(self, request: bytes, context: Any) -> bytes:
        """Tell of one name; NOT_FOUND for another."""
        asked = await _parsed(pb2.HealthCheckRequest, request, context)
        if asked.service not in NAMES:
            details = f"There is no service {asked.service[:100]!r}; there is {SERVICE.full_name}"
            await context.abort(grpc.StatusCode.NOT_FOUND, details)
        await self._require_up(context)
        return _bytes(_serving())

    async def list(self, request: bytes, context: Any) -> bytes:
        """Tell of every name."""
        await _parsed(pb2.HealthListRequest, request, context)
        await self._require_up(context)
        return _bytes(pb2.HealthListResponse(statuses=dict.fromkeys(NAMES, _serving())))

    async def watch(self, _request: bytes, context: Any) -> None:
        """Refuse; clients that would watch a server's health then do without."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, NO_WATCH)

    async def _require_up(self, context: Any) -> None:
        """End the call with what a prediction would be told, unless one would be answered."""
        if self._ask is None:
            return
        await self._ask(b"", context)
        if context.code() not in UP:
            await context.abort(context.code(), context.details())
        context.set_code(grpc.StatusCode.OK)
        context.set_details("")


async def _parsed(kind: type[Message], request: bytes, context: Any) -> Any:
    try:
        return kind.FromString(request)
    except DecodeError as error:
        details = f"The request is no {kind.DESCRIPTOR.full_name}: {error}"
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, details)


def _serving() -> Message:
    return pb2.HealthCheckResponse(status=pb2.HealthCheckResponse.SERVING)


def _bytes(message: Message) -> bytes:
    written: bytes = message.SerializeToString()
    return written
