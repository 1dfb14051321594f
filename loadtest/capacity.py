r"""How many replicas, pods and nodes a load needs, and what a million predictions cost.

    python -m loadtest.capacity --curve steps.csv --rps 5000 --p99-ms 50 \\
        --worker-cpus 3 --node-vcpus 4 --vcpu-hour-price 0.05

The curve is what the load test's `steps` scenario measured (``--curve``); the model is in
`ReplicaModel`, its measured error in docs/decisions/0008-capacity-model.md.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtest.command_line import USAGE_ERROR, Parser
from loadtest.curve import read_curve
from loadtest.deployed import read_serve_config
from loadtest.machines import Sizes
from loadtest.replica_model import ReplicaModel

HOW_TO_MEASURE = """\
The curve is measured with the load test, against one replica; its last step must be more than the
replica can answer:

  locust -f loadtest/locustfile.py --host URL --headless --scenario steps --users N --curve F

where N is the highest rate, a request a second of each user, and F the file. Failures are part of a
saturated service: --max-failure-share 1 lets them be.
"""

MILLION = 1_000_000
MAX_REPLICAS = 1_000_000


class PlanError(ValueError):
    """A target that cannot be planned for: names the value and the fix."""


@dataclass(frozen=True)
class Plan:
    """What the load needs."""

    rps: float
    p99_target_ms: float
    replicas_for_p99: int
    """The fewest that keep p99 within its target."""
    replicas_for_cpu: int
    """What the autoscaling holds: as many as bring CPU utilisation to its target."""
    replicas: int
    """The larger of both."""
    utilisation: float
    p99_ms: float
    """Predicted for ``replicas``, each with its own queue: the safe side."""
    p99_pooled_ms: float
    """The same if one proxy sees all replicas: the best case."""
    saturation_rps: float
    workers: int
    nodes: int
    """Those of the workers and `Sizes.head_nodes`."""
    cost_per_million: float


def plan(
    model: ReplicaModel, sizes: Sizes, *, rps: float, p99_ms: float, cpu_target: float
) -> Plan:
    """Size a cluster for ``rps`` requests per second within ``p99_ms`` milliseconds.

    Raises:
        PlanError: a target is not above 0, or no number of replicas reaches it.
    """
    for name, value in (("--rps", rps), ("--p99-ms", p99_ms), ("--cpu-target", cpu_target)):
        if not 0 < value < math.inf:
            raise PlanError(f"{name} {value:g} must be above 0")
    if cpu_target > 1:
        raise PlanError(f"--cpu-target {cpu_target:g} must be at most 1")
    for_p99 = fewest_replicas(model, rps=rps, p99_ms=p99_ms)
    for_cpu = math.ceil(rps / (model.capacity_rps * cpu_target) - 1e-9)
    replicas = max(for_p99, for_cpu)
    workers = math.ceil(replicas / sizes.replicas_per_worker)
    nodes = math.ceil(workers / sizes.workers_per_node) + sizes.head_nodes
    return Plan(
        rps=rps,
        p99_target_ms=p99_ms,
        replicas_for_p99=for_p99,
        replicas_for_cpu=for_cpu,
        replicas=replicas,
        utilisation=rps / model.saturation_rps(replicas),
        p99_ms=model.latency_ms(0.99, replicas=replicas, rps=rps, pooled=False),
        p99_pooled_ms=model.latency_ms(0.99, replicas=replicas, rps=rps, pooled=True),
        saturation_rps=model.saturation_rps(replicas),
        workers=workers,
        nodes=nodes,
        cost_per_million=nodes * sizes.node_vcpus * sizes.vcpu_hour_price / (rps * 3600) * MILLION,
    )


def fewest_replicas(model: ReplicaModel, *, rps: float, p99_ms: float) -> int:
    """The fewest replicas that carry ``rps`` with a p99 of ``p99_ms`` at most.

    Raises:
        PlanError: an idle replica is slower already, or it would take more than a million.
    """
    idle = model.idle_ms(0.99)
    if p99_ms < idle:
        raise PlanError(
            f"no number of replicas reaches a p99 of {p99_ms:g} ms: it takes {idle:.1f} ms without "
            "any queue; allow more, or make the prediction faster"
        )
    # The wait falls as replicas are added, so that halving finds the fewest.
    low = math.floor(rps / model.capacity_rps)
    high = low + 1
    while high <= MAX_REPLICAS and _p99(model, high, rps) > p99_ms:
        low, high = high, high + max(1, high - low) * 2
    if high > MAX_REPLICAS:
        raise PlanError(f"{rps:g} requests/s take more than {MAX_REPLICAS:,} replicas")
    while high - low > 1:
        middle = (low + high) // 2
        if _p99(model, middle, rps) > p99_ms:
            low = middle
        else:
            high = middle
    return high


def _p99(model: ReplicaModel, replicas: int, rps: float) -> float:
    """Without pooling: proxies on different nodes know nothing of each other's requests."""
    return model.latency_ms(0.99, replicas=replicas, rps=rps, pooled=False)


