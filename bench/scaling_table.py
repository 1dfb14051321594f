"""A table of what each step of scaling brings: replicas, pods, nodes, requests."""

from decimal import Decimal
from typing import Any

from deploy.gke.target import GkeTarget
from deploy.render import Manifests, worker_range
from deploy.sizes import Sizes
from serve_app.cli.style import markdown_table

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
    quantities = [str(each["resources"]["requests"]["cpu"]) for each in containers]
    return float(
        sum(
            Decimal(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)
            for text in quantities
        )
    )


def table(manifests: Manifests, replica_rps: int) -> str:
    """The table and what triggers each step, as Markdown.

    ``replica_rps`` is the most requests per second of one replica, measured.
    """
    config = manifests.config_for(OVERLAY)
    scaling, machine = config.scaling, sizes(manifests)
    least, most = scaling.options["min_replicas"], scaling.options["max_replicas"]
    rows = []
    for replicas in range(least, most + 1):
        threshold = (replicas - 1) * replica_rps * scaling.cpu_target
        pods = machine.workers(replicas)
        rows.append(
            {
                "load that brings it, requests/s": f"above {threshold:,.0f}"
                if replicas > least
                else "none",
                "replicas": replicas,
                "worker pods": pods,
                "nodes, with the head's": machine.nodes(pods),
                "at most, requests/s": f"{replicas * replica_rps:,}",
            }
        )
    _, most_workers = worker_range(config, manifests.worker_cpus)
    return (
        f"{markdown_table(rows)}\n\n"
        f"{replica_rps:,} requests/s per replica; {machine.replicas_per_worker} replica per pod, "
        f"{machine.workers_per_node} pods per node ({GkeTarget.machine_type}). "
        f"CPU above {scaling.cpu_target:.0%}, or more than "
        f"{scaling.options['target_ongoing_requests']} requests at "
        "once per replica, brings a replica; a replica that fits no worker, "
        "a pod; a pod that fits no node, a node. An update "
        f"in place takes up to {most_workers} workers, a new image all of it twice: the set-up "
        f"allows {GkeTarget.max_nodes} nodes."
    )
