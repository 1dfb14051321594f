"""Ray's real config with gRPC, edited, in the real HAProxy; and what a real client is told."""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2 as reflected
from ray.serve.generated.serve_pb2 import HealthzResponse

from serve_app.grpc.names import MODEL_INFER
from serve_app.ray_internals.haproxy import HaproxyTemplate
from serve_app.runtime.haproxy_config import MAX_HEAD_BYTES, MAX_HEADERS, Limits, edit
from serve_app.runtime.haproxy_edits import UnexpectedConfigError
from serve_app.runtime.ports import free_port
from tests.runtime.edited_proxy import LIMITS, LOCAL, started
from tests.runtime.edited_proxy import Replica as HttpReplica
from tests.support.grpc_service import GrpcClient, GrpcServer, Outcome
from tests.support.raw_http2 import RawConnection
from tests.support.ray_haproxy import STATES, RayConfig, State, write_state
from tests.support.waiting import wait_until

Code = grpc.StatusCode
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


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def config(tmp_path: Path) -> RayConfig:
    return RayConfig(tmp_path / "node")


def client_of(
    config: RayConfig, stack: ExitStack, replicas: list[str], limits: Limits = LIMITS
) -> GrpcClient:
    """A client of HAProxy in front of ``replicas``."""
    config.write([], grpc_replicas=replicas)
    started(config, stack, limits)
    return stack.enter_context(GrpcClient(f"{LOCAL}:{config.grpc_port}"))


@pytest.fixture
def replica(stack: ExitStack) -> Replica:
    return stack.enter_context(Replica())


@pytest.fixture
def client(config: RayConfig, stack: ExitStack, replica: Replica) -> GrpcClient:
    """Of HAProxy in front of a replica that is up."""
    made = client_of(config, stack, [replica.address])
    wait_until(lambda: live(made).code is Code.OK)
    return made


def live(client: GrpcClient, **options: Any) -> Outcome:
    return client("ServerLive", b"", **options)


def test_a_client_need_not_name_the_application(client: GrpcClient) -> None:
    """Clients of the protocol send no metadata of Serve's; those that do are as welcome."""
    assert live(client).code is Code.OK
    assert live(client, metadata=(("application", "classifier"),)).code is Code.OK


@pytest.mark.parametrize("path", [b"/\xff/\xfe", b"/a", b"/a/b/c", b"*"])
def test_a_path_of_no_method_is_refused(client: GrpcClient, config: RayConfig, path: bytes) -> None:
    """It reaches no server: one that is not UTF-8 would end grpcio's, for everybody."""
    for _ in range(3):
        with RawConnection(f"{LOCAL}:{config.grpc_port}") as connection:
            connection.call(path)
            assert b"There is no such method" in connection.until(b"no such method")
    assert live(client).code is Code.OK


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (b"grpc-timeout", b"5x", b"grpc-timeout is digits"),
        (b"grpc-timeout", b"", b"grpc-timeout is digits"),
        (b"grpc-timeout", b"-1S", b"grpc-timeout is digits"),
        (b"grpc-encoding", b"br", b"not compressed here"),
        (b"grpc-encoding", b"gzip", b"not compressed here"),
        (b"x-id-bin", b"A*AA", b"ends with -bin is base64"),
        (b"x-id-bin", b"A===", b"ends with -bin is base64"),
        (b"x-id", b"caf\xc3\xa9", b"values of printable ASCII"),
        (b"x-id", b"\xff", b"values of printable ASCII"),
        (b"x!id", b"a", b"names of a-z"),
    ],
)
def test_a_malformed_head_is_refused(
    client: GrpcClient, config: RayConfig, name: bytes, value: bytes, said: bytes
) -> None:
    """By HAProxy, where the server would say INTERNAL and log each; the connection goes on."""
    with RawConnection(f"{LOCAL}:{config.grpc_port}") as connection:
        connection.call(LIVE, headers=((name, value),))
        answer = connection.until(said)
        assert said in answer
        code = Code.UNIMPLEMENTED if name == b"grpc-encoding" else Code.INVALID_ARGUMENT
        assert b"grpc-status%c%d" % (len(str(code.value[0])), code.value[0]) in answer
        connection.call(b"/a")
        assert b"There is no such method" in connection.until(b"no such method")


def test_an_answer_of_haproxys_own_is_one_of_grpc(config: RayConfig, stack: ExitStack) -> None:
    """Clients in Go take no other: 200, which HPACK writes as 0x88, and the content type."""
    config.write([], grpc_replicas=[f"{LOCAL}:1"])
    started(config, stack, LIMITS)
    for path, text in ((LIVE, b"No replica is ready"), (b"/a", b"There is no such method")):
        with RawConnection(f"{LOCAL}:{config.grpc_port}") as connection:
            connection.call(path)
            answer = connection.until(b"application/grpc")
            assert b"\x88\x00\x0bgrpc-status\x02" in answer
            assert text in answer
            assert answer.count(b"application/grpc") == 1


