"""The dashboard's paths and answers, against the installed Ray."""

import json
import re
from typing import Any, get_args

import prometheus_client
import pytest
from ray.serve.schema import (
    ApplicationDetails,
    DeploymentDetails,
    ReplicaDetails,
    ServeInstanceDetails,
)

from serve_app.ray_internals import dashboard
from tests.ray_internals.installed import NODE_ID, source


@pytest.mark.parametrize(
    ("path", "file"),
    [
        (dashboard.APPLICATIONS_PATH, "serve/serve_head.py"),
        (dashboard.NODES_PATH, "state/state_head.py"),
        (dashboard.node_path("{node_id}"), "node/node_head.py"),
        (dashboard.METRIC_TARGETS_PATH, "reporter/reporter_head.py"),
        (dashboard.STATUS_PATH.partition("?")[0], "reporter/reporter_head.py"),
    ],
)
def test_the_dashboard_has_these_paths(path: str, file: str) -> None:
    """They are registered in the module that answers them."""
    assert f'@routes.get("{path}")' in source(f"dashboard/modules/{file}")


def answered(**content: Any) -> Any:
    """What the dashboard's own pages get as ``content``."""
    from ray.dashboard.optional_utils import rest_response
    from ray.dashboard.utils import HTTPStatusCode

    response = rest_response(status_code=HTTPStatusCode.OK, message="", **content)
    return json.loads(response.text)


def test_a_deployment_is_read_from_serves_details() -> None:
    """Names of fields and states are those of Serve's schema."""
    for model, fields in (
        (ServeInstanceDetails, {"applications"}),
        (ApplicationDetails, {"status", "message", "deployments"}),
        (DeploymentDetails, {"target_num_replicas", "replicas"}),
        (ReplicaDetails, {"state", "node_id", "pid"}),
    ):
        assert fields <= set(model.model_fields)
    states = [state.value for state in ReplicaDetails.model_fields["state"].annotation]
    assert "RUNNING" in states
    replicas = [
        {"state": state, "node_id": NODE_ID, "pid": pid} for pid, state in enumerate(states)
    ]
    application = {
        "status": "RUNNING",
        "message": "",
        "deployments": {"A": {"target_num_replicas": 2, "replicas": replicas}},
    }
    assert dashboard.read_applications({"applications": {"x": application}}) == {"x": application}
    running = ((NODE_ID, states.index("RUNNING")),)
    found = dashboard.read_deployment(application, "A")
    assert found == dashboard.DeploymentStatus("RUNNING", "", desired_replicas=2, running=running)
    assert dashboard.read_deployment(application, "B").desired_replicas == 0


def test_running_nodes_are_counted_without_the_head() -> None:
    """Names of fields and states are those of Ray's state API."""
    from ray._private.custom_types import TypeNodeStatus
    from ray.util.state.common import NodeState

    assert {"state", "is_head_node"} <= NodeState.columns()
    assert set(get_args(TypeNodeStatus)) == {"ALIVE", "DEAD"}
    nodes = [
        {"state": "ALIVE", "is_head_node": True},
        {"state": "ALIVE", "is_head_node": False},
        {"state": "DEAD", "is_head_node": False},
    ]
    listed = answered(convert_google_style=False, result={"result": nodes})
    assert dashboard.count_running_nodes(listed) == 1


@pytest.mark.parametrize(("launching", "starting"), [(0, 0), (2, 0), (0, 1), (2, 1)])
def test_desired_nodes_are_counted_in_rays_own_report(launching: int, starting: int) -> None:
    """Nodes that are active, idle, starting or about to be launched, without the head."""
    from ray.autoscaler.v2.schema import ClusterStatus, LaunchRequest, NodeInfo
    from ray.autoscaler.v2.utils import ClusterStatusFormatter

    def nodes(*types: str) -> list[NodeInfo]:
        return [NodeInfo("", each, "instance", "127.0.0.1", details="STARTING") for each in types]

    launch = LaunchRequest("", "worker", 1, LaunchRequest.Status.PENDING, 0)
    report = ClusterStatusFormatter.format(
        ClusterStatus(
            active_nodes=nodes("ray.head.default", "worker", "worker"),
            idle_nodes=nodes("worker"),
            pending_launches=[launch] * launching,
            pending_nodes=nodes(*["worker"] * starting),
        )
    )
    told = dashboard.read_status_text(answered(cluster_status=report))
    assert told == report
    assert dashboard.count_desired_nodes(told) == 3 + launching + starting


def test_without_an_autoscaler_no_node_is_desired() -> None:
    """The dashboard has no report then."""
    told = dashboard.read_status_text(answered(cluster_status=None))
    assert dashboard.count_desired_nodes(told) == 0


def test_processes_are_read_from_a_nodes_details() -> None:
    """A node reports them as psutil does, in camel case; some have no CPU utilisation yet."""
    reporter = source("dashboard/modules/reporter/reporter_agent.py")
    _, _, attributes = reporter.partition("PSUTIL_PROCESS_ATTRS = (\n")
    assert {'"pid"', '"cpu_percent"'} <= set(re.findall(r'"\w+"', attributes.partition("]")[0]))
    assert "worker_info = w.as_dict(attrs=PSUTIL_PROCESS_ATTRS)" in reporter
    workers = [{"pid": 7, "cpu_percent": 50.0}, {"pid": 8}]
    assert dashboard.read_processes(answered(detail={"workers": workers})) == {7: 0.5}
    assert dashboard.read_processes(answered(detail={})) == {}


def test_metrics_are_found_and_read() -> None:
    """Targets as Prometheus discovers them, and the gauge by its deployment."""
    discovery = source("_private/metrics_agent.py")
    assert '[{"labels": {"job": "ray"}, "targets": metrics_export_addresses}]' in discovery
    targets = [{"labels": {"job": "ray"}, "targets": ["127.0.0.1:1"]}, {"targets": ["a:2", "b:3"]}]
    assert dashboard.read_metric_targets(targets) == ["127.0.0.1:1", "a:2", "b:3"]

    name = dashboard.ONGOING_METRIC
    gauges = source("serve/_private/autoscaling_state.py")
    _, _, definition = gauges.partition(f'"{name.removeprefix("ray_")}"')
    assert definition.index('tag_keys=("deployment", "application")') < 300
    registry = prometheus_client.CollectorRegistry()
    gauge = prometheus_client.Gauge(name, "", ("application", "deployment"), registry=registry)
    gauge.labels("x", "A").set(12.5)
    text = prometheus_client.generate_latest(registry).decode()
    assert dashboard.read_metric(text, name, "A") == 12.5
    assert dashboard.read_metric(text, name, "B") is None
