"""The table of scaling steps follows from the config, the manifests and the machines."""

from deploy import scaling_table
from deploy.gke.target import GkeTarget
from deploy.render import Manifests
from tests.kuberay.manifests import RayService, rendered
from tests.support.service import PROJECT

MANIFESTS = Manifests.open(PROJECT)


def test_the_table_follows_the_measured_capacity() -> None:
    """One row for each number of replicas, with the load that brings it and what it can do."""
    lines = scaling_table.table(MANIFESTS, 1000).splitlines()[2:6]
    assert [line.strip("| ").split(" | ") for line in lines] == [
        ["none", "2", "2", "2", "2,000"],
        ["above 1,200", "3", "3", "2", "3,000"],
        ["above 1,800", "4", "4", "3", "4,000"],
        ["above 2,400", "5", "5", "3", "5,000"],
    ]


def test_two_ray_clusters_fit_the_nodes() -> None:
    """In an upgrade all workers and the head are there twice, sidecars and autoscaler included."""
    service = RayService(rendered("overlays/gke"))
    machine = scaling_table.sizes(MANIFESTS)
    autoscaler = service.cluster["autoscalerOptions"]
    head = scaling_table.pod_cpus({"containers": [*service.head_pod["containers"], autoscaler]})
    assert head <= machine.allocatable_cpus

    assert 2 * machine.nodes(service.workers["maxReplicas"]) <= GkeTarget.max_nodes
