"""The floor of gRPC: a constant answer to every call, ``python -m bench.floor_grpc PORT``.

Its server is grpc's own on asyncio, which Ray Serve and MLServer have too; no gRPC server for
asyncio does less for a call. ``$BENCH_MESSAGE`` is the answer, in hexadecimal digits.
"""

import asyncio
import os
import signal
import sys
from typing import Any

import grpc

from serve_app.grpc.names import MODEL_INFER

MESSAGE_VARIABLE = "BENCH_MESSAGE"


async def start(port: int, message: bytes) -> Any:
    """A server that answers ``message`` to everything, on ``port`` of the loopback."""

    async def answer(_request: bytes, _context: Any) -> bytes:
        return message

    _, service, name = MODEL_INFER.split("/")
    methods = {name: grpc.unary_unary_rpc_method_handler(answer)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server


async def main(port: int, message: bytes) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await start(port, message)
    await stop.wait()
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), bytes.fromhex(os.environ[MESSAGE_VARIABLE])))
