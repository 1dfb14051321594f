"""A node's processes, logs and draining, against the installed Ray."""

import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from serve_app.ray_internals import nodes
from tests.ray_internals.installed import NODE_ID, RAY, source


def test_the_main_processes_have_their_names() -> None:
    """Ray starts these executables, and these classes as actors."""
    from ray._private import services
    from ray.serve._private.common import DeploymentID
    from ray.serve._private.controller import ServeController
    from ray.serve._private.haproxy import HAProxyManager
    from ray.serve._private.proxy import ProxyActor

    replica = DeploymentID(name="Classifier", app_name="iris").to_replica_actor_class_name()
    assert f"ray::{replica}" == f"{nodes.REPLICA}:iris:Classifier"
    assert Path(services.RAYLET_EXECUTABLE).name == nodes.RAYLET
    assert Path(services.GCS_SERVER_EXECUTABLE).name == nodes.GCS
    for title, name in (
        (nodes.CONTROLLER, ServeController.__name__),
        (nodes.HAPROXY_MANAGER, HAProxyManager.__ray_metadata__.class_name),
        (nodes.FALLBACK_PROXY, ProxyActor.__ray_metadata__.class_name),
    ):
        assert title == f"ray::{name}"


def test_the_program_of_the_dashboard_has_its_path() -> None:
    """Ray starts this file."""
    starts = source("_private/services.py")
    assert 'dashboard_dir = "dashboard"\n' in starts
    assert 'os.path.join(RAY_PATH, dashboard_dir, "dashboard.py")' in starts
    assert RAY.joinpath(nodes.DASHBOARD.removeprefix("ray/")).is_file()


def test_a_node_is_drained_by_a_command_that_ray_knows() -> None:
    """Ray's own parser takes every option and the reason."""
    from ray.scripts.scripts import cli, drain_node

    program, name, *options = nodes.drain_node_command("head:6379", "it ends", 60)
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
    assert session / "logs" == nodes.SESSION_LOGS
    node = source("_private/node.py")
    assert 'self._logs_dir = os.path.join(self._session_dir, "logs")' in node
    assert 'log_stderr = self._get_log_file_name(name, "err", unique=unique)' in node
    assert Path(get_serve_logs_dir()).name == nodes.SERVE_LOGS
    monkeypatch.setattr(worker, "_global_node", object())
    identified = SimpleNamespace(get_worker_id=lambda: NODE_ID)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: identified)
    for kind, is_worker in (("WORKER", True), ("SPILL_WORKER", False)):
        name = f"{get_worker_log_file_name(kind, '01000000')}.err"
        assert fnmatch.fnmatch(name, nodes.WORKER_ERRORS) is is_worker
