"""How replicas fit into worker pods, and worker pods onto nodes."""

import math
from dataclasses import dataclass


class SizeError(ValueError):
    """A size that is out of range, or does not fit: names the values."""


@dataclass(frozen=True)
class Sizes:
    """What machines are made of.

    Raises:
        SizeError: a size or price is out of range, or one thing does not fit into the next.
    """

    replica_cpus: float
    """CPUs that a replica asks for."""
    worker_cpus: float
    """CPUs that a worker pod asks for, and that Ray may give to replicas."""
    node_vcpus: int
    """vCPUs of a node; they are what is paid for."""
    vcpu_hour_price: float
    """Price of one vCPU for one hour, in any currency."""
    reserved_cpus: float = 0.4
    """CPUs of a node that the pods of the system ask for."""
    head_nodes: int = 1
    """Nodes that carry no worker: Ray's head, and its spare."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("replica_cpus", "worker_cpus", "node_vcpus", "vcpu_hour_price"):
            if not 0 < getattr(self, name) < math.inf:
                raise SizeError(f"{name} is {getattr(self, name)}, must be above 0")
        for name in ("reserved_cpus", "head_nodes"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SizeError(f"{name} is {getattr(self, name)}, must not be negative")
        if self.replicas_per_worker < 1:
            raise SizeError(
                f"a replica of {self.replica_cpus:g} CPUs does not fit into a worker of "
                f"{self.worker_cpus:g}"
            )
        if self.workers_per_node < 1:
            raise SizeError(
                f"a worker of {self.worker_cpus:g} CPUs does not fit onto a node of "
                f"{self.node_vcpus} vCPUs, {self.allocatable_cpus:.2f} of which are for pods"
            )

    @property
    def replicas_per_worker(self) -> int:
        """Replicas that one worker pod holds."""
        return math.floor(self.worker_cpus / self.replica_cpus + 1e-9)

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
        return math.floor(self.allocatable_cpus / self.worker_cpus + 1e-9)
