"""Start a Ray whose processes belong to this one."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from serve_app.ray_internals.nodes import RAYLET
from serve_app.ray_internals.replacing import replaced

NOISE = re.compile(
    # Logged at every start, about what PRODUCTION asks for.
    r"Throughput optimized Ray Serve enabled|^\s+• |"
    # One machine has no other nodes.
    r"won't accept connections from HAProxy on other nodes|"
    # A call of a controller that is stopped, or that Ray restarts.
    r"Task ServeController\.\w+ failed\. There are infinite retries|"
    # The launcher says itself that the raylet has ended; this is its last state on forty lines.
    r"^Raylet is terminated\. Termination is unexpected"
)
"""Lines of Ray's processes that tell a user nothing; every other line is printed."""


def start_environment(seconds: float) -> dict[str, str]:
    """Variables for a Ray on one machine.

    Source: ``RAY_CONFIG`` in src/ray/common/ray_config_def.h, whose names the raylet contains;
    ray/_private/ray_constants.py, ``start_gcs_server`` in ray/_private/node.py and
    ``enable_token_auth_by_default`` in ray/_private/authentication/authentication_token_setup.py.

    Args:
        seconds: how long each step of the start may take; Ray's own limits are 30 to 60 s.
    """
    whole = str(round(seconds))
    return {
        # Ray's default; a warning says so unless it is set.
        "RAY_AUTH_MODE": "token",
        "RAY_gcs_server_port_wait_time_s": whole,
        # One of the tries of `start_ray`.
        "RAY_raylet_start_wait_time_s": "1",
        "RAY_agent_register_timeout_ms": str(round(seconds * 1000)),
        "RAY_worker_register_timeout_seconds": whole,
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S": whole,
        # This machine's address is then the loopback one for all of Ray's processes, as on Windows
        # and macOS: the node listens there, and the dashboard finds it there.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


@dataclass(frozen=True)
class StartedRay:
    """A Ray that belongs to this process."""

    node_id: str
    dashboard_url: str


def start_ray(
    address: str, *, dashboard: bool, object_store_bytes: int, seconds: float
) -> StartedRay:
    """Start a Ray of one node, all of whose processes listen on ``address`` only.

    A loopback address needs `start_environment`, or ``init`` in ray/_private/worker.py replaces it.
    Source: ``RayParams`` in ray/_private/parameter.py, which gives the dashboard's agent a fixed
    port; ``Node`` in ray/_private/node.py, which waits 30 s for the raylet, in calls of
    ``get_node``.

    Args:
        address: address of the node.
        dashboard: whether to start the dashboard.
        object_store_bytes: memory of the object store.
        seconds: how long to wait for the raylet.
    """
    import logging

    import ray
    from ray._private import parameter, services, worker

    any_port = partial(parameter.RayParams, dashboard_agent_listen_port=0)
    get_node, deadline = services.get_node, time.monotonic() + seconds

    def get_node_in_time(*arguments: Any) -> Any:
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError as error:
                if time.monotonic() > deadline:
                    raise
                if _has_ended(RAYLET):
                    raise ChildProcessError("the raylet has ended during its start") from error
            time.sleep(0.1)

    _drop_noise(worker)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    with (
        replaced(services, "get_node", get_node_in_time),
        replaced(parameter, "RayParams", any_port),
    ):
        context = ray.init(
            address="local",
            namespace="serve",
            include_dashboard=dashboard,
            object_store_memory=object_store_bytes,
            logging_level=logging.WARNING,
            _node_ip_address=address,
        )
    return StartedRay(context.address_info["node_id"], f"http://{context.dashboard_url}")


def _has_ended(name: str) -> bool:
    """Whether a child of this process has ended."""
    import psutil

    children = psutil.Process().children()
    return any(c.status() == psutil.STATUS_ZOMBIE and c.name() == name for c in children)


def _drop_noise(worker: Any) -> None:
    """Print what Ray's processes log, without `NOISE`.

    Source: ``print_worker_logs`` in ray/_private/worker.py.
    """
    print_logs = worker.print_worker_logs

    def print_all_but_noise(data: Mapping[str, Any], *arguments: Any) -> None:
        lines = [line for line in data["lines"] if not NOISE.search(line)]
        if any(line.strip() for line in lines):
            print_logs({**data, "lines": lines}, *arguments)

    worker.print_worker_logs = print_all_but_noise
