"""Ray's real config with gRPC, edited, in the real HAProxy; and what a real client is told."""

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2 as reflected
from grpc_reflection.v1alpha import reflection_pb2_grpc

from serve_app.grpc.names import MODEL_INFER
from serve_app.ray_internals.haproxy import HaproxyTemplate
from serve_app.runtime.haproxy_config import Limits, edit
from serve_app.runtime.haproxy_edits import UnexpectedConfigError
from tests.runtime.edited_proxy import LIMITS, LOCAL, started
from tests.runtime.grpc_replica import LIVE, Replica, client_of, live
from tests.support.grpc_service import GrpcClient
from tests.support.raw_http2 import RawConnection
from tests.support.ray_haproxy import RayConfig, write_state
from tests.support.waiting import wait_until

Code = grpc.StatusCode


def test_a_client_need_not_name_the_application(client: GrpcClient) -> None:
    """Clients of the protocol send no metadata of Serve's; those that do are as welcome."""
    assert live(client).code is Code.OK
    assert live(client, metadata=(("application", "classifier"),)).code is Code.OK


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
