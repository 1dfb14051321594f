"""A Ray cluster with an autoscaler on this machine: its nodes are processes."""

import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtest.scale.dashboard import Dashboard
from serve_app.environment import PRODUCTION, launch_environment
from serve_app.ray_internals.haproxy import haproxy_files
from serve_app.ray_internals.local_cluster import fake_cluster_config, fake_cluster_environment
from serve_app.runtime.ports import LOOPBACK, fixed_ports, free_port, listens
from serve_app.runtime.processes import Command
from serve_app.runtime.request_limits import request_limits
from serve_app.serve_config import ServeConfig

OBJECT_STORE_BYTES = 80 * 1024 * 1024
START_SECONDS = 90.0
STOP_SECONDS = 10.0
REPORT_SECONDS = 2
"""Ray's own default would make what is recorded each second a quarter of a minute old."""


@contextmanager
def local_cluster(
    config: ServeConfig,
    *,
    max_nodes: int,
    idle_seconds: float,
    log_file: Path,
    min_nodes: int = 0,
    production: bool = True,
) -> Iterator[Dashboard]:
    """A head without CPUs and workers with one CPU each; every process is stopped on exit.

    Args:
        config: what will be deployed there, through the dashboard that this yields.
        max_nodes: worker nodes at most.
        idle_seconds: a node that is idle for so long is stopped.
        log_file: takes the log of the head.
        min_nodes: worker nodes at least.
        production: if False, Serve's plain mode: its own Python proxy, no HAProxy.

    Raises:
        ProcessError: the head does not start.
    """
    gcs_port, dashboard_port, token = free_port(), free_port(), secrets.token_hex(32)
    with tempfile.TemporaryDirectory(prefix="scale-", ignore_cleanup_errors=True) as scratch:
        autoscaler = Path(scratch, "autoscaler.json")
        content = fake_cluster_config(
            gcs_address=f"{LOOPBACK}:{gcs_port}",
            min_nodes=min_nodes,
            max_nodes=max_nodes,
            idle_seconds=idle_seconds,
            node_resources={"CPU": 1, "object_store_memory": OBJECT_STORE_BYTES},
        )
        autoscaler.write_text(json.dumps(content), encoding="utf-8")
        command = [
            # Plain mode also where this process runs in the production mode, as in the image.
            *("env", *(() if production else (f"--unset={name}" for name in PRODUCTION))),
            *("ray", "start", "--head", "--block", "--num-cpus=0"),
            *(f"--node-ip-address={LOOPBACK}", f"--port={gcs_port}"),
            f"--dashboard-port={dashboard_port}",
            # Another Ray on this machine may have the default ports.
            f"--ray-client-server-port={free_port()}",
            f"--dashboard-agent-listen-port={free_port()}",
            *(f"--object-store-memory={OBJECT_STORE_BYTES}", "--disable-usage-stats"),
            f"--autoscaling-config={autoscaler}",
            # In its usual place, Ray would note this cluster as the one that `serve run` and
            # others connect to, even after it has stopped.
            f"--temp-dir={scratch}",
        ]
        with Command(
            command,
            log=log_file,
            environment={
                **(_production(config, Path(scratch)) if production else {}),
                **fake_cluster_environment(REPORT_SECONDS),
                # The command ray is beside this Python, whose environment need not be activated.
                "PATH": f"{os.environ.get('PATH', '')}:{Path(sys.executable).parent}",
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": token,
            },
            stop_seconds=STOP_SECONDS,
            # A head does not stop its fake nodes.
            stop_tree=True,
        ) as head:
            head.wait_until(lambda: listens(dashboard_port), START_SECONDS)
            with Dashboard(f"http://{LOOPBACK}:{dashboard_port}", config, token=token) as dashboard:
                yield dashboard


def _production(config: ServeConfig, directory: Path) -> dict[str, str]:
    """Variables of the production mode that disturb no other service of this machine."""
    return {
        **fixed_ports(os.environ, move=True, say=print),
        **haproxy_files(directory),
        **launch_environment(os.environ, request_limits(config)),
    }
