"""A table of what each step of scaling brings: replicas, pods, nodes, requests."""

from decimal import Decimal
from typing import Any

from deploy.gke.target import GkeTarget
from deploy.render import Manifests, worker_range
from deploy.sizes import Sizes

OVERLAY = "overlays/gke"


def sizes(manifests: Manifests) -> Sizes:
    """A replica, a worker pod with its sidecar, and a node of the cluster that the set-up makes."""
    return Sizes(
        manifests.config.scaling.replica_cpus,
        manifests.worker_cpus,
        node_vcpus=int(GkeTarget.machine_type.rpartition("-")[2]),
        vcpu_hour_price=1,
        sidecar_cpus=pod_cpus(manifests.worker_pod) - manifests.worker_cpus,
    )


def pod_cpus(pod: Any) -> float:
    """CPUs that a pod asks for, sidecars included."""
    containers = [*pod["containers"], *pod.get("initContainers", [])]
    return float(sum(_cpus(each["resources"]["requests"]["cpu"]) for each in containers))


def table(manifests: Manifests, replica_rps: int) -> str:
    """The table and what triggers each step, as Markdown.

    Args:
        manifests: the manifests and the Serve config beside them.
        replica_rps: most requests per second of one replica, measured.
    """
    config = manifests.config_for(OVERLAY)
    scaling, machine = config.scaling, sizes(manifests)
    least, most = scaling.options["min_replicas"], scaling.options["max_replicas"]
    lines = [
        (
            "| load that brings it, requests/s | replicas | worker pods | nodes, with the head's "
            "| at most, requests/s |"
        ),
        "|---|---|---|---|---|",
    ]
    for replicas in range(least, most + 1):
        threshold = (replicas - 1) * replica_rps * scaling.cpu_target
        load = f"above {threshold:,.0f}" if replicas > least else "none"
        pods = machine.workers(replicas)
        most_rps = f"{replicas * replica_rps:,}"
        lines.append(f"| {load} | {replicas} | {pods} | {machine.nodes(pods)} | {most_rps} |")
    _, most_workers = worker_range(config, manifests.worker_cpus)
    explanation = (
        f"{replica_rps:,} requests/s per replica; {machine.replicas_per_worker} replica per pod, "
        f"{machine.workers_per_node} pods per node ({GkeTarget.machine_type}). "
        f"CPU above {scaling.cpu_target:.0%}, or more than "
        f"{scaling.options['target_ongoing_requests']} requests at "
        "once per replica, brings a replica; a replica that fits no worker, "
        "a pod; a pod that fits no node, a node. An update "
        f"in place takes up to {most_workers} workers, a new image all of it twice: the set-up "
        f"allows {GkeTarget.max_nodes} nodes."
    )
    return "\n".join([*lines, "", explanation, ""])


def _cpus(quantity: str) -> Decimal:
    text = str(quantity)
    return Decimal(text[:-1]) / 1000 if text.endswith("m") else Decimal(text)
