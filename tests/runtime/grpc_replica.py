"""A replica that speaks gRPC, and a client of the real HAProxy in front of it."""

import asyncio
from contextlib import ExitStack
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection
from ray.serve.generated.serve_pb2 import HealthzResponse

from serve_app.runtime.haproxy_config import Limits
from serve_app.runtime.ports import free_port
from tests.runtime.edited_proxy import LIMITS, LOCAL, started
from tests.support.grpc_service import GrpcClient, GrpcServer, Outcome
from tests.support.ray_haproxy import RayConfig

LIVE = b"/inference.GRPCInferenceService/ServerLive"


class Replica(GrpcServer):
    """Answers everything with an empty message, health checks too; ServerReady hangs for a time."""

    def __init__(self) -> None:
        super().__init__(self._serve, free_port())
        self.hanging = 0
        self._ended = asyncio.Event()

    async def _serve(self, port: int) -> Any:
        server = grpc.aio.server()

        async def answer(_request: bytes, _context: Any) -> bytes:
            return b""

        async def healthy(_request: bytes, _context: Any) -> bytes:
            message: bytes = HealthzResponse(message="success").SerializeToString()
            return message

        async def hang(_request: bytes, _context: Any) -> bytes:
            self.hanging += 1
            await self._ended.wait()
            return b""

        for service, methods in (
            ("ray.serve.RayServeAPIService", {"Healthz": healthy}),
            ("inference.GRPCInferenceService", {"ServerLive": answer, "ServerReady": hang}),
            ("grpc.health.v1.Health", {"Check": answer}),
        ):
            handlers = {
                name: grpc.unary_unary_rpc_method_handler(each) for name, each in methods.items()
            }
            handler = grpc.method_handlers_generic_handler(service, handlers)
            server.add_generic_rpc_handlers((handler,))
        reflection.enable_server_reflection([reflection.SERVICE_NAME], server)
        server.add_insecure_port(f"{LOCAL}:{port}")
        await server.start()
        return server

    def end(self) -> None:
        """Answer what hangs."""
        self._loop.call_soon_threadsafe(self._ended.set)

    def __exit__(self, *_error: object) -> None:
        self.end()
        super().__exit__(*_error)


def client_of(
    config: RayConfig, stack: ExitStack, replicas: list[str], limits: Limits = LIMITS
) -> GrpcClient:
    """A client of HAProxy in front of ``replicas``."""
    config.write([], grpc_replicas=replicas)
    started(config, stack, limits)
    return stack.enter_context(GrpcClient(f"{LOCAL}:{config.grpc_port}"))


def live(client: GrpcClient, **options: Any) -> Outcome:
    return client("ServerLive", b"", **options)
