"""Start a Ray whose processes belong to this one."""

import re
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from serve_app.ray_internals.nodes import RAYLET
from serve_app.ray_internals.replacing import replaced

LOG_SECONDS = 0.1
"""Between two looks into logs that have nothing new, as Ray has it."""
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


def start_ray(address: str, *, object_store_bytes: int, seconds: float) -> str:
    """Start a Ray of one node, all of whose processes listen on ``address`` only; returns its id.

    There is no dashboard; no autoscaler, because no other nodes follow; and no process that reads
    what workers log, which `follow_logs` does. A loopback address needs `start_environment`, or
    ``init`` in ray/_private/worker.py replaces it. Source: ``RayParams`` in
    ray/_private/parameter.py, which gives the dashboard's agent a fixed port; ``Node`` in
    ray/_private/node.py, which waits 30 s for the raylet, in calls of ``get_node``, and starts a
    process in place of the dashboard that only counts usage.

    Args:
        address: address of the node.
        object_store_bytes: memory of the object store.
        seconds: how long to wait for the raylet.
    """
    import logging

    import ray
    from ray._private import node, parameter, services, worker

    some_params = partial(
        parameter.RayParams,
        dashboard_agent_listen_port=0,
        include_log_monitor=False,
        no_monitor=True,
    )
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
        replaced(parameter, "RayParams", some_params),
        replaced(node.Node, "start_api_server", lambda _node, **_options: None),
    ):
        context = ray.init(
            address="local",
            namespace="serve",
            include_dashboard=False,
            object_store_memory=object_store_bytes,
            logging_level=logging.WARNING,
            _node_ip_address=address,
        )
    node_id: str = context.address_info["node_id"]
    return node_id


def start_workers(number: int, *, keep_seconds: float, seconds: float) -> None:
    """Start worker processes that nobody has asked for.

    Source: ``HandlePrestartWorkers`` in src/ray/raylet/node_manager.cc; ``free`` in
    ray/_private/internal_api.py calls the raylet in the same way.

    Args:
        number: of processes.
        keep_seconds: after which one ends that nothing has used.
        seconds: how long to wait for the raylet's answer.
    """
    import ray
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import common_pb2, node_manager_pb2, node_manager_pb2_grpc

    (node,) = ray.nodes()
    channel = init_grpc_channel(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}")
    with channel:
        request = node_manager_pb2.PrestartWorkersRequest(
            language=common_pb2.Language.PYTHON,
            num_workers=number,
            keep_alive_duration_secs=round(keep_seconds),
        )
        node_manager_pb2_grpc.NodeManagerServiceStub(channel).PrestartWorkers(
            request, timeout=seconds
        )


def follow_logs(stop: threading.Event) -> None:
    """Publish what worker processes write to their logs, for Ray to print here; until ``stop``.

    Ray has a process for it, which takes as much memory as all that it imports. Source: ``run`` of
    ``LogMonitor`` and the program in ray/_private/log_monitor.py.
    """
    from ray._private import log_monitor, worker

    node: Any = worker._global_node  # noqa: SLF001
    monitor = log_monitor.LogMonitor(
        node.node_ip_address,
        node.get_logs_dir_path(),
        log_monitor.GcsClient(address=node.gcs_address),
        log_monitor.is_proc_alive,
        gcs_address=node.gcs_address,
    )
    looked = time.time()
    while not stop.is_set():
        if monitor.should_update_filenames(looked):
            monitor.update_log_filenames()
            looked = time.time()
        monitor.open_closed_files()
        if not monitor.check_log_files_and_publish_updates():
            stop.wait(LOG_SECONDS)
    for file in monitor.open_file_infos:
        file.file_handle.close()


def start_dashboard() -> str:
    """Start the dashboard of the Ray of this process, and what it shows of nodes; its address.

    It waits until the dashboard answers. The processes die with the thread that calls this: they
    ask the kernel for that, as ``start_ray_process`` in ray/_private/services.py does.
    """
    from ray._private import worker

    node: Any = worker._global_node  # noqa: SLF001
    node.start_monitor()
    node.start_api_server(include_dashboard=True, raise_on_failure=True)
    return f"http://{node.webui_url}"


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
