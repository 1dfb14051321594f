"""The service in Serve's own gRPC server, and in any other one.

The server is the one of the installed Ray; only what needs a running cluster is left out.
"""

from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2 as reflected
from grpc_reflection.v1alpha import reflection_pb2_grpc
from ray.serve._private import grpc_util

from serve_app.grpc.rpcs import SERVICE, Rpcs
from serve_app.grpc.server import add_to_server
from serve_app.grpc.servicer import Servicer
from serve_app.ray_internals.grpc_server import limit_messages
from serve_app.runtime.ports import free_port
from tests.grpc.serves_server import SERVES_WAY, served, serves
from tests.support.grpc_service import PREFIX, SETOSA, GrpcClient, GrpcServer, infer_request
from tests.support.iris_requests import MAX_ROWS


class Deployment(Servicer):
    """What Serve has as its servable."""

    def __init__(self, rpcs: Rpcs) -> None:
        self.rpcs = rpcs


def test_every_method_goes_to_serve() -> None:
    """With the bytes of its message: what is no message is refused by the service itself."""
    with served(serves) as client:
        for each in SERVICE.methods:
            assert client(each.name, b"\xff").details == SERVES_WAY


def test_reflection_tells_of_the_service() -> None:
    """Tools need no proto: names, methods and messages are asked for."""
    with served(serves) as client:
        stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
        asked = [
            reflected.ServerReflectionRequest(list_services=""),
            reflected.ServerReflectionRequest(file_containing_symbol=SERVICE.full_name),
        ]
        names, files = stub.ServerReflectionInfo(iter(asked), timeout=20)
    assert SERVICE.full_name in {each.name for each in names.list_services_response.service}
    (described,) = files.file_descriptor_response.file_descriptor_proto
    file = FileDescriptorProto.FromString(described)
    assert [each.name for each in file.service[0].method] == [each.name for each in SERVICE.methods]


def test_a_message_that_is_too_long_or_packed_is_refused(
    rpcs: Rpcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is read whole; the limit is the settings', and answers may be longer."""
    monkeypatch.setattr(
        grpc_util, "DEFAULT_GRPC_SERVER_OPTIONS", grpc_util.DEFAULT_GRPC_SERVER_OPTIONS
    )
    request = infer_request([SETOSA] * MAX_ROWS, outputs=["predict_proba", "predict"])
    longest = request.SerializeToString()
    limit_messages(len(longest))

    def answers(service_method: str, streaming_type: object) -> Any:
        async def handler(request: bytes, _context: Any) -> bytes:
            return (await rpcs(service_method.rpartition("/")[2], request, None)).body

        return handler

    with served(answers) as client:
        answer = client("ModelInfer", longest)
        assert answer.message.ByteSize() > len(longest)
        too_long = client("ModelInfer", longest + b"\0")
        assert too_long.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(len(longest)) in too_long.details
        packed = client("ModelInfer", longest, compression=grpc.Compression.Gzip)
        assert packed.code is grpc.StatusCode.UNIMPLEMENTED


def test_the_methods_are_those_of_any_server(rpcs: Rpcs) -> None:
    """Serve calls them on the deployment, with bytes and a context; so does a plain server."""

    async def start(port: int) -> Any:
        server = grpc.aio.server()
        servicer, replies = Deployment(rpcs), {}
        for each in SERVICE.methods:
            method = getattr(servicer, each.name)
            replies[each.name] = grpc.unary_unary_rpc_method_handler(
                method, response_serializer=lambda reply: reply.SerializeToString()
            )
        handler = grpc.method_handlers_generic_handler(SERVICE.full_name, replies)
        server.add_generic_rpc_handlers((handler,))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        return server

    server = GrpcServer(start, free_port())
    with server, GrpcClient(server.address) as client:
        good = client.infer([[4.8, 3.0, 1.4, 99.0]])
        assert good.trailers == {"x-out-of-range-features": "petal_width"}
        assert good.message.outputs[0].name == "predict"
        bad = client("ModelInfer", b"\xff")
        assert bad.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "ModelInferRequest" in bad.details
        for each in SERVICE.methods:
            assert client(each.name, b"").code in (
                grpc.StatusCode.OK,
                grpc.StatusCode.NOT_FOUND,
            ), each.name


def test_a_method_that_is_not_in_the_protocol_is_unimplemented() -> None:
    """Such as Triton's streams and repositories, for which its clients then look no further."""
    with served(serves) as client:
        call = client.channel.unary_unary(f"{PREFIX}RepositoryIndex")
        with pytest.raises(grpc.RpcError) as raised:
            call(b"", timeout=20)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_function_of_serves_form_is_what_the_config_names() -> None:
    """It adds the methods of a servicer to a server, as generated ones do."""
    added: list[grpc.GenericRpcHandler] = []
    server = SimpleNamespace(add_generic_rpc_handlers=added.extend)
    add_to_server(Deployment.__new__(Deployment), server)
    (handler,) = added
    found = [
        handler.service(SimpleNamespace(method=PREFIX + each.name)) for each in SERVICE.methods
    ]
    assert all(found)
