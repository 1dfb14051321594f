"""The client of Ray's dashboard, and its errors."""

from pathlib import Path
from typing import Any

import pytest

from loadtest.scale.dashboard import Dashboard, find_token
from loadtest.scale.samples import WorkerNodes
from serve_app.errors import UserError
from serve_app.ray_internals.dashboard import APPLICATIONS_PATH as SERVE
from serve_app.ray_internals.dashboard import DeploymentStatus, RunningScaling
from serve_app.serve_config import ServeConfig
from tests.support.canned_server import CannedServer
from tests.support.service import CONFIG

STATUS = """\
======== Autoscaler status: 2026-11-23 16:41:09.408950 ========
Node status
---------------------------------------------------------------
Active:
 1 worker
 1 node_fff00
Idle:
 {idle}
Pending:
{pending}
Recent failures:
 (no failures)
"""


METRICS = """\
# HELP ray_serve_autoscaling_total_requests x
ray_serve_autoscaling_total_requests{deployment="Other"} 9.0
ray_serve_autoscaling_total_requests{a="b",deployment="Classifier"} 4.5
"""
TOKEN = "a-token-for-tests"  # noqa: S105


def watching(url: str, token: str | None = None) -> Dashboard:
    """A client that watches the deployment of `applications`."""
    return Dashboard(url, ServeConfig.read(CONFIG), token=token)


def applications(**deployment: Any) -> dict[str, Any]:
    return {
        "applications": {
            "classifier": {
                "status": "RUNNING",
                "message": "",
                "deployments": {"Classifier": deployment},
            }
        }
    }


def replica(state: str, node: str, pid: int | None) -> dict[str, Any]:
    return {"state": state, "node_id": node, "pid": pid}


ANSWERS = {
    SERVE: (
        200,
        applications(
            target_num_replicas=3,
            replicas=[
                replica("RUNNING", "a", 1),
                replica("RUNNING", "b", 2),
                replica("STARTING", "b", None),
                replica("STOPPING", "a", 4),
            ],
        ),
    ),
    "/api/v0/nodes": (
        200,
        {
            "data": {
                "result": {
                    "result": [
                        {"node_id": "h", "state": "ALIVE", "is_head_node": True},
                        {"node_id": "a", "state": "ALIVE", "is_head_node": False},
                        {"node_id": "d", "state": "DEAD", "is_head_node": False},
                    ]
                }
            }
        },
    ),
    "/api/cluster_status": (
        200,
        {
            "data": {
                "clusterStatus": STATUS.format(
                    idle="(no idle nodes)", pending=" worker, 2 launching"
                )
            }
        },
    ),
    "/nodes/a": (
        200,
        {"data": {"detail": {"workers": [{"pid": 1, "cpuPercent": 90.0}, {"pid": 4}]}}},
    ),
    "/nodes/b": (200, {"data": {"detail": {"workers": [{"pid": 2, "cpuPercent": 30.0}]}}}),
    "/metrics": (200, METRICS),
}


def test_how_the_cluster_was_told_to_scale() -> None:
    """Its own bounds and target count, not those of a config at hand; a fixed size has none."""
    options = {
        "min_replicas": 2,
        "max_replicas": 5,
        "policy": {"policy_function": "x:y", "policy_kwargs": {"cpu_target": 0.5}},
    }
    for config, expected in (
        ({"autoscaling_config": options}, RunningScaling(2, 5, 0.5)),
        ({"autoscaling_config": {**options, "policy": {}}}, RunningScaling(2, 5, None)),
        ({"num_replicas": 2}, None),
    ):
        with (
            CannedServer({SERVE: (200, applications(deployment_config=config))}) as server,
            watching(server.url) as dashboard,
        ):
            assert dashboard.scaling() == expected


def test_replicas_nodes_and_load() -> None:
    """Only what runs counts as running; the head is no worker; only our processes' CPU counts."""
    answers: dict[str, tuple[int, Any]] = dict(ANSWERS)
    with (
        CannedServer(answers) as server,
        watching(server.url) as dashboard,
    ):
        answers["/api/prometheus/sd"] = (200, [{"targets": ["127.0.0.1:9", server.address]}])
        deployment = dashboard.deployment()
        assert (deployment.status, deployment.desired_replicas) == ("RUNNING", 3)
        assert deployment.running == (("a", 1), ("b", 2))
        assert dashboard.nodes() == WorkerNodes(desired=3, running=1)
        assert dashboard.utilisation(deployment) == pytest.approx(0.6)
        assert dashboard.ongoing_requests() == 4.5


def test_metrics_out_of_reach_are_unknown() -> None:
    """Through a port-forward of the dashboard alone, the nodes' metrics cannot be read."""
    answers = {"/api/prometheus/sd": (200, [{"targets": ["127.0.0.1:9"]}])}
    with (
        CannedServer(answers) as server,
        watching(server.url) as dashboard,
    ):
        assert dashboard.ongoing_requests() is None


