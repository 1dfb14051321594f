"""Ray's own gRPC server with the functions of the project's config."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from ray.serve._private import grpc_util
from ray.serve.config import gRPCOptions

from serve_app.runtime.ports import free_port
from serve_app.serve_config import ServeConfig
from tests.support.grpc_service import GrpcClient, GrpcServer
from tests.support.service import CONFIG

SERVES_WAY = "Serve's way"
"""Details of a call that was handed on."""


def serves(service_method: str, streaming_type: object) -> Any:
    """What Serve puts in the place of a method."""

    async def handler(_request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.ABORTED, SERVES_WAY)
        return b""

    return handler


@contextmanager
def served(factory: Any) -> Iterator[GrpcClient]:
    """The server, and a client of it.

    Args:
        factory: makes what Serve puts in the place of a method.
    """
    functions = ServeConfig.read(CONFIG).document["grpc_options"]["grpc_servicer_functions"]

    async def start(port: int) -> Any:
        options = gRPCOptions(port=port, grpc_servicer_functions=functions)
        loop = asyncio.get_running_loop()
        _, server = await grpc_util.start_grpc_server(factory, options, event_loop=loop)
        return server

    server = GrpcServer(start, free_port())
    with server, GrpcClient(server.address) as client:
        yield client
