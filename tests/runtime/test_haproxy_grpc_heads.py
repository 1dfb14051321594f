"""Heads of calls: those that HAProxy refuses before a server reads them, and those that arrive."""

from contextlib import ExitStack

import grpc
import pytest

from serve_app.runtime.haproxy_config import MAX_HEAD_BYTES, MAX_HEADERS, edit
from tests.runtime.edited_proxy import LIMITS, LOCAL, started
from tests.runtime.grpc_replica import LIVE, Replica, live
from tests.support.grpc_service import GrpcClient
from tests.support.raw_http2 import RawConnection
from tests.support.ray_haproxy import RayConfig, write_state

Code = grpc.StatusCode


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
