"""A real service in production mode, over gRPC: HAProxy, and a replica that answers directly."""

import json
import operator
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2 as reflected
from grpc_reflection.v1alpha import reflection_pb2_grpc

from serve_app.grpc.names import HEALTH
from serve_app.grpc.rpcs import SERVICE
from serve_app.settings import Settings
from tests.support.grpc_service import SETOSA, GrpcClient, Outcome, infer_request
from tests.support.iris_requests import PREDICT, ROW
from tests.support.ray_metrics import ray_metrics, total
from tests.support.service import Service
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[GrpcClient]:
    with GrpcClient(service.grpc_address) as client:
        yield client


def test_the_address_is_shown_and_answers(service: Service, client: GrpcClient) -> None:
    """Both protocols give the same answer, on ports that differ."""
    assert service.grpc_address.replace("127.0.0.1", "localhost") in service.log()
    found = client.infer([SETOSA], as_raw=False)
    assert list(found.message.outputs[0].contents.bytes_contents) == [b"setosa"]
    assert found.trailers["request_id"]
    answer = httpx.post(f"{service.url}{PREDICT}", json=ROW, timeout=20).json()
    assert answer["model_version"] == found.message.model_version


def test_every_method_is_there_and_told_by_reflection(client: GrpcClient) -> None:
    """As tools find them, which have no proto."""
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    asked = [reflected.ServerReflectionRequest(list_services="")]
    (names,) = stub.ServerReflectionInfo(iter(asked), timeout=20)
    services = {each.name for each in names.list_services_response.service}
    assert {SERVICE.full_name, HEALTH} <= services
    for each in SERVICE.methods:
        found = client(each.name, b"")
        assert found.code in (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND), each.name


def test_the_standard_health_service_answers(client: GrpcClient) -> None:
    """As probes, monitors and clients with health checks of their own ask for it."""
    health = health_pb2_grpc.HealthStub(client.channel)
    for name in ("", SERVICE.full_name):
        request = health_pb2.HealthCheckRequest(service=name)
        found = health.Check(request, timeout=20)
        assert found.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as unknown:
        health.Check(health_pb2.HealthCheckRequest(service="x"), timeout=20)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": ""},
    }
    options = [("grpc.service_config", json.dumps(config))]
    with grpc.insecure_channel(client.address, options=options) as channel:
        live = channel.unary_unary(f"/{SERVICE.full_name}/ServerLive")
        assert live(b"", timeout=20, wait_for_ready=True)


def test_what_is_wrong_has_its_status(client: GrpcClient) -> None:
    """No bytes that a client can send are a failure of the service."""
    limit = Settings().max_body_bytes
    cases: dict[str, bytes] = {
        "INVALID_ARGUMENT": b"\xff",
        "NOT_FOUND": infer_request(model_name="rose").SerializeToString(),
        "RESOURCE_EXHAUSTED": b"\0" * (limit + 1),
    }
    assert {name: client("ModelInfer", each).code.name for name, each in cases.items()} == {
        name: name for name in cases
    }
    packed = client("ModelInfer", infer_request(), compression=grpc.Compression.Gzip)
    assert packed.code is grpc.StatusCode.UNIMPLEMENTED


def test_calls_are_counted(service: Service, client: GrpcClient) -> None:
    """By method and status, in Serve's metrics under its names."""
    many = 20  # more than other tests send, whose count may come late

    def counted() -> list[float]:
        found, name = ray_metrics(service), "ray_serve_num_grpc_requests_total"
        labels = {"method": f"/{SERVICE.full_name}/ModelInfer"}
        codes = ("OK", "NOT_FOUND")
        return [total(found, name, status_code=code, **labels) for code in codes]

    least = [count + many for count in counted()]
    for _ in range(many):
        assert client.infer([SETOSA]).message is not None
        assert client("ModelInfer", infer_request(model_name="rose")).message is None
    wait_until(lambda: all(map(operator.ge, counted(), least)), seconds=60)


def test_an_application_may_be_named(client: GrpcClient) -> None:
    """The right one is answered as if none was; of another one Serve says that there is none."""
    for name, code in (("classifier", "OK"), ("other", "NOT_FOUND")):
        found = client("ModelInfer", infer_request(), metadata=(("application", name),))
        assert found.code.name == code


def test_many_calls_at_once_are_answered_or_refused(client: GrpcClient) -> None:
    """Each of more than fit into the replica; then all is well."""
    rows = [SETOSA] * 1000

    def ask(_number: int) -> Outcome:
        return client.infer(rows)

    with ThreadPoolExecutor(100) as threads:
        found = {outcome.code for outcome in threads.map(ask, range(400))}
    assert grpc.StatusCode.OK in found
    assert found <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert client.infer([SETOSA]).code is grpc.StatusCode.OK
