"""The README's figures are those of the last kept run and of today's files."""

import json
import re
from pathlib import Path

import pytest

from bench import RESULTS, readme
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
    _, _, rest = readme.speed(run).partition("mixed columns, requests/s")
    table, _, _ = rest.partition("\n\n")
    assert re.findall(r"^\| ([\w ]+?) +\| 1,234 ", table, re.MULTILINE) == [
        "this service",
        "BentoML",
    ]
    assert "MLServer" not in table


def test_the_table_of_protocols_compares_within_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row for each server and protocol that was measured; ratios are taken before medians."""
    monkeypatch.setattr(readme, "PROJECT", tmp_path)
    document = json.loads(readme.newest_run().read_text(encoding="utf-8"))
    document["samples"] = [
        {
            "measure": measure,
            "system": system,
            "round": number,
            "values": {"rate": rate, "p99_ms": 1.25, "cpu_us": 80.4},
        }
        for measure, system, rates in (
            ("protocols-32", "ours-predict-lr", (1000.0, 4000.0)),
            ("protocols-32", "ours-v2-lr", (900.0, 2000.0)),
            ("protocols-batch", "ours-v2-lr", (10_000.0, 20_000.0)),
            ("protocols-32", "kserve-grpc-lr", (100.0, 100.0)),
            ("protocols-32", "ours-v2-hgb", (1.0, 1.0)),
        )
        for number, rate in enumerate(rates, 1)
    ]
    run = tmp_path / "run.json"
    run.write_text(json.dumps(document), encoding="utf-8")
    _, _, table = readme.speed(run).partition("other protocols")
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()[4:]]
    assert rows == [
        ["this service, `/predict/`", "2,500", "1.00", "1.2", "80", ""],
        ["this service, V2 in JSON", "1,450", "0.70", "1.2", "80", "15,000"],
        ["KServe, V2 over gRPC", "100", "0.06", "1.2", "80", ""],
    ]


def test_an_older_run_has_no_table_of_protocols() -> None:
    """Nor a sentence that introduces one."""
    assert "other protocols" not in readme.speed(min(RESULTS.glob("20*.json")))


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
