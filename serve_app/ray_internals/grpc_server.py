"""Serve's gRPC servers: what they have no setting for, and what is behind them.

Source: ``gRPCGenericServer`` and ``start_grpc_server`` in ray/serve/_private/grpc_util.py, which
replicas (``_maybe_start_direct_ingress_servers``) and proxies start.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from serve_app.ray_internals.direct_ingress import replica_behind

if TYPE_CHECKING:
    from starlette.types import ASGIApp

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


def serves_way_behind(app: "ASGIApp", method: str) -> Callable[..., Any] | None:
    """What answers a call as Serve does, with a message in bytes and grpcio's context.

    Args:
        app: what the HTTP server of a replica calls.
        method: with its service, as in ``/package.Service/Method``.

    Returns:
        None in a proxy, and where Serve has no gRPC.
    """
    from ray.serve._private.proxy_request_response import gRPCStreamingType
    from ray.serve._private.utils import is_grpc_enabled

    replica: Any = replica_behind(app)
    factory = getattr(replica, "_direct_ingress_service_handler_factory", None)
    options = getattr(replica, "_grpc_options", None)
    if factory is None or options is None or not is_grpc_enabled(options):
        return None
    handler: Callable[..., Any] = factory(
        service_method=method, streaming_type=gRPCStreamingType.UNARY_UNARY
    )
    return handler


def answer_here(server: Any, service: str) -> None:
    """Let ``server`` call a service's own handlers, added later, and not a replica's.

    They take no slot of ``max_ongoing_requests``, and Serve counts none of their calls.

    Args:
        server: one of Serve's.
        service: full name.
    """
    server.add_passthrough_service(service)


def proxys_way(server: Any, method: str) -> Callable[..., Any] | None:
    """What a proxy hands a call to a replica with: a message in bytes, and grpcio's context.

    Args:
        server: one of Serve's.
        method: with its service, as in ``/package.Service/Method``.

    Returns:
        None in a replica.
    """
    from ray.serve._private.proxy_request_response import gRPCStreamingType

    factory = server.service_handler_factory
    if not hasattr(getattr(factory, "__self__", None), "proxy_router"):
        return None
    handler: Callable[..., Any] = factory(
        service_method=method, streaming_type=gRPCStreamingType.UNARY_UNARY
    )
    return handler
