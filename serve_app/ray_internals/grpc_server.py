"""Serve's gRPC servers: what they have no setting for, and what is behind them.

Source: ``gRPCGenericServer`` and ``start_grpc_server`` in ray/serve/_private/grpc_util.py, which
replicas (``_maybe_start_direct_ingress_servers``) and proxies start.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from serve_app.ray_internals.direct_ingress import GrpcBooks

if TYPE_CHECKING:
    import grpc

MESSAGE_VARIABLE = "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE"
"""Longest message of Serve's gRPC servers, in bytes. ray/serve/_private/constants.py."""
NO_LIMIT = -1
IDENTITY_ONLY = 1
"""``grpc.compression_enabled_algorithms_bitset``: bit 0 is no compression."""


def limit_messages(max_bytes: int) -> None:
    """Limit what the gRPC servers accept that this process will start.

    Serve's own limit, `MESSAGE_VARIABLE`, is one for requests and answers, which may be longer.
    Compressed messages are refused: their length is known only after they have been unpacked.

    Args:
        max_bytes: longest request.
    """
    from ray.serve._private import grpc_util

    limits = {
        "grpc.max_receive_message_length": max_bytes,
        "grpc.max_send_message_length": NO_LIMIT,
        "grpc.compression_enabled_algorithms_bitset": IDENTITY_ONLY,
    }
    options = {**dict(grpc_util.DEFAULT_GRPC_SERVER_OPTIONS), **limits}
    grpc_util.DEFAULT_GRPC_SERVER_OPTIONS = list(options.items())


def books_behind(server: Any) -> GrpcBooks | None:
    """Books of the replica whose gRPC ``server`` this is; None if it is no replica's."""
    factory = getattr(server, "service_handler_factory", None)
    return GrpcBooks.of(getattr(factory, "__self__", None))


def serves_way(server: Any, method: str) -> Callable[..., Any]:
    """What answers a call as Serve does.

    Args:
        server: one of Serve's.
        method: with its service, as in ``/package.Service/Method``.
    """
    from ray.serve._private.proxy_request_response import gRPCStreamingType

    handler: Callable[..., Any] = server.service_handler_factory(
        service_method=method, streaming_type=gRPCStreamingType.UNARY_UNARY
    )
    return handler


def add_own_service(server: Any, service: str, handler: "grpc.GenericRpcHandler") -> None:
    """Let ``handler`` answer the calls of ``service``, and not Serve."""
    server.add_passthrough_service(service)
    server.add_generic_rpc_handlers((handler,))
