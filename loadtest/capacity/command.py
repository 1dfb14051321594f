r"""How many replicas, pods and nodes a load needs, and what a million predictions cost.

    serve-app plan --curve steps.csv --rps 5000 --p99-ms 50 \\
        --worker-cpus 3 --node-vcpus 4 --vcpu-hour-price 0.05

The curve is what the load test's `steps` scenario measured (``--curve``); the model is in
`ReplicaModel`, its measured error in docs/decisions/0008-capacity-model.md.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from loadtest.command_line import USAGE_ERROR, Parser
from loadtest.driver.curve import read_curve
from loadtest.deployed import read_serve_config
from deploy.sizes import Sizes
from loadtest.capacity.replica_model import ReplicaModel
from loadtest.capacity.plan import Plan, plan

HOW_TO_MEASURE = """\
The curve is measured with the load test, against one replica; its last step must be more than the
replica can answer:

  locust -f loadtest/locustfile.py --host URL --headless --scenario steps --users N --curve F

where N is the highest rate, a request a second of each user, and F the file. Failures are part of a
saturated service: --max-failure-share 1 lets them be.
"""


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
        prog="serve-app plan",
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
