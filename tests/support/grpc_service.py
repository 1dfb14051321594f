"""A client of the service over gRPC, and a server of gRPC in a thread."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import grpc
import numpy as np
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from numpy.typing import ArrayLike

from serve_app.grpc.generated import open_inference_grpc_pb2 as pb2
from serve_app.grpc.rpcs import SERVICE
from serve_app.runtime.ports import LOOPBACK, free_port

PREFIX = f"/{SERVICE.full_name}/"
SETOSA = [4.8, 3.0, 1.4, 0.3]
SECONDS = 20.0


class Outcome(NamedTuple):
    """What became of a call."""

    code: grpc.StatusCode
    details: str
    message: Any
    """The answer; None if it was refused."""
    trailers: dict[str, str]


class GrpcClient:
    """Calls the methods by their names, as a generated stub does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.insecure_channel(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.channel.close()

    def __call__(self, method: str, request: Message | bytes, **options: Any) -> Outcome:
        """Call a method, with a message or with any bytes."""
        body = request if isinstance(request, bytes) else request.SerializeToString()
        call = self.channel.unary_unary(PREFIX + method)
        try:
            answer, ended = call.with_call(body, **{"timeout": SECONDS, **options})
        except grpc.RpcError as error:
            return Outcome(error.code(), error.details(), None, dict(error.trailing_metadata()))
        kind: Any = GetMessageClass(SERVICE.methods_by_name[method].output_type)
        trailers = dict(ended.trailing_metadata())
        return Outcome(ended.code(), ended.details(), kind.FromString(answer), trailers)

    def infer(self, rows: ArrayLike, **fields: Any) -> Outcome:
        """Ask the default model about ``rows``."""
        return self("ModelInfer", infer_request(rows, **fields))


def infer_request(
    rows: ArrayLike = (SETOSA,),
    *,
    as_raw: bool = True,
    outputs: Sequence[str] = (),
    model_name: str = "iris",
    **fields: Any,
) -> pb2.ModelInferRequest:
    """A request with one tensor of FP64."""
    values = np.array(rows, dtype=np.float64)
    request = pb2.ModelInferRequest(model_name=model_name, **fields)
    tensor = request.inputs.add(name="rows", datatype="FP64", shape=values.shape)
    if as_raw:
        request.raw_input_contents.append(values.tobytes())
    else:
        tensor.contents.fp64_contents.extend(values.reshape(-1))
    for name in outputs:
        request.outputs.add(name=name)
    return request


class GrpcServer:
    """A server of gRPC on a loop of its own.

    Args:
        start: starts it on the port that it is given, on the loop; returns the server.
    """

    def __init__(self, start: Callable[[int], Awaitable[Any]], port: int) -> None:
        self.address = f"{LOOPBACK}:{port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._start, self._port = start, port

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self.run(self._start(self._port))
        return self

    def __exit__(self, *_error: object) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        await self._server.stop(None)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """Wait for something on the server's loop."""

        async def wait() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(SECONDS)


Method = Callable[[bytes, Any], Awaitable[bytes]]


def server_of_one_method(answer: Method) -> GrpcServer:
    """A server, on a port of its own, with one method: ``/a.B/Call``."""
    return server_of("a.B", {"Call": answer})


def server_of(service: str, methods: Mapping[str, Method]) -> GrpcServer:
    """A server, on a port of its own, with the methods of one service."""

    async def start(port: int) -> Any:
        server = grpc.aio.server()
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(answer) for name, answer in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        server.add_insecure_port(f"{LOOPBACK}:{port}")
        await server.start()
        return server

    return GrpcServer(start, free_port())
