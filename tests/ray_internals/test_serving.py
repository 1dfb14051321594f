"""How Serve is started, deployed to and asked, against the installed Ray."""

import inspect
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.serve._private.client import ServeControllerClient
from ray.serve.schema import (
    ApplicationStatus,
    ServeDeploySchema,
)

from serve_app.environment import PRODUCTION
from serve_app.ray_internals import serving


def test_serve_is_started_and_deployed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both private functions take the arguments that they are given."""
    from ray.serve._private import api

    deployed: list[ServeDeploySchema] = []
    start_and_wait = api.serve_start
    start, deploy = inspect.signature(start_and_wait), ServeControllerClient.deploy_apps

    def deploy_apps(*arguments: Any, **options: Any) -> None:
        bound = inspect.signature(deploy).bind(None, *arguments, **options)
        assert bound.arguments["_blocking"] is False
        deployed.append(bound.arguments["config"])

    def serve_start(*arguments: Any, **options: Any) -> SimpleNamespace:
        bound = start.bind(*arguments, **options)
        # Unknown names would be swallowed.
        assert set(bound.arguments) == {"http_options", "grpc_options", "proxy_location"}
        return SimpleNamespace(deploy_apps=deploy_apps)

    monkeypatch.setattr(api, "serve_start", serve_start)
    schema = ServeDeploySchema(applications=[], http_options={"port": 1234})
    serving.start_serve(schema, 90)
    assert deployed == [schema]
    assert api.HTTP_PROXY_TIMEOUT == 60
    assert "timeout=HTTP_PROXY_TIMEOUT" in inspect.getsource(start_and_wait)


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
    from ray.serve._private import replica

    assert 'add_port_to_grpc_server(self._server, "[::]:0")' in inspect.getsource(replica)
    asked: list[str] = []
    monkeypatch.setattr(
        replica, "add_port_to_grpc_server", lambda _server, address: asked.append(address)
    )
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: node)
    serving.listen_on_loopback()
    replica.add_port_to_grpc_server(None, "[::]:0")
    assert asked == [expected]


def test_a_controller_that_starts_again_is_patient() -> None:
    """It kills every replica that has not answered it after a time that the environment sets."""
    from ray.serve._private import deployment_state

    check = inspect.getsource(deployment_state.DeploymentStateManager.update)
    checks = inspect.getsource(deployment_state.DeploymentState)
    assert "ReplicaState.RECOVERING, stop_on_slow=True" in check + checks
    program = (
        "from ray.serve._private import deployment_state; "
        "print(deployment_state.SLOW_STARTUP_WARNING_S)"
    )
    environment = {**os.environ, **PRODUCTION}
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert int(printed) >= 120
