"""The README's table of what each step of scaling can do: replicas, pods, nodes, requests.

python -m deploy.scaling_table    writes it; a test fails when it has drifted
"""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from deploy.gke.target import GkeTarget
from deploy.render import Manifests, worker_range
from deploy.sizes import Sizes

REPLICA_RPS = 5500
"""Most requests per second of one replica of the default model: `nox -s bench`, ours-lr-onnx at 32
connections, 5,717 at the median, on 2 cores shared with HAProxy and the load generator. For another
model or machine, measure: `serve-app plan --help`."""

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- generated: scaling -->\n", "<!-- end -->\n"
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


def table(manifests: Manifests) -> str:
    """The table and what triggers each step, as Markdown."""
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
        threshold = (replicas - 1) * REPLICA_RPS * scaling.cpu_target
        load = f"above {threshold:,.0f}" if replicas > least else "none"
        pods = machine.workers(replicas)
        most_rps = f"{replicas * REPLICA_RPS:,}"
        lines.append(f"| {load} | {replicas} | {pods} | {machine.nodes(pods)} | {most_rps} |")
    _, most_workers = worker_range(config, manifests.worker_cpus)
    explanation = (
        f"{REPLICA_RPS:,} requests/s per replica; {machine.replicas_per_worker} replica per pod, "
        f"{machine.workers_per_node} pods per node ({GkeTarget.machine_type}). "
        f"CPU above {scaling.cpu_target:.0%}, or more than "
        f"{scaling.options['target_ongoing_requests']} requests at "
        "once per replica, brings a replica; a replica that fits no worker, "
        "a pod; a pod that fits no node, a node. An update "
        f"in place takes up to {most_workers} workers, a new image all of it twice: the set-up "
        f"allows {GkeTarget.max_nodes} nodes."
    )
    return "\n".join([*lines, "", explanation, ""])


def with_table(readme: str) -> str:
    """``readme`` with the table of today between its marks."""
    content = table(Manifests.open(ROOT))
    pattern = f"{re.escape(BEGIN)}.*?{re.escape(END)}"
    replaced, count = re.subn(
        pattern, lambda _match: f"{BEGIN}\n{content}\n{END}", readme, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"README.md has {count} times the marks {BEGIN!r} and {END!r}, not once")
    return replaced


def _cpus(quantity: str) -> Decimal:
    text = str(quantity)
    return Decimal(text[:-1]) / 1000 if text.endswith("m") else Decimal(text)


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(README)