@pytest.mark.parametrize(
    ("idle", "pending", "count"),
    [
        ("(no idle nodes)", " (no pending nodes)", 1),
        ("2 worker", " (no pending nodes)", 3),
        ("(no idle nodes)", " worker, 2 launching", 3),
        ("1 cpu", " worker, 2 launching\n 10.0.0.7: worker, starting ray", 5),
        ("(no idle nodes)", " ray-worker-x: cpu, setting up\n ray-worker-y: cpu, setting up", 3),
    ],
)
def test_desired_nodes(idle: str, pending: str, count: int) -> None:
    """Nodes that run but for the head, those asked for, and those that are being launched."""
    status = STATUS.format(idle=idle, pending=pending)
    answers = {**ANSWERS, "/api/cluster_status": (200, {"data": {"clusterStatus": status}})}
    with CannedServer(answers) as server, watching(server.url) as dashboard:
        assert dashboard.nodes() == WorkerNodes(desired=count, running=1)


def test_without_an_autoscaler_the_running_nodes_are_desired() -> None:
    """There is no status then."""
    answers = {**ANSWERS, "/api/cluster_status": (200, {"data": {"clusterStatus": None}})}
    with CannedServer(answers) as server, watching(server.url) as dashboard:
        assert dashboard.nodes() == WorkerNodes(desired=1, running=1)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({}, "is this a Ray dashboard"),
        ({SERVE: (200, "<html>")}, "is this a Ray dashboard"),
        ({SERVE: (500, "no GCS")}, "500: no GCS"),
        ({SERVE: (500, "Traceback:\n  File x\n")}, "500: Traceback: File x; is this"),
        ({SERVE: (200, {"hello": "world"})}, r'answered what Ray does not.*"hello"'),
        ({SERVE: (200, [])}, "answered what Ray does not"),
        ({SERVE: (200, None)}, "answered what Ray does not"),
        ({SERVE: (200, {"applications": {"classifier": {}}})}, "answered what Ray does not"),
        ({SERVE: (200, {"applications": {"chat": {}}})}, r"no application 'classifier'.*but chat"),
        ({SERVE: (200, {"applications": {}})}, "but none"),
    ],
)
def test_something_else_is_refused(answers: dict[str, Any], words: str) -> None:
    """One line that names the address and what was found there."""
    with (
        CannedServer(answers) as server,
        watching(server.url) as dashboard,
        pytest.raises(UserError, match=words) as caught,
    ):
        dashboard.deployment()
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answer", [{}, [1], None, {"data": {}}, {"data": None}])
def test_another_json_is_refused_everywhere(answer: Any) -> None:
    """A proxy may answer all addresses with something of its own."""
    paths = ("/api/v0/nodes", "/api/cluster_status", "/nodes/a", "/api/prometheus/sd", SERVE)
    with (
        CannedServer(dict.fromkeys(paths, (200, answer))) as server,
        watching(server.url) as dashboard,
    ):
        for ask in (
            dashboard.deployment,
            dashboard.nodes,
            lambda: dashboard.utilisation(DeploymentStatus("RUNNING", "", 1, (("a", 1),))),
        ):
            with pytest.raises(UserError, match="is this a Ray dashboard"):
                ask()
        if answer:
            with pytest.raises(UserError, match="is this a Ray dashboard"):
                dashboard.ongoing_requests()


def test_a_dashboard_that_wants_a_token() -> None:
    """Without it, or with another one, the line says how to give it; with it, it works."""
    with CannedServer(ANSWERS, token=TOKEN) as server:
        for token in (None, "guess"):
            with (
                watching(server.url, token) as dashboard,
                pytest.raises(UserError, match=r"asks for a token.*--token-file"),
            ):
                dashboard.deployment()
        with watching(server.url, TOKEN) as dashboard:
            assert dashboard.deployment().desired_replicas == 3


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "127.0.0.1:8265", "nonsense"])
def test_an_unreachable_dashboard(url: str) -> None:
    """Nobody there, or not an address at all."""
    with (
        watching(url) as dashboard,
        pytest.raises(UserError, match=r"cannot be reached \(.+\); check"),
    ):
        dashboard.deployment()


def test_the_token_is_where_ray_has_it(tmp_path: Path) -> None:
    """The option wins, then the two environment variables."""
    file = tmp_path / "token"
    file.write_text("from file\n")
    assert find_token({"RAY_AUTH_TOKEN": "from variable"}) == "from variable"
    assert find_token({"RAY_AUTH_TOKEN": "from variable"}, file) == "from file"
    assert find_token({"RAY_AUTH_TOKEN_PATH": str(file)}) == "from file"
    assert find_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}) is None
    with pytest.raises(UserError, match="token file"):
        find_token({}, tmp_path / "none")