def describe(planned: Plan, model: ReplicaModel, sizes: Sizes, cpu_target: float) -> str:
    """The plan in a few lines, for people."""
    return "\n".join(
        f"{name:<14}{text}"
        for name, text in {
            "one replica": f"saturates at {model.capacity_rps:,.1f} requests/s; p99 without a "
            f"queue {model.idle_ms(0.99):.1f} ms; fits the curve's p99 within {model.error:.0%}",
            "target": f"{planned.rps:,.0f} requests/s, p99 within {planned.p99_target_ms:g} ms",
            "replicas": f"{planned.replicas:,}: {planned.replicas_for_p99:,} for the p99, "
            f"{planned.replicas_for_cpu:,} for {cpu_target:.0%} CPU",
            "expect": f"{planned.utilisation:.0%} busy, p99 {planned.p99_pooled_ms:.1f} ms (one "
            f"proxy) to {planned.p99_ms:.1f} ms (many), saturation at "
            f"{planned.saturation_rps:,.0f} requests/s",
            "worker pods": f"{planned.workers:,} of {sizes.worker_cpus:g} CPUs, "
            f"{sizes.replicas_per_worker} replicas each",
            "nodes": f"{planned.nodes:,} of {sizes.node_vcpus} vCPUs, {sizes.head_nodes} of them "
            "for the head",
            "cost": f"{planned.cost_per_million:.4f} per million predictions",
        }.items()
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    given = _parse(arguments)
    try:
        deployed = read_serve_config(given.config)
        sizes = Sizes(
            replica_cpus=(
                deployed.replica_cpus if given.replica_cpus is None else given.replica_cpus
            ),
            worker_cpus=given.worker_cpus,
            node_vcpus=given.node_vcpus,
            vcpu_hour_price=given.vcpu_hour_price,
            reserved_cpus=given.reserved_cpus,
            head_nodes=given.head_nodes,
        )
        cpu_target = deployed.cpu_target if given.cpu_target is None else given.cpu_target
        model = ReplicaModel.fit(read_curve(given.curve))
        planned = plan(model, sizes, rps=given.rps, p99_ms=given.p99_ms, cpu_target=cpu_target)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    if given.json:
        print(json.dumps(asdict(planned)))
    else:
        print(describe(planned, model, sizes, cpu_target))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m loadtest.capacity",
        description="Plan replicas, pods, nodes and cost from a measured saturation curve.",
        epilog=HOW_TO_MEASURE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--curve", type=Path, required=True, help="CSV file that the `steps` scenario wrote"
    )
    parser.add_argument("--rps", type=float, required=True, help="requests per second to plan for")
    parser.add_argument(
        "--p99-ms", type=float, required=True, help="milliseconds that 99 %% may take at most"
    )
    parser.add_argument(
        "--vcpu-hour-price", type=float, required=True, help="price of one vCPU for one hour"
    )
    parser.add_argument("--worker-cpus", type=float, required=True, help="CPUs of a worker pod")
    parser.add_argument("--node-vcpus", type=int, required=True, help="vCPUs of a node")
    parser.add_argument(
        "--reserved-cpus",
        type=float,
        default=Sizes.reserved_cpus,
        help="CPUs of a node that pods of the system ask for (default: %(default)s)",
    )
    parser.add_argument(
        "--head-nodes",
        type=int,
        default=Sizes.head_nodes,
        help="nodes that carry no worker (default: %(default)s)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("serve_config.yaml"),
        help="Serve config with num_cpus and the CPU target (default: %(default)s)",
    )
    parser.add_argument("--replica-cpus", type=float, help="in place of the config's num_cpus")
    parser.add_argument("--cpu-target", type=float, help="in place of the config's cpu_target")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
