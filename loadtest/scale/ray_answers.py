"""What the answers of Ray's dashboard, and of its metrics, mean; no network here."""

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Application:
    """The deployment that is watched."""

    application: str
    deployment: str


@dataclass(frozen=True)
class Replicas:
    """A deployment's replicas at one moment."""

    status: str
    """The application's, such as RUNNING or DEPLOY_FAILED."""
    message: str
    wanted: int
    running: tuple[tuple[str, int], ...]
    """Node and process id of each running replica."""


@dataclass(frozen=True)
class Nodes:
    """Worker nodes at one moment; the head is none."""

    wanted: int
    """Running, or being launched."""
    running: int
    machines: int | None = None
    """Kubernetes nodes that they run on."""


def read_applications(answer: Any) -> dict[str, Any]:
    """The applications that Serve knows, by name."""
    return dict(answer["applications"])


def read_replicas(application: Any, deployment: str) -> Replicas:
    """Replicas of one deployment of an application."""
    found = application["deployments"].get(deployment, {})
    return Replicas(
        status=application["status"],
        message=application["message"],
        wanted=found.get("target_num_replicas", 0),
        running=tuple(
            (replica["node_id"], replica["pid"])
            for replica in found.get("replicas", [])
            if replica["state"] == "RUNNING"
        ),
    )


def count_running(answer: Any) -> int:
    """Worker nodes that are alive, from the list of all nodes."""
    nodes = answer["data"]["result"]["result"]
    return sum(node["state"] == "ALIVE" and not node["is_head_node"] for node in nodes)


def read_status(answer: Any) -> str:
    """The text that ``ray status`` shows; empty if there is no autoscaler."""
    return str(answer["data"]["clusterStatus"] or "")


def read_processes(answer: Any) -> dict[int, float]:
    """CPU utilisation of each of a node's processes, by process id; 1 is a whole CPU."""
    workers = answer["data"]["detail"].get("workers", [])
    return {w["pid"]: w["cpuPercent"] / 100 for w in workers if "cpuPercent" in w}


def read_targets(answer: Any) -> list[str]:
    """Addresses at which Ray's nodes show their metrics."""
    return [target for group in answer for target in group["targets"]]


def count_wanted(status: str) -> int:
    """Worker nodes that are there or on their way, from the text that ``ray status`` shows.

    Nodes that are there are counted by type, as in ``2 worker``, and the head is one of them; nodes
    on their way are counted as in ``worker, 2 launching``, or have a line of their own.
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


def read_metric(text: str, name: str, deployment: str) -> float | None:
    """Value of a deployment's gauge in Prometheus text; None if it is not there."""
    for line in text.splitlines():
        if line.startswith(f"{name}{{") and f'deployment="{deployment}"' in line:
            return float(line.rsplit(" ", 1)[1])
    return None