def test_so_is_one_for_serves_own_proxy(config: RayConfig, stack: ExitStack) -> None:
    """It is asked what no replica can tell."""
    proxy = stack.enter_context(Replica())
    config.write([], grpc_replicas=[f"{LOCAL}:1"], grpc_fallback=proxy.address)
    started(config, stack, LIMITS)
    with RawConnection(f"{LOCAL}:{config.grpc_port}") as connection:
        path = b"/ray.serve.RayServeAPIService/ListApplications"
        connection.call(path, headers=((b"x-id-bin", b"*"),))
        assert b"is base64" in connection.until(b"is base64")


@pytest.mark.parametrize(
    "metadata",
    [
        [("x-id-bin", b"\0\xff"), ("x-id-bin", b""), ("x-other-bin", b"\xff" * 5000)],
        [("x-id", "printable ~!"), ("x-empty", ""), ("x_1.2-3", "a")],
    ],
)
def test_metadata_that_clients_can_send_arrive(
    client: GrpcClient, metadata: list[tuple[str, str | bytes]]
) -> None:
    """In all forms that the client library takes, beside its own time-out."""
    assert live(client, metadata=metadata, timeout=17.003).code is Code.OK


def test_model_infer_keeps_what_it_has_always_taken(config: RayConfig, stack: ExitStack) -> None:
    """Its server reads none of that; the rules are not on its way."""
    text = write_state(config, "ready")
    _, backend, own = edit(text, LIMITS).partition("\nbackend model-infer\n")
    assert backend
    assert "-bin" not in own
    assert "grpc-timeout" not in own


def test_a_stream_is_not_waited_for(client: GrpcClient) -> None:
    """A request without an end, as reflection has, is passed on as it comes."""
    more = threading.Event()

    def requests() -> Iterator[reflected.ServerReflectionRequest]:
        yield reflected.ServerReflectionRequest(list_services="")
        more.wait(20)

    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    answer = next(stub.ServerReflectionInfo(requests(), timeout=8))
    more.set()
    assert answer.list_services_response.service


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ([("x-long", "a" * MAX_HEAD_BYTES)], f"longer than {MAX_HEAD_BYTES} bytes"),
        ([("x", "y")] * MAX_HEADERS, f"more than {MAX_HEADERS} headers"),
    ],
)
def test_a_head_that_is_too_long_is_refused(
    client: GrpcClient, metadata: list[tuple[str, str]], said: str
) -> None:
    """With gRPC's status for it, and the reason."""
    found = live(client, metadata=metadata)
    assert found.code is Code.RESOURCE_EXHAUSTED
    assert said in found.details


def test_no_replica_is_a_reason_to_try_again(config: RayConfig, stack: ExitStack) -> None:
    """UNAVAILABLE when none is up, and when Serve has not named one yet."""
    dead = client_of(config, stack, [f"{LOCAL}:1"])
    assert live(dead)[:2] == (Code.UNAVAILABLE, "No replica is ready")
    other = RayConfig(config.path.parent / "other")
    other.write()
    started(other, stack)
    unknown = stack.enter_context(GrpcClient(f"{LOCAL}:{other.grpc_port}"))
    found = live(unknown, metadata=(("application", "classifier"),))
    assert found[:2] == (Code.UNAVAILABLE, "The routes are not known yet")


def test_more_calls_than_replicas_may_have_are_refused_at_once(
    config: RayConfig, stack: ExitStack
) -> None:
    """RESOURCE_EXHAUSTED, of one replica with two calls; then all is well."""
    replica = stack.enter_context(Replica())
    limits = Limits(2000, 0, LOCAL, requests_per_replica=2)
    client = client_of(config, stack, [replica.address], limits)
    wait_until(lambda: live(client).code is Code.OK)
    path = "/inference.GRPCInferenceService/ServerReady"
    under_way = [client.channel.unary_unary(path).future(b"", timeout=30) for _ in range(2)]
    wait_until(lambda: replica.hanging == 2)
    refused = live(client)
    assert refused.code is Code.RESOURCE_EXHAUSTED
    assert "Every replica has as many requests" in refused.details
    health = client.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert health(b"", timeout=20) == b"", "a full service is no broken one"
    replica.end()
    assert [call.result(20) for call in under_way] == [b"", b""]
    assert live(client).code is Code.OK


def test_calls_without_a_message_take_no_place(
    config: RayConfig, stack: ExitStack, replica: Replica
) -> None:
    """More of them than a replica may have are open, and another call is answered."""
    limits = Limits(2000, 0, LOCAL, requests_per_replica=2)
    client = client_of(config, stack, [replica.address], limits)
    wait_until(lambda: live(client).code is Code.OK)
    with RawConnection(f"{LOCAL}:{config.grpc_port}") as connection:
        for _ in range(5):
            connection.call(MODEL_INFER.encode(), is_open=True)
        # Read after those.
        connection.call(b"/a")
        connection.until(b"no such method")
        assert live(client).code is Code.OK


