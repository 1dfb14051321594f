"""A user's own connection over gRPC, in greenlets."""

import functools
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from serve_app.serve_config import DEFAULT_GRPC_PORT, DEFAULT_PORT

OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)
"""Channels to one address share a connection otherwise; users are clients of their own."""
FIRST_USER_PORT = 1024


def grpc_address(host: str) -> str:
    """Where a service whose HTTP is at ``host`` has gRPC, unless it was told otherwise.

    ``serve-app serve --port`` moves gRPC as far as HTTP; a load balancer, at 80 or 443, does not.
    """
    url = urlsplit(host)
    port = url.port or 0
    grpc_port = DEFAULT_GRPC_PORT + (port - DEFAULT_PORT if port >= FIRST_USER_PORT else 0)
    name = url.hostname or ""
    return f"[{name}]:{grpc_port}" if ":" in name else f"{name}:{grpc_port}"


@functools.cache
def _grpc() -> Any:
    """The library, made to wait in greenlets; before any channel, and only where there are any."""
    import grpc
    import grpc.experimental.gevent

    grpc.experimental.gevent.init_gevent()
    return grpc


class GrpcChannel:
    """A connection to a service.

    Args:
        address: host and port.
    """

    def __init__(self, address: str) -> None:
        self._channel = _grpc().insecure_channel(address, options=[OWN_CONNECTION])

    def call(
        self, path: str, body: bytes, headers: Mapping[str, str], seconds: float
    ) -> tuple[bytes, str | None]:
        """Call a method.

        Args:
            path: of the method.
            body: the message.
            headers: metadata.
            seconds: deadline.

        Returns:
            The answer, and None; or nothing, and the name of the status.
        """
        method = self._channel.unary_unary(path)
        try:
            return method(body, timeout=seconds, metadata=tuple(headers.items())), None
        except _grpc().RpcError as error:
            return b"", str(error.code().name)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()
