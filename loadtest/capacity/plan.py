"""How many replicas, pods and nodes a load needs, from the model of one replica."""

import bisect
import math
from dataclasses import dataclass

from deploy.sizes import Sizes
from loadtest.capacity.replica_model import ReplicaModel
from serve_app.errors import UserError

MILLION = 1_000_000
MAX_REPLICAS = 1_000_000


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
    """Size a cluster.

    Args:
        model: what one replica can do.
        sizes: what a replica, a worker pod and a node have.
        rps: requests per second, above 0.
        p99_ms: longest time that 99 % may take, milliseconds, above 0.
        cpu_target: CPU utilisation that the autoscaling holds, above 0 and at most 1.

    Raises:
        UserError: no number of replicas reaches ``p99_ms``.
    """
    for_p99 = fewest_replicas(model, rps=rps, p99_ms=p99_ms)
    for_cpu = math.ceil(rps / (model.capacity_rps * cpu_target) - 1e-9)
    replicas = max(for_p99, for_cpu)
    workers = sizes.workers(replicas)
    nodes = sizes.nodes(workers)
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
        UserError: an idle replica is slower already, or it would take more than a million.
    """
    idle = model.idle_ms(0.99)
    if p99_ms < idle:
        raise UserError(
            f"no number of replicas reaches a p99 of {p99_ms:g} ms: it takes {idle:.1f} ms without "
            "any queue; allow more, or make the prediction faster"
        )
    # The wait falls as replicas are added. Each has its own queue: proxies on different nodes know
    # nothing of each other's requests.
    fewest = bisect.bisect_left(
        range(MAX_REPLICAS + 1),
        True,  # noqa: FBT003 - what the key becomes
        lo=1,
        key=lambda count: model.latency_ms(0.99, replicas=count, rps=rps, pooled=False) <= p99_ms,
    )
    if fewest > MAX_REPLICAS:
        raise UserError(f"{rps:g} requests/s take more than {MAX_REPLICAS:,} replicas")
    return fewest


def describe(planned: Plan, model: ReplicaModel, sizes: Sizes, cpu_target: float) -> str:
    """The plan in a few lines."""
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
