"""An HTTP server of a replica behind the real HAProxy, as clients of gRPC reach it."""

import asyncio
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp

from serve_app.runtime.ports import LOOPBACK, free_port
from tests.runtime.edited_proxy import started
from tests.support.grpc_service import GrpcServer
from tests.support.ray_haproxy import RayConfig

NOBODY = f"{LOOPBACK}:1"
"""Address of a gRPC server that is down."""


class HttpServer(GrpcServer):
    """uvicorn, as Serve starts it, with an application."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(self._serve, free_port())
        self._app = app

    async def _serve(self, port: int) -> Any:
        def make() -> ASGIApp:
            return self._app

        config = uvicorn.Config(
            make, factory=True, http="httptools", log_config=None, lifespan="off", log_level=100
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[socket.create_server((LOOPBACK, port))]))
        return Stoppable(server, task)


class Stoppable:
    """A server that is stopped like one of grpcio."""

    def __init__(self, server: uvicorn.Server, task: "asyncio.Task[None]") -> None:
        self._server, self._task = server, task

    async def stop(self, _grace: None) -> None:
        """Stop, whatever is under way."""
        self._server.should_exit = self._server.force_exit = True
        await self._task


class BehindHaproxy:
    """Starts both; its address is HAProxy's.

    Args:
        app: what the HTTP server calls.
        grpc: address of the replica's gRPC server.
    """

    def __init__(self, app: ASGIApp, grpc: str = NOBODY) -> None:
        self._http = HttpServer(app)
        self._grpc = grpc
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        config = RayConfig(directory / "node")
        self._stack.enter_context(self._http)
        config.write([self._http.address], grpc_replicas=[self._grpc])
        started(config, self._stack)
        self.address = f"{LOOPBACK}:{config.grpc_port}"
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()
