"""The standard health service, as its own clients ask for it, in Serve's own gRPC server."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2 as pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2 as reflected
from grpc_reflection.v1alpha import reflection_pb2_grpc

from serve_app.grpc.health import NAMES, NO_WATCH
from serve_app.grpc.names import HEALTH
from serve_app.grpc.rpcs import SERVICE
from tests.grpc.serves_server import SERVES_WAY, served, serves
from tests.support.grpc_service import SECONDS, GrpcClient

Code = grpc.StatusCode
SERVING = pb2.HealthCheckResponse.SERVING


class Proxy:
    """Serve's proxy, as far as its server knows it: it hands calls on, to no replica."""

    def __init__(self) -> None:
        self.proxy_router = None
        self.code, self.details = Code.OK, ""
        self.asked: list[tuple[str, bytes]] = []

    def service_handler_factory(self, service_method: str, streaming_type: object) -> Any:
        """What Serve puts in the place of a method."""

        async def handler(request: bytes, context: Any) -> bytes:
            self.asked.append((service_method, request))
            context.set_code(self.code)
            context.set_details(self.details)
            return b""

        return handler


@pytest.fixture(scope="module")
def client() -> Iterator[GrpcClient]:
    """Of a replica's server."""
    with served(serves) as client:
        yield client


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


@pytest.fixture
def of_proxy(proxy: Proxy) -> Iterator[GrpcClient]:
    with served(proxy.service_handler_factory) as client:
        yield client


def stub_of(client: GrpcClient) -> Any:
    return health_pb2_grpc.HealthStub(client.channel)


def check(client: GrpcClient, service: str = "") -> Any:
    """What is told of a name."""
    request = pb2.HealthCheckRequest(service=service)
    return stub_of(client).Check(request, timeout=SECONDS).status


def refused(call: Any, request: Message | bytes) -> Any:
    """The status of a call that is not answered."""
    with pytest.raises(grpc.RpcError) as raised:
        call(request, timeout=SECONDS)
    return raised.value


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService"])
def test_a_replica_tells_of_itself(client: GrpcClient, service: str) -> None:
    """Of the server and of the service, without a call that Serve would have to make room for."""
    assert check(client, service) == SERVING


def test_asyncio_clients_are_answered_alike(client: GrpcClient) -> None:
    """Through grpcio's other stack."""

    async def ask() -> Any:
        async with grpc.aio.insecure_channel(client.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            return await stub.Check(pb2.HealthCheckRequest(), timeout=SECONDS)

    assert asyncio.run(ask()).status == SERVING


def test_every_name_is_listed(client: GrpcClient) -> None:
    """With what Check tells of it."""
    found = stub_of(client).List(pb2.HealthListRequest(), timeout=SECONDS)
    assert {name: each.status for name, each in found.statuses.items()} == {
        name: check(client, name) for name in NAMES
    }


@pytest.mark.parametrize("service", ["x", "inference.grpcinferenceservice", HEALTH])
def test_another_name_is_not_found(client: GrpcClient, service: str) -> None:
    """As the specification has it; what there is, is said."""
    error = refused(stub_of(client).Check, pb2.HealthCheckRequest(service=service))
    assert error.code() is Code.NOT_FOUND
    assert repr(service) in error.details()
    assert SERVICE.full_name in error.details()


@pytest.mark.parametrize("method", ["Check", "List"])
def test_a_request_that_is_no_message_is_refused(client: GrpcClient, method: str) -> None:
    """INVALID_ARGUMENT, where grpcio would say INTERNAL."""
    error = refused(client.channel.unary_unary(f"/{HEALTH}/{method}"), b"\xff")
    assert error.code() is Code.INVALID_ARGUMENT
    assert "is no grpc.health.v1.Health" in error.details()


def test_watch_is_refused_for_good(client: GrpcClient) -> None:
    """UNIMPLEMENTED, after which clients ask no more."""
    with pytest.raises(grpc.RpcError) as raised:
        next(stub_of(client).Watch(pb2.HealthCheckRequest(), timeout=SECONDS))
    assert raised.value.code() is Code.UNIMPLEMENTED
    assert "Use Check" in raised.value.details()


def test_clients_that_watch_the_health_of_a_server_do_without(client: GrpcClient) -> None:
    """Client-side health checking takes the server for healthy, and calls arrive."""
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": SERVICE.full_name},
    }
    options = [("grpc.service_config", json.dumps(config))]
    with grpc.insecure_channel(client.address, options=options) as channel:
        grpc.channel_ready_future(channel).result(SECONDS)
        call = channel.unary_unary(f"/{SERVICE.full_name}/ServerReady")
        assert refused(call, b"").details() == SERVES_WAY


def test_every_published_method_is_there(client: GrpcClient) -> None:
    """Under its published name, answered or refused on purpose."""
    published, found = pb2.DESCRIPTOR.services_by_name["Health"], {}
    for method in published.methods:
        call = client.channel.unary_stream(f"/{published.full_name}/{method.name}")
        try:
            found[method.name] = len(list(call(b"", timeout=SECONDS)))
        except grpc.RpcError as error:
            found[method.name] = error.details()
    assert found == {"Check": 1, "List": 1, "Watch": NO_WATCH}


def test_reflection_tells_of_it(client: GrpcClient) -> None:
    """Beside the service itself."""
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    asked = [
        reflected.ServerReflectionRequest(list_services=""),
        reflected.ServerReflectionRequest(file_containing_symbol=HEALTH),
    ]
    names, file = stub.ServerReflectionInfo(iter(asked), timeout=SECONDS)
    found = {each.name for each in names.list_services_response.service}
    assert {HEALTH, SERVICE.full_name} <= found
    assert file.file_descriptor_response.file_descriptor_proto


def test_a_proxy_asks_a_replica(proxy: Proxy, of_proxy: GrpcClient) -> None:
    """Whether it is ready; a name that is none is no reason to."""
    assert check(of_proxy) == SERVING
    found = stub_of(of_proxy).List(pb2.HealthListRequest(), timeout=SECONDS)
    assert set(found.statuses) == set(NAMES)
    refused(stub_of(of_proxy).Check, pb2.HealthCheckRequest(service="x"))
    assert proxy.asked == [("/inference.GRPCInferenceService/ServerReady", b"")] * 2


def test_a_full_service_is_healthy(proxy: Proxy, of_proxy: GrpcClient) -> None:
    """It answers predictions, if not one more."""
    proxy.code, proxy.details = Code.RESOURCE_EXHAUSTED, "too many"
    assert check(of_proxy) == SERVING


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.NOT_FOUND])
def test_what_a_prediction_would_be_told_is_told(
    proxy: Proxy, of_proxy: GrpcClient, code: grpc.StatusCode
) -> None:
    """Of a service that answers none."""
    proxy.code, proxy.details = code, "no replica"
    for method in ("Check", "List"):
        error = refused(of_proxy.channel.unary_unary(f"/{HEALTH}/{method}"), b"")
        assert (error.code(), error.details()) == (code, "no replica")