def test_a_replica_that_hangs_or_goes_is_told_from_one_that_fails(
    config: RayConfig, stack: ExitStack
) -> None:
    """DEADLINE_EXCEEDED when it does not answer in HAProxy's time, UNAVAILABLE when it is gone."""
    replica = Replica()
    with replica:
        client = client_of(config, stack, [replica.address])
        wait_until(lambda: live(client).code is Code.OK)
        found = client("ServerReady", b"")
        assert found[:2] == (Code.DEADLINE_EXCEEDED, "The replica did not answer in time")
    wait_until(lambda: live(client).code is Code.UNAVAILABLE)


def test_a_client_has_its_share_of_connections(config: RayConfig, stack: ExitStack) -> None:
    """One more channel than a client may have connections is refused; others are answered."""
    replica = stack.enter_context(Replica())
    client = client_of(config, stack, [replica.address], Limits(2000, 1, LOCAL))
    wait_until(lambda: live(client).code is Code.OK)
    options = [("grpc.use_local_subchannel_pool", 1)]
    other = stack.enter_context(
        grpc.insecure_channel(f"{LOCAL}:{config.grpc_port}", options=options)
    )
    with pytest.raises(grpc.RpcError) as raised:
        other.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=5)
    assert raised.value.code() is Code.UNAVAILABLE
    assert live(client).code is Code.OK


def model_infer(client: GrpcClient, **options: Any) -> str:
    """Which server had the call: of HTTP, whose stand-in speaks no gRPC, or of gRPC."""
    found = client("ModelInfer", b"", **options)
    return "HTTP" if found.code is Code.UNKNOWN else found.code.name


def test_model_infer_goes_to_the_http_server(config: RayConfig, stack: ExitStack) -> None:
    """While it is up, for the application or none in particular; all else goes where it went."""
    http, grpc_server = HttpReplica(), stack.enter_context(Replica())
    with http:
        config.write([http.address], grpc_replicas=[grpc_server.address])
        started(config, stack, LIMITS)
        client = stack.enter_context(GrpcClient(f"{LOCAL}:{config.grpc_port}"))
        wait_until(lambda: live(client).code is Code.OK)
        assert model_infer(client) == "HTTP"
        assert model_infer(client, metadata=(("application", "classifier"),)) == "HTTP"
        assert model_infer(client, metadata=(("application", "other"),)) == "UNIMPLEMENTED"
    wait_until(lambda: model_infer(client) == "UNIMPLEMENTED")
    assert live(client).code is Code.OK


@pytest.mark.parametrize("state", STATES)
def test_it_has_the_limits_of_http(config: RayConfig, state: State) -> None:
    """Of as many replicas; without any it is not there."""
    text = write_state(config, state)
    edited = edit(text, Limits(2000, 0, LOCAL, requests_per_replica=7))
    _, _, own = edited.partition("\nbackend model-infer\n")
    servers = [line.split()[1:] for line in own.splitlines() if line.startswith("    server ")]
    assert (own == "") == (state in ("start", "no replica"))
    if own:
        assert "{ be_conn gt 14 }" in own
        assert servers == [
            [f"replica-{n}", f"{LOCAL}:3000{n}", "track", f"http-classifier/replica-{n}"]
            for n in (0, 1)
        ]


def test_of_several_applications_none_is_preferred(config: RayConfig) -> None:
    """Only one of them may speak the protocol, and nobody says which."""
    text = write_state(config, "ready")
    found = re.search(HaproxyTemplate.GRPC_APPLICATION, text, re.MULTILINE)
    assert found is not None
    other = f"    acl is_grpc-other req.hdr(application) -m str other\n{found[0]}"
    assert "model-infer" not in edit(text.replace(found[0], other), LIMITS)


def test_it_listens_where_the_service_does(config: RayConfig) -> None:
    """The public address takes the place of Serve's, for both protocols."""
    text = write_state(config, "ready")
    edited = edit(text, Limits(2000, 0, LOCAL, public_host="10.1.2.3"))
    assert f"bind 10.1.2.3:{config.port}\n" in edited
    assert f"bind 10.1.2.3:{config.grpc_port} proto h2\n" in edited


@pytest.mark.parametrize(
    "pattern", ["    bind .* proto h2", "    http-reuse always", "    acl is_grpc-.*"]
)
def test_a_template_that_has_moved_is_refused(config: RayConfig, pattern: str) -> None:
    """Rather than served without limits."""
    text = write_state(config, "ready")
    assert HaproxyTemplate.HAS_GRPC in text
    with pytest.raises(UnexpectedConfigError):
        edit(re.sub(f"\n{pattern}\n", "\n", text), LIMITS)
