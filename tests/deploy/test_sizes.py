"""Pods and nodes are counted as Kubernetes counts them, and what fits nowhere is refused."""

from typing import Any

import pytest

from deploy.sizes import Sizes
from serve_app.errors import UserError


@pytest.mark.parametrize(("vcpus", "allocatable"), [(2, 1.93), (4, 3.92), (8, 7.91), (16, 15.89)])
def test_allocatable_cpus_of_gke(vcpus: int, allocatable: float) -> None:
    """What kubectl shows on such nodes of GKE."""
    sizes = Sizes(1, 1, vcpus, 0.05, reserved_cpus=0)
    assert sizes.allocatable_cpus == pytest.approx(allocatable, abs=0.005)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"replica_cpus": -1.0}, "replica_cpus is -1.0"),
        ({"worker_cpus": 0.5}, "replica of 1 CPUs does not fit into a worker of 0.5"),
        ({"node_vcpus": 2}, "worker of 3 CPUs does not fit onto a node of 2 vCPUs"),
        ({"worker_cpus": float("nan")}, "does not fit into a worker of nan"),
    ],
)
def test_impossible_sizes(changed: dict[str, Any], message: str) -> None:
    """Sizes that fit nowhere are refused; the ranges of options are the command line's."""
    values = {"replica_cpus": 1.0, "worker_cpus": 3.0, "node_vcpus": 4, "vcpu_hour_price": 0.05}
    with pytest.raises(UserError, match=message):
        Sizes(**(values | changed))


def test_whole_pods_on_whole_nodes() -> None:
    """Two replicas of 1.5 CPUs fit into a pod of 3.5, two such pods onto a node of 8 vCPUs."""
    sizes = Sizes(1.5, 3.5, 8, 0.05)
    assert (sizes.replicas_per_worker, sizes.workers_per_node) == (2, 2)
    assert (sizes.workers(5), sizes.nodes(3)) == (3, 3)


def test_sidecars_take_room_on_nodes_but_hold_no_replica() -> None:
    """Ray counts the CPUs of its own container only; Kubernetes counts all of them."""
    sizes = Sizes(1, 1, 4, 0.05, sidecar_cpus=0.9)
    assert (sizes.replicas_per_worker, sizes.workers_per_node) == (1, 1)
