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


def replica_handler(app: "ASGIApp", method: str) -> Callable[..., Any] | None:
    """What answers a call as the gRPC server of a replica does, with all that Serve does around it.

    Args:
        app: what the HTTP server of the replica calls.
        method: with its service, as in ``/package.Service/Method``.

    Returns:
        A coroutine function of a message in bytes and grpcio's context; None in a proxy, and where
        Serve has no gRPC.
    """
    from ray.serve._private.utils import is_grpc_enabled

    replica: Any = replica_behind(app)
    factory = getattr(replica, "_direct_ingress_service_handler_factory", None)
    options = getattr(replica, "_grpc_options", None)
    if factory is None or options is None or not is_grpc_enabled(options):
        return None
    return _unary(factory, method)


def proxy_handler(server: Any, method: str) -> Callable[..., Any] | None:
    """What hands a call from a proxy to a replica.

    Args:
        server: a gRPC server of Serve's.
        method: with its service, as in ``/package.Service/Method``.

    Returns:
        A coroutine function of a message in bytes and grpcio's context; None in a replica.
    """
    factory = server.service_handler_factory
    if not hasattr(getattr(factory, "__self__", None), "proxy_router"):
        return None
    return _unary(factory, method)


def _unary(factory: Callable[..., Any], method: str) -> Callable[..., Any]:
    from ray.serve._private.proxy_request_response import gRPCStreamingType

    handler: Callable[..., Any] = factory(
        service_method=method, streaming_type=gRPCStreamingType.UNARY_UNARY
    )
    return handler


def keep_handlers(server: Any, service: str) -> None:
    """Let ``server`` call the handlers of a service, which it otherwise replaces by Serve's own.

    Such calls take no slot of ``max_ongoing_requests``, and Serve counts none of them.

    Args:
        server: a gRPC server of Serve's, before the handlers are added.
        service: full name.
    """
    server.add_passthrough_service(service)
