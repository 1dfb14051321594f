"""A Ray cluster with an autoscaler on this machine: real nodes' processes, no machines.

Ray has this for its own tests (`ray.cluster_utils.AutoscalingCluster`). That class reads a file
that Ray's wheel does not contain, and stops every other Ray on the machine; so its node provider
is used here without it.
"""

import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from serve_app.environment import PRODUCTION, launch_environment

ADDRESS = "127.0.0.1"
HEAD_NODE_ID = "f" * 51 + "00000"
"""The node provider counts on from here."""
OBJECT_STORE_BYTES = 80 * 1024 * 1024
START_SECONDS = 90.0
STOP_SECONDS = 10.0
REPORT_SECONDS = 2


class ClusterError(Exception):
    """The local cluster does not start: names the problem and the fix."""


class LocalCluster:
    """A head without CPUs and workers with one CPU each; always stopped on exit.

    Not ``production`` is Serve's plain mode: its own Python proxy, no HAProxy.
    """

    def __init__(
        self,
        *,
        max_nodes: int,
        idle_seconds: float,
        log_file: Path,
        min_nodes: int = 0,
        production: bool = True,
    ) -> None:
        self.token = secrets.token_hex(32)
        self._min_nodes, self._max_nodes = min_nodes, max_nodes
        self._idle_seconds = idle_seconds
        self._production = production
        self._log_file = log_file
        self._gcs_port, self._dashboard_port = free_port(), free_port()
        self._scratch = tempfile.TemporaryDirectory(prefix="scale-", ignore_cleanup_errors=True)
        self._head: subprocess.Popen[bytes] | None = None

    @property
    def dashboard_url(self) -> str:
        """Address of the dashboard."""
        return f"http://{ADDRESS}:{self._dashboard_port}"

    def __enter__(self) -> Self:
        """Start the head and wait for its dashboard.

        Raises:
            ClusterError: it does not come up.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        config = Path(self._scratch.name, "autoscaler.json")
        config.write_text(json.dumps(self._autoscaler_config()), encoding="utf-8")
        with self._log_file.open("wb") as log:
            self._head = subprocess.Popen(
                [
                    *("ray", "start", "--head", "--block", "--num-cpus=0"),
                    *(f"--node-ip-address={ADDRESS}", f"--port={self._gcs_port}"),
                    f"--dashboard-port={self._dashboard_port}",
                    # Another Ray on this machine may have the default ports.
                    f"--ray-client-server-port={free_port()}",
                    f"--dashboard-agent-listen-port={free_port()}",
                    *(f"--object-store-memory={OBJECT_STORE_BYTES}", "--disable-usage-stats"),
                    f"--autoscaling-config={config}",
                    # In its usual place, Ray would note this cluster as the one that `serve run`
                    # and others connect to, even when it has gone.
                    f"--temp-dir={self._scratch.name}",
                ],
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for this program; it stops the cluster in its own order.
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not _listens(self._dashboard_port):
            if self._head.poll() is not None or time.monotonic() > deadline:
                raise ClusterError(
                    f"the local Ray cluster did not start; {self._log_file} says why"
                )
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop every process of the cluster, and no other."""
        if self._head is not None:
            processes = _family(self._head.pid)
            for process in processes:
                _quietly(process.terminate)
            _, alive = psutil.wait_procs(processes, timeout=STOP_SECONDS)
            for process in alive:
                _quietly(process.kill)
            psutil.wait_procs(alive, timeout=STOP_SECONDS)
            self._head.wait()
            self._head = None
        self._scratch.cleanup()

    def _environment(self) -> dict[str, str]:
        return {
            **serving_environment(os.environ, production=self._production),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": HEAD_NODE_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_NODE_ID,
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            # What is watched each second must not be a quarter of a minute old.
            "REPORTER_UPDATE_INTERVAL_MS": str(REPORT_SECONDS * 1000),
            "RAY_metrics_report_interval_ms": str(REPORT_SECONDS * 1000),
            "RAY_DASHBOARD_STATS_UPDATING_INTERVAL": str(REPORT_SECONDS),
            "NODE_STATS_UPDATE_INTERVAL_SECONDS": str(REPORT_SECONDS),
        }

    def _autoscaler_config(self) -> dict[str, Any]:
        provider = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
        lists = (
            *("initialization_commands", "setup_commands", "head_setup_commands"),
            *("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
            *("cluster_synced_files", "rsync_exclude", "rsync_filter"),
        )
        return {
            "cluster_name": "scale",
            "max_workers": self._max_nodes,
            "idle_timeout_minutes": self._idle_seconds / 60,
            "upscaling_speed": 1.0,
            "provider": {
                "type": "external",
                "module": provider,
                "use_node_id_as_ip": True,
                "disable_node_updaters": True,
                "disable_launch_config_check": True,
                "launch_multiple": True,
                "head_node_id": HEAD_NODE_ID,
                "gcs_address": f"{ADDRESS}:{self._gcs_port}",
            },
            "head_node_type": "ray.head.default",
            "available_node_types": {
                "ray.head.default": {"resources": {}, "node_config": {}, "max_workers": 0},
                "worker": {
                    "resources": {"CPU": 1, "object_store_memory": OBJECT_STORE_BYTES},
                    "node_config": {},
                    "min_workers": self._min_nodes,
                    "max_workers": self._max_nodes,
                },
            },
            "file_mounts_sync_continuously": False,
            **{name: {} for name in ("auth", "docker", "file_mounts")},
            **{name: [] for name in lists},
        }


def serving_environment(environment: Mapping[str, str], *, production: bool) -> dict[str, str]:
    """What Serve is started with: the production mode, or what ``serve run`` would have."""
    if production:
        return launch_environment(environment)
    return {name: value for name, value in environment.items() if name not in PRODUCTION}


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((ADDRESS, port)) == 0


def _family(pid: int) -> list[psutil.Process]:
    try:
        head = psutil.Process(pid)
        return [*head.children(recursive=True), head]
    except psutil.NoSuchProcess:
        return []


def _quietly(signal: Any) -> None:
    try:
        signal()
    except psutil.NoSuchProcess:
        return
