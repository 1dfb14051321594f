"""The README's figures are those of the last kept run and of today's files."""

import json
import re
from pathlib import Path

import pytest

from bench import readme
from deploy.gke.target import GkeTarget
from deploy.render import Manifests
from tests.kuberay.manifests import RayService, rendered
from tests.support.service import PROJECT

MANIFESTS = Manifests.open(PROJECT)


def test_the_readme_has_not_drifted() -> None:
    """It shows what ``nox -s generate`` writes."""
    text = readme.README.read_text(encoding="utf-8")
    assert readme.with_figures(text) == text


def test_a_readme_without_the_marks_is_refused() -> None:
    """Figures must not be missing silently."""
    with pytest.raises(ValueError, match="generated: scaling --> 0 times, not once"):
        readme.with_figures("# How fast")


def test_the_capacity_of_a_replica_is_measured() -> None:
    """It is the median of the last kept run, to the hundred."""
    rps = readme.replica_rps(readme.newest_run())
    assert rps % 100 == 0
    assert f"{rps:,}"[:1] in readme.speed(readme.newest_run())


def test_models_and_systems_that_were_not_measured_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of typed columns and its rows of peers are there once a run has them."""
    monkeypatch.setattr(readme, "PROJECT", tmp_path)
    document = json.loads(readme.newest_run().read_text(encoding="utf-8"))
    iris = ("ceiling", "lr", "rf")
    document["samples"] = [
        each for each in document["samples"] if set(each["system"].split("-")) & set(iris)
    ]
    run = tmp_path / "run.json"
    run.write_text(json.dumps(document), encoding="utf-8")
    assert "mixed columns" not in readme.speed(run)
    sample = {"measure": "throughput-32", "round": 1, "values": {"rate": 1234.0}}
    for system in ("ours-mixed-onnx", "bentoml-mixed"):
        document["samples"].append({**sample, "system": system})
    run.write_text(json.dumps(document), encoding="utf-8")
    _, _, table = readme.speed(run).partition("mixed columns, requests/s")
    assert re.findall(r"^\| ([\w ]+?) +\| 1,234 ", table, re.MULTILINE) == [
        "this service",
        "BentoML",
    ]
    assert "MLServer" not in table


def test_the_table_follows_the_measured_capacity() -> None:
    """One row for each number of replicas, with the load that brings it and what it can do."""
    lines = readme.scaling_steps(MANIFESTS, 1000, 1500).splitlines()[2:6]
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines] == [
        ["none", "2", "2", "2", "2,000"],
        ["above 1,800", "3", "3", "2", "3,000"],
        ["above 2,700", "4", "4", "3", "4,000"],
        ["above 3,600", "5", "5", "3", "5,000"],
    ]


def test_two_ray_clusters_fit_the_nodes() -> None:
    """In an upgrade all workers and the head are there twice, sidecars and autoscaler included."""
    service = RayService(rendered("overlays/gke"))
    machine = readme.sizes(MANIFESTS)
    autoscaler = service.cluster["autoscalerOptions"]
    head = readme.pod_cpus({"containers": [*service.head_pod["containers"], autoscaler]})
    assert head <= machine.allocatable_cpus

    assert 2 * machine.nodes(service.workers["maxReplicas"]) <= GkeTarget.max_nodes
