"""The direct path of one method in a real server of gRPC, without Serve."""

from collections.abc import Sequence
from typing import Any, cast

import grpc

from serve_app.grpc.direct import DirectRpc
from serve_app.grpc.rpcs import SERVICE, Rpcs
from serve_app.ray_internals.direct_ingress import GrpcBooks
from serve_app.runtime.ports import free_port
from serve_app.tracing.requests import RequestSpans
from serve_app.tracing.sampling import Sampling
from tests.support.grpc_service import PREFIX, GrpcServer

METHOD = "ModelInfer"
SERVES_WAY = "Serve's way"
"""Details of a call that was handed on."""


class Books:
    """Serve's books of a replica, in the open."""

    application = "classifier"

    def __init__(self) -> None:
        self.timeout_seconds: float | None = 10.0
        self.has_access_log = False
        self.is_full = False
        self.ongoing = 0
        self.entries: list[tuple[str, str, int]] = []

    def begin(self) -> None:
        self.ongoing += 1

    def end(self) -> None:
        self.ongoing -= 1

    def enter(self, method: str, status: str, latencies: Sequence[float]) -> None:
        assert all(latency > 0 for latency in latencies)
        self.entries.append((method, status, len(latencies)))


class Lane:
    """The direct path between a client and Serve."""

    def __init__(
        self, rpcs: Rpcs, sampling: Sampling | None = None, spans: RequestSpans | None = None
    ) -> None:
        self.books = Books()
        self.handed_on: list[tuple[bytes, dict[str, str]]] = []
        """Request and metadata of what Serve would be given."""
        books = cast(GrpcBooks, self.books)
        self.direct = DirectRpc(
            PREFIX + METHOD, self._serve, books, rpcs, sampling=sampling, spans=spans
        )
        self.server = GrpcServer(self._start, free_port())

    async def _serve(self, request: bytes, context: Any) -> bytes:
        self.handed_on.append((request, dict(context.invocation_metadata())))
        context.set_code(grpc.StatusCode.ABORTED)
        context.set_details(SERVES_WAY)
        return b""

    async def _start(self, port: int) -> Any:
        server = grpc.aio.server()
        handlers = {METHOD: grpc.unary_unary_rpc_method_handler(self.direct.answer)}
        handler = grpc.method_handlers_generic_handler(SERVICE.full_name, handlers)
        server.add_generic_rpc_handlers((handler,))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        return server
