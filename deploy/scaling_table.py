"""The README's table of what each step of scaling can do: replicas, pods, nodes, requests.

python -m deploy.scaling_table    writes it; a test fails when it has drifted
"""

import math
import re
import sys
from decimal import Decimal
from typing import Any

import yaml

from deploy.gke.target import Target
from deploy.render import AUTOSCALING, RAY_SERVICE, cpus_per_worker, deployment, serve_config
from deploy.render import workers as worker_range
from deploy.sizes import Sizes

REPLICA_RPS = 5500
"""Most requests per second of one replica of the default model: `nox -s bench`, ours-lr-onnx at 32
connections, 5,717 at the median, on 2 cores shared with HAProxy and the load generator. For another
model or machine, measure: `serve-app plan --help`."""

README = RAY_SERVICE.parents[2] / "README.md"
BEGIN, END = "<!-- python -m deploy.scaling_table -->\n", "<!-- end -->\n"
OVERLAY = "overlays/gke"


def sizes() -> Sizes:
    """A replica, a worker pod with its sidecar, and a node of the cluster that the set-up makes."""
    replica = deployment(serve_config({}))["ray_actor_options"]["num_cpus"]
    vcpus = int(Target.machine_type.rpartition("-")[2])
    return Sizes(replica, pod_cpus(_worker_pod()), vcpus, vcpu_hour_price=1)


def pod_cpus(pod: dict[str, Any]) -> float:
    """CPUs that a pod asks for, sidecars included."""
    containers = [*pod["containers"], *pod.get("initContainers", [])]
    return float(sum(_cpus(each["resources"]["requests"]["cpu"]) for each in containers))


def nodes(workers: int) -> int:
    """Nodes for so many workers, and one for the head."""
    machine = sizes()
    return math.ceil(workers / machine.workers_per_node) + machine.head_nodes


def table() -> str:
    """The table and what triggers each step, as Markdown."""
    config = serve_config(AUTOSCALING[OVERLAY])
    scaling = deployment(config)["autoscaling_config"]
    target = scaling["policy"]["policy_kwargs"]["cpu_target"]
    per_worker = cpus_per_worker() // deployment(config)["ray_actor_options"]["num_cpus"]
    _, most_workers = worker_range(config, cpus_per_worker())
    least, most = scaling["min_replicas"], scaling["max_replicas"]
    lines = [
        (
            "| load that brings it, requests/s | replicas | worker pods | nodes, with the head's "
            "| at most, requests/s |"
        ),
        "|---|---|---|---|---|",
    ]
    for replicas in range(least, most + 1):
        pods = math.ceil(replicas / per_worker)
        load = f"above {(replicas - 1) * REPLICA_RPS * target:,.0f}" if replicas > least else "none"
        most_rps = f"{replicas * REPLICA_RPS:,}"
        lines.append(f"| {load} | {replicas} | {pods} | {nodes(pods)} | {most_rps} |")
    return "\n".join([*lines, "", _explanation(per_worker, target, most_workers, scaling), ""])


def _explanation(per_worker: int, target: float, most_workers: int, scaling: dict[str, Any]) -> str:
    machine = sizes()
    return (
        f"{REPLICA_RPS:,} requests/s per replica; {per_worker} replica per pod, "
        f"{machine.workers_per_node} pods per node ({Target.machine_type}). "
        f"CPU above {target:.0%}, or more than {scaling['target_ongoing_requests']} requests at "
        "once per replica, brings a replica; a replica that fits no worker, "
        "a pod; a pod that fits no node, a node. An update "
        f"in place takes up to {most_workers} workers, a new image all of it twice: the set-up "
        f"allows {Target.max_nodes} nodes."
    )


def with_table(readme: str) -> str:
    """``readme`` with the table of today between its marks."""
    pattern = f"{re.escape(BEGIN)}.*{re.escape(END)}"
    replaced, count = re.subn(
        pattern, lambda _match: f"{BEGIN}\n{table()}\n{END}", readme, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"README.md has {count} times the marks {BEGIN!r} and {END!r}, not once")
    return replaced


def _worker_pod() -> dict[str, Any]:
    service = yaml.safe_load(RAY_SERVICE.read_text(encoding="utf-8"))
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    return dict(group["template"]["spec"])


def _cpus(quantity: str) -> Decimal:
    text = str(quantity)
    return Decimal(text[:-1]) / 1000 if text.endswith("m") else Decimal(text)


def main() -> int:
    """Write the table; returns the exit code."""
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(README)
    return 0


if __name__ == "__main__":
    sys.exit(main())
