"""The methods that Serve calls on the deployment, each named after its RPC."""

from typing import Any

import grpc

from serve_app.grpc.rpcs import Rpcs
from serve_app.telemetry.spans import current_parent


class Serialized:
    """An answer that is bytes already."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def SerializeToString(self) -> bytes:  # noqa: N802 - what Serve calls
        """The bytes."""
        return self._body


class Servicer:
    """What Serve's own path calls; the direct path calls `rpcs` itself.

    A refused request is answered with its status and not with an exception: Serve would log a
    stack trace for each.
    """

    rpcs: Rpcs

    async def ServerLive(self, request: bytes, grpc_context: Any) -> Serialized:  # noqa: N802
        """Whether the server is live."""
        return await self._answer("ServerLive", request, grpc_context)

    async def ServerReady(self, request: bytes, grpc_context: Any) -> Serialized:  # noqa: N802
        """Whether the server is ready."""
        return await self._answer("ServerReady", request, grpc_context)

    async def ModelReady(self, request: bytes, grpc_context: Any) -> Serialized:  # noqa: N802
        """Whether a model is ready."""
        return await self._answer("ModelReady", request, grpc_context)

    async def ServerMetadata(self, request: bytes, grpc_context: Any) -> Serialized:  # noqa: N802
        """What the server is."""
        return await self._answer("ServerMetadata", request, grpc_context)

    async def ModelMetadata(self, request: bytes, grpc_context: Any) -> Serialized:  # noqa: N802
        """What a model takes and answers."""
        return await self._answer("ModelMetadata", request, grpc_context)

    async def ModelInfer(self, request: bytes, grpc_context: Any) -> Serialized:  # noqa: N802
        """Predict."""
        return await self._answer("ModelInfer", request, grpc_context)

    async def _answer(self, rpc: str, request: bytes, context: Any) -> Serialized:
        reply = await self.rpcs(rpc, request, current_parent())
        if reply.code is not grpc.StatusCode.OK:
            context.set_code(reply.code)
            context.set_details(reply.details)
        if reply.trailers:
            context.set_trailing_metadata(list(reply.trailers))  # Serve adds its own
        return Serialized(reply.body)
