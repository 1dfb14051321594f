"""How replicas fit into worker pods, and worker pods onto nodes."""

import math
from dataclasses import dataclass

from serve_app.errors import UserError

_ROUNDING = 1e-9
"""0.3 / 0.1 is 2.9999999999999996: rounding noise must not cost a replica."""


def replicas_per_worker(replica_cpus: float, worker_cpus: float) -> int:
    """Replicas that one worker pod holds.

    Args:
        replica_cpus: CPUs that a replica asks for.
        worker_cpus: CPUs of a worker pod that Ray may give to replicas.

    Raises:
        UserError: a replica asks for nothing, or does not fit.
    """
    if not replica_cpus > 0:
        raise UserError(f"replica_cpus is {replica_cpus}, must be above 0")
    if not worker_cpus >= replica_cpus:
        raise UserError(
            f"a replica of {replica_cpus:g} CPUs does not fit into a worker of {worker_cpus:g}"
        )
    return math.floor(worker_cpus / replica_cpus + _ROUNDING)


@dataclass(frozen=True)
class Sizes:
    """What machines are made of; all numbers are finite and not negative.

    Raises:
        UserError: one thing does not fit into the next.
    """

    replica_cpus: float
    """CPUs that a replica asks for."""
    worker_cpus: float
    """CPUs of a worker pod that Ray may give to replicas."""
    node_vcpus: int
    """vCPUs of a node; they are what is paid for."""
    vcpu_hour_price: float
    """Price of one vCPU for one hour, in any currency."""
    reserved_cpus: float = 0.4
    """CPUs of a node that the pods of the system ask for."""
    head_nodes: int = 1
    """Nodes that carry no worker: Ray's head, and its spare."""
    sidecar_cpus: float = 0.0
    """CPUs that a worker pod asks for on top, for its other containers."""

    def __post_init__(self) -> None:
        """Check that everything fits."""
        if self.replicas_per_worker and self.workers_per_node < 1:
            raise UserError(
                f"a worker of {self.worker_cpus + self.sidecar_cpus:g} CPUs does not fit onto a "
                f"node of {self.node_vcpus} vCPUs, {self.allocatable_cpus:.2f} of which are for "
                "pods"
            )

    @property
    def replicas_per_worker(self) -> int:
        """Replicas that one worker pod holds."""
        return replicas_per_worker(self.replica_cpus, self.worker_cpus)

    def workers(self, replicas: int) -> int:
        """Worker pods that so many replicas need."""
        return math.ceil(replicas / self.replicas_per_worker)

    @property
    def allocatable_cpus(self) -> float:
        """CPUs of a node that pods of ours may ask for.

        GKE keeps 6 % of the first core, 1 % of the second, 0.5 % of the next two and 0.25 % of the
        rest: https://cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes
        """
        kept = 0.0
        for first, last, share in ((0, 1, 0.06), (1, 2, 0.01), (2, 4, 0.005), (4, 10**6, 0.0025)):
            kept += share * max(0, min(self.node_vcpus, last) - first)
        return self.node_vcpus - kept - self.reserved_cpus

    @property
    def workers_per_node(self) -> int:
        """Worker pods that one node holds."""
        pod_cpus = self.worker_cpus + self.sidecar_cpus
        return math.floor(self.allocatable_cpus / pod_cpus + _ROUNDING)

    def nodes(self, workers: int) -> int:
        """Nodes that so many worker pods and the head need."""
        return math.ceil(workers / self.workers_per_node) + self.head_nodes
