"""How Serve is started, deployed to and asked, against the installed Ray."""

import inspect
import os
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.serve._private.client import ServeControllerClient
from ray.serve._private.config import DeploymentConfig
from ray.serve.config import RequestRouterConfig
from ray.serve.schema import (
    ApplicationStatus,
    ServeDeploySchema,
)

from serve_app.environment import PRODUCTION
from serve_app.ray_internals import nodes, serving
from serve_app.serve_config import ServeConfig, packaged_config
from tests.ray_internals.installed import RAY


@pytest.mark.parametrize("is_late", [False, True])
def test_serve_is_started_and_deployed_to(monkeypatch: pytest.MonkeyPatch, is_late: bool) -> None:
    """Functions of Ray take these arguments; replicas do not wait for HAProxy."""
    from ray.exceptions import GetTimeoutError
    from ray.serve._private import api
    from ray.serve._private import client as clients

    done: list[Any] = []
    create = inspect.signature(api._create_controller_and_proxy_refs)
    deploy = inspect.signature(ServeControllerClient.deploy_apps)

    class Client:
        def __init__(self, controller: str) -> None:
            assert controller == "controller"

        def deploy_apps(self, *arguments: Any, **options: Any) -> None:
            bound = deploy.bind(self, *arguments, **options)
            assert bound.arguments["_blocking"] is False
            done.append(bound.arguments["config"])

    def create_controller(*arguments: Any, **options: Any) -> tuple[str, list[str]]:
        # Unknown names would be swallowed.
        assert "kwargs" not in create.bind(*arguments, **options).arguments
        return "controller", ["proxy"]

    def get(references: list[str], *, timeout: float) -> None:
        assert (references, timeout) == (["proxy"], 90)
        done.append("HAProxy listens")
        if is_late:
            raise GetTimeoutError

    monkeypatch.setattr(api, "_create_controller_and_proxy_refs", create_controller)
    monkeypatch.setattr(clients, "ServeControllerClient", Client)
    monkeypatch.setattr(api, "_set_global_client", lambda client: done.append(type(client)))

    def start_workers(number: int, *, keep_seconds: float, seconds: float) -> None:
        assert keep_seconds < seconds == 90
        done.append(number)

    monkeypatch.setattr(serving, "start_workers", start_workers)
    monkeypatch.setattr(ray, "get", get)
    schema = ServeDeploySchema(applications=[], http_options={"port": 1234})
    late = pytest.raises(TimeoutError, match="HAProxy does not listen after 90 s")
    with late if is_late else nullcontext():
        serving.start_serve(schema, 90)
    assert done == [Client, schema, 1, "HAProxy listens"]
    own = inspect.getsource(api.serve_start)
    assert "ServeControllerClient(controller)" in own
    assert "_set_global_client(client)" in own


def test_the_application_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Serve says of the application and its deployments; None while it does not answer."""
    from ray.exceptions import GetTimeoutError
    from ray.serve import context

    unhealthy = ApplicationStatus.UNHEALTHY
    answers: list[Any] = [
        GetTimeoutError("no answer"),
        {"applications": {}},
        {
            "applications": {
                "x": {
                    "status": unhealthy,
                    "message": "",
                    "deployments": {"A": {"message": "model refused"}, "B": {"message": ""}},
                }
            }
        },
    ]

    def get(reference: str, *, timeout: float) -> Any:
        assert (reference, timeout) == ("reference", 2)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    details = SimpleNamespace(remote=lambda: "reference")
    controller = SimpleNamespace(get_serve_instance_details=details)
    client = SimpleNamespace(_controller=controller)
    monkeypatch.setattr(context, "_get_global_client", lambda: client)
    monkeypatch.setattr(ray, "get", get)
    assert "self._controller.get_serve_instance_details.remote()" in inspect.getsource(
        ServeControllerClient.get_serve_details
    )
    assert serving.application_status(2) is None
    deleted = serving.application_status(2)
    assert deleted == serving.ApplicationStatus("DELETED", ())
    found = serving.application_status(2)
    assert found == serving.ApplicationStatus("UNHEALTHY", ("model refused",))


@pytest.mark.parametrize(
    ("node", "expected"), [("127.0.0.1", "127.0.0.1:0"), ("10.0.0.7", "[::]:0")]
)
def test_a_replica_listens_where_its_node_does(
    monkeypatch: pytest.MonkeyPatch, node: str, expected: str
) -> None:
    """On one machine for this machine only; in a cluster, for other nodes."""
    from ray.serve._private import default_impl, grpc_util, replica

    assert 'add_port_to_grpc_server(self._server, "[::]:0")' in inspect.getsource(replica)
    assert 'add_grpc_address(server, f"[::]:{' in inspect.getsource(grpc_util)
    asked: list[str] = []
    names = ((replica, "add_port_to_grpc_server"), (default_impl, "add_grpc_address"))
    for module, name in names:
        monkeypatch.setattr(module, name, lambda _server, address: asked.append(address))
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: node)
    serving.listen_on_loopback()
    for module, name in names:
        getattr(module, name)(None, "[::]:0")
    assert asked == [expected] * 2


def test_a_controller_that_starts_again_is_patient() -> None:
    """It kills every replica that has not told it about itself, after a time that is set here."""
    from ray.serve._private import deployment_state

    code = inspect.getsource(deployment_state)
    assert "ReplicaState.RECOVERING, stop_on_slow=True" in code
    program = "import ray.serve._private.deployment_state as d; print(d.SLOW_STARTUP_WARNING_S)"
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, **PRODUCTION},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert printed.strip() == PRODUCTION["RAY_SERVE_SLOW_STARTUP_WARNING_S"]
    assert int(printed) > 30


def test_what_a_replica_tells_about_itself_fits_into_a_message() -> None:
    """Its configuration above all, with the classes of router and policy by value."""
    config = DeploymentConfig.from_default(
        autoscaling_config=ServeConfig.read(packaged_config()).scaling.autoscaling,
        request_router_config=RequestRouterConfig(),
    )
    size = len(ray.cloudpickle.dumps(config))
    # More than Ray sends in a message by default, and much less than it may send here.
    limit = "RAY_max_direct_call_object_size"
    assert size < int(PRODUCTION[limit]) / 2
    raylet = (RAY / "core" / "src" / "ray" / "raylet" / nodes.RAYLET).read_bytes()
    assert limit.removeprefix("RAY_").encode() in raylet
