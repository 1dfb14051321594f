"""Which server HAProxy sends ModelInfer to, and within which limits."""

import re
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from serve_app.ray_internals.haproxy import HaproxyTemplate
from serve_app.runtime.haproxy_config import Limits, edit
from tests.runtime.edited_proxy import LIMITS, LOCAL, started
from tests.runtime.edited_proxy import Replica as HttpReplica
from tests.runtime.grpc_replica import Replica, live
from tests.support.grpc_service import GrpcClient
from tests.support.ray_haproxy import STATES, RayConfig, State, write_state
from tests.support.waiting import wait_until

Code = grpc.StatusCode


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
