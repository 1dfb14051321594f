"""The README's table follows from the config, the manifests and the machines."""

import pytest

from deploy import scaling_table
from deploy.gke.target import GkeTarget
from deploy.render import Manifests
from tests.kuberay.manifests import RayService, rendered

MANIFESTS = Manifests.open(scaling_table.ROOT)


def test_the_readme_has_not_drifted() -> None:
    """It shows what `python -m deploy.scaling_table` writes from today's sources."""
    readme = scaling_table.README.read_text(encoding="utf-8")
    assert scaling_table.with_table(readme) == readme


def test_the_table_follows_the_measured_capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row for each number of replicas, with the load that brings it and what it can do."""
    monkeypatch.setattr(scaling_table, "REPLICA_RPS", 1000)
    lines = scaling_table.table(MANIFESTS).splitlines()[2:6]
    assert [line.strip("| ").split(" | ") for line in lines] == [
        ["none", "2", "2", "2", "2,000"],
        ["above 1,200", "3", "3", "2", "3,000"],
        ["above 1,800", "4", "4", "3", "4,000"],
        ["above 2,400", "5", "5", "3", "5,000"],
    ]


def test_a_readme_without_the_marks_is_refused() -> None:
    """Better than a table that is silently not there."""
    with pytest.raises(ValueError, match=r"README\.md has 0 times the marks"):
        scaling_table.with_table("# Run it on GKE")


def test_two_ray_clusters_fit_the_nodes() -> None:
    """In an upgrade all workers and the head are there twice, sidecars and autoscaler included."""
    service = RayService(rendered("overlays/gke"))
    machine = scaling_table.sizes(MANIFESTS)
    autoscaler = service.cluster["autoscalerOptions"]
    head = scaling_table.pod_cpus({"containers": [*service.head_pod["containers"], autoscaler]})
    assert head <= machine.allocatable_cpus

    assert 2 * machine.nodes(service.workers["maxReplicas"]) <= GkeTarget.max_nodes
