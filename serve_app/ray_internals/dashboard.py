"""The dashboard's HTTP interface: paths, and what its answers mean."""

import re
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class RunningScaling:
    """How a deployment scales, as the cluster was told."""

    min_replicas: int
    max_replicas: int
    cpu_target: float | None
    """Argument of this project's policy; None if it has none."""


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


def read_scaling(application: Any, deployment: str) -> RunningScaling | None:
    """A deployment's autoscaling; None if it has none. ``DeploymentDetails``, as above."""
    found = application["deployments"].get(deployment, {})
    options = found.get("deployment_config", {}).get("autoscaling_config")
    if not options:
        return None
    target = options.get("policy", {}).get("policy_kwargs", {}).get("cpu_target")
    return RunningScaling(
        min_replicas=options["min_replicas"],
        max_replicas=options["max_replicas"],
        cpu_target=None if target is None else float(target),
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
