"""A Ray that belongs to this process, against the installed Ray."""

import inspect
import logging
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.experimental import internal_kv

from serve_app.ray_internals import nodes, start
from tests.ray_internals.installed import NODE_ID, RAY, source


def test_rays_start_is_given_time() -> None:
    """Every variable is one that Ray reads."""
    raylet = (RAY / "core" / "src" / "ray" / "raylet" / nodes.RAYLET).read_bytes()
    files = {
        "RAY_AUTH_MODE": "_private/authentication/authentication_token_setup.py",
        "RAY_gcs_server_port_wait_time_s": "_private/node.py",
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "_private/ray_constants.py",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "_private/ray_constants.py",
    }
    variables = start.start_environment(90)
    assert files.keys() < variables.keys()
    for name, value in variables.items():
        assert value in ("token", "0", "1", "90", "90000")
        if name in files:
            assert f'"{name}"' in source(files[name])
        else:
            assert name.removeprefix("RAY_").encode() in raylet


def test_ray_listens_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would replace a loopback address, and would wait for the raylet no longer than 30 s.

    Its agent would have the same port in every service. What nobody asked for is not started.
    """
    from ray._private import parameter, ray_constants, services, worker
    from ray._private.node import Node

    assert ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR in start.start_environment(1)
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)  # as Ray reads it from there
    starting = source("_private/worker.py")
    assert "_node_ip_address = services.resolve_ip_for_localhost(" in starting
    assert "ray_params = ray._private.parameter.RayParams(" in starting
    waiting = inspect.getsource(Node.__init__)
    _, _, loop = waiting.partition("raylet_start_wait_time_s = 30")
    assert "ray._private.services.get_node(" in loop.partition("except RuntimeError")[0]
    head = inspect.getsource(Node.start_head_processes)
    assert "if not self._ray_params.no_monitor:" in head
    assert "self.start_api_server(" in head
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
        parameters = parameter.RayParams()
        assert parameters.dashboard_agent_listen_port == 0
        assert parameters.no_monitor
        assert not parameters.include_log_monitor
        assert Node.start_api_server(None, include_dashboard=False, raise_on_failure=False) is None
        return SimpleNamespace(address_info={"node_id": NODE_ID})

    resolve, start_api_server = services.resolve_ip_for_localhost, Node.start_api_server
    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(worker, "print_worker_logs", worker.print_worker_logs)
    logger = logging.getLogger("ray.serve")
    monkeypatch.setattr(logger, "level", logger.level)
    found = start.start_ray("127.0.0.1", object_store_bytes=1, seconds=60)
    assert found == NODE_ID
    assert (services.resolve_ip_for_localhost, services.get_node) == (resolve, get_node)
    assert Node.start_api_server is start_api_server
    assert parameter.RayParams().dashboard_agent_listen_port == 52365


def test_the_dashboard_is_started_as_rays_own_start_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of its processes, with arguments that Ray's functions take."""
    from ray._private import worker
    from ray._private.node import Node

    started: list[str] = []
    api_server = inspect.signature(Node.start_api_server)
    inspect.signature(Node.start_monitor).bind(None)

    class FakeNode:
        webui_url = "127.0.0.1:8266"

        def start_monitor(self) -> None:
            started.append("monitor")

        def start_api_server(self, **options: Any) -> None:
            assert api_server.bind(self, **options).arguments["include_dashboard"]
            started.append("dashboard")

    monkeypatch.setattr(worker, "_global_node", FakeNode())
    assert start.start_dashboard() == "http://127.0.0.1:8266"
    assert started == ["monitor", "dashboard"]


def test_worker_processes_are_asked_of_the_raylet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real server gets the request that its protocol describes."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from ray.core.generated import node_manager_pb2, node_manager_pb2_grpc

    asked: list[Any] = []

    class Raylet(node_manager_pb2_grpc.NodeManagerServiceServicer):  # type: ignore[misc]
        def PrestartWorkers(self, request: Any, context: Any) -> Any:  # noqa: N802 - Ray's name
            asked.append(request)
            return node_manager_pb2.PrestartWorkersReply()

    server = grpc.server(ThreadPoolExecutor(1))
    node_manager_pb2_grpc.add_NodeManagerServiceServicer_to_server(Raylet(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    node = {"NodeManagerAddress": "127.0.0.1", "NodeManagerPort": port}
    monkeypatch.setattr(ray, "nodes", lambda: [node])
    try:
        start.start_workers(1, keep_seconds=60, seconds=20)
    finally:
        server.stop(0).wait()
    (request,) = asked
    assert (request.num_workers, request.keep_alive_duration_secs) == (1, 60)


def test_what_workers_log_is_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray's own reader finds the lines of a worker's file, old and new, until it is stopped."""
    from ray._private import log_monitor, worker
    from ray.autoscaler.v2 import utils

    published: list[str] = []
    stop = threading.Event()

    class Gcs:
        def __init__(self, *, address: str) -> None:
            assert address == "127.0.0.1:1"

        def publish_logs(self, data: dict[str, Any]) -> None:
            published.extend(data["lines"])
            if "second" in data["lines"]:
                stop.set()
            else:
                with path.open("a", encoding="utf-8") as file:
                    file.write("second\n")

    node = SimpleNamespace(
        gcs_address="127.0.0.1:1",
        node_ip_address="127.0.0.1",
        get_logs_dir_path=lambda: str(tmp_path),
    )
    assert "if self._ray_params.include_log_monitor:" in source("_private/node.py")
    monkeypatch.setattr(worker, "_global_node", node)
    monkeypatch.setattr(log_monitor, "GcsClient", Gcs)
    monkeypatch.setattr(internal_kv, "_internal_kv_initialized", lambda: True)
    monkeypatch.setattr(utils, "cached_is_autoscaler_v2", True)
    path = tmp_path / f"worker-{'0' * 56}-01000000-{os.getpid()}.out"
    path.write_text("first\n", encoding="utf-8")
    start.follow_logs(stop)
    assert published == ["first", "second"]


def test_noise_is_dropped_and_errors_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line that is dropped is one that Ray prints; all others still appear."""
    from ray._private import worker

    text = source("serve/_private/controller.py")
    assert "Throughput optimized Ray Serve enabled" in text
    assert "won't accept " in text
    monkeypatch.setattr(worker, "print_worker_logs", worker.print_worker_logs)
    start._drop_noise(worker)
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
