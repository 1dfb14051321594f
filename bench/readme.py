"""The figures in README.md, from the last kept run and from the files that decide the scaling.

``nox -s generate`` writes them; a test fails when they have drifted.
"""

import json
import statistics
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench import PROJECT, RESULTS
from bench.peers import RAY_SERVE_ONGOING
from bench.speakers import SPOKEN
from bench.stats import Measurement, by_round, ratio
from bench.systems import CEILING
from deploy.gke.target import GkeTarget
from deploy.render import Manifests, worker_range
from deploy.sizes import Sizes
from serve_app.cli.style import markdown_table

README = PROJECT / "README.md"
SYSTEMS = {
    "this service": "ours-{model}-onnx",
    "FastAPI, written for speed": "tuned-{model}",
    "FastAPI, a DataFrame per request": "predecessor-{model}",
}
MODELS = {"lr": "logistic regression", "rf": "forest of 100 trees"}
SYSTEMS_OF_TABLES = {
    "this service": "ours-{model}-onnx",
    "MLServer": "mlserver-{model}",
    "BentoML": "bentoml-{model}",
    "KServe": "kserve-{model}",
    "LitServe": "litserve-{model}",
    "MLflow": "mlflow-{model}",
    "Ray Serve, as its guide shows it": "rayserve-{model}",
    "Ray Serve, more requests at once": f"rayserve{RAY_SERVE_ONGOING}-{{model}}",
    "FastAPI, a DataFrame per request": "predecessor-{model}",
}
MODELS_OF_TABLES = {"mixed": "mixed columns", "hgb": "300 boosted trees"}
"""What section 'How fast' says of tables with strings and gaps, and of boosted trees."""
UNITS = {
    "requests/s": ("throughput-32", "rate"),
    "CPU µs": ("throughput-32", "cpu_us"),
    "rows/s": ("batch", "rate"),
}
"""Columns for each model: a measure, and one of its quantities."""
SERVERS = {"ours": "this service", "mlserver": "MLServer", "kserve": "KServe"}
PROTOCOLS = {
    "predict": "`/predict/`",
    "v2": "V2 in JSON",
    "binary": "V2 in bytes",
    "grpc": "V2 over gRPC",
}
"""What the table of protocols calls them, by their names in `bench.speakers`."""


def newest_run() -> Path:
    """The last kept run of ``nox -s bench``; its name is its date and time."""
    return max(RESULTS.glob("20*.json"))


def replica_rps(run: Path) -> int:
    """Requests per second of one replica of the default model in a run, to the hundred."""
    rates = by_round(_samples(run), "throughput-32", "ours-lr-onnx", "rate").values()
    return int(round(statistics.median(rates), -2))


def busy_rps(run: Path) -> int:
    """Requests per second that take the whole CPU of that replica, to the hundred."""
    costs = by_round(_samples(run), "throughput-32", "ours-lr-onnx", "cpu_replica_us").values()
    return int(round(1e6 / statistics.median(costs), -2))


def speed(run: Path) -> str:
    """Medians of a run as Markdown."""
    document, samples = json.loads(run.read_text(encoding="utf-8")), _samples(run)
    tables = [
        _table(samples, SYSTEMS, MODELS),
        _table(samples, SYSTEMS_OF_TABLES, MODELS_OF_TABLES),
    ]
    conditions = (
        f"Medians of {document['settings']['rounds']} alternating rounds in "
        f"[one run]({run.with_suffix('.md').relative_to(PROJECT)}) on "
        f"{document['machine']['cores']} cores, which the load generator shares: single rows at 32 "
        "connections, and batches of 100 rows at 8. CPU is all processor time of a system, per "
        "request of one row. A Ray Serve handler that returns a constant answered "
        f"{_shown(samples, 'throughput-32', CEILING)} requests/s there, for "
        f"{_shown(samples, 'throughput-32', CEILING, 'cpu_us')} µs each."
    )
    return "\n\n".join(filter(None, [*tables, conditions, _protocols(samples)]))


def _protocols(samples: list[Measurement]) -> str:
    """The table of protocols and what introduces it; empty if none was measured."""
    single, batch = "protocols-32", "protocols-batch"
    own = by_round(samples, single, "ours-predict-lr", "rate")
    rows = []
    for server, title in SERVERS.items():
        for protocol in SPOKEN[server]:
            system = f"{server}-{protocol}-lr"
            rate = by_round(samples, single, system, "rate")
            share = ratio(rate, own)
            row = {
                "": f"{title}, {PROTOCOLS[protocol]}",
                "requests/s": _shown(samples, single, system),
                "of `/predict/`": f"{share.median:.2f}" if share else "",
                "p99 ms": _shown(samples, single, system, "p99_ms", digits=1),
                "CPU µs": _shown(samples, single, system, "cpu_us"),
                "rows/s, 1,000 at a time": _shown(samples, batch, system),
            }
            rows += [row] if rate else []
    if not rows:
        return ""
    introduction = (
        "The [other protocols](docs/protocols.md) in the same run, each server with the logistic "
        "regression alone: single rows at 32 connections, and batches of 1,000 rows at 8."
    )
    return f"{introduction}\n\n{markdown_table(rows)}"


def _table(
    samples: list[Measurement], systems: Mapping[str, str], models: Mapping[str, str]
) -> str:
    """A row for each system that was measured; empty if none was."""
    rows = []
    for title, pattern in systems.items():
        cells = {
            f"{name}, {unit}": _shown(samples, measure, pattern.format(model=model), field)
            for model, name in models.items()
            for unit, (measure, field) in UNITS.items()
        }
        if any(cells.values()):
            rows.append({"": title, **cells})
    return markdown_table(rows)


def _samples(run: Path) -> list[Measurement]:
    samples = json.loads(run.read_text(encoding="utf-8"))["samples"]
    return [Measurement(**sample) for sample in samples]


def _shown(
    samples: list[Measurement], measure: str, system: str, field: str = "rate", *, digits: int = 0
) -> str:
    """Median of a quantity; empty if the system was not measured so."""
    values = by_round(samples, measure, system, field).values()
    return f"{statistics.median(values):,.{digits}f}" if values else ""


def sizes(manifests: Manifests) -> Sizes:
    """A replica, a worker pod with its sidecar, and a node of the cluster that the set-up makes."""
    return Sizes(
        manifests.config.scaling.replica_cpus,
        manifests.worker_cpus,
        node_vcpus=int(GkeTarget.machine_type.rpartition("-")[2]),
        vcpu_hour_price=1,
        sidecar_cpus=pod_cpus(manifests.worker_pod) - manifests.worker_cpus,
    )


def pod_cpus(pod: Any) -> float:
    """CPUs that a pod asks for, sidecars included."""
    containers = [*pod["containers"], *pod.get("initContainers", [])]
    quantities = [str(each["resources"]["requests"]["cpu"]) for each in containers]
    return float(
        sum(
            Decimal(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)
            for text in quantities
        )
    )


def scaling_steps(manifests: Manifests, replica_rps: int, busy_rps: int) -> str:
    """What each step of scaling brings, and what triggers it, as Markdown.

    Args:
        manifests: the project's.
        replica_rps: the most requests per second of one replica, measured.
        busy_rps: requests per second at which its CPU utilisation is 1, from what one costs.
    """
    config = manifests.config_for("overlays/gke")
    scaling, machine = config.scaling, sizes(manifests)
    least, most = scaling.options["min_replicas"], scaling.options["max_replicas"]
    rows = []
    for replicas in range(least, most + 1):
        threshold = (replicas - 1) * busy_rps * scaling.cpu_target
        pods = machine.workers(replicas)
        rows.append(
            {
                "load that brings it, requests/s": f"above {threshold:,.0f}",
                "replicas": replicas,
                "worker pods": pods,
                "nodes, with the head's": machine.nodes(pods),
                "at most, requests/s": f"{replicas * replica_rps:,}",
            }
        )
    rows[0]["load that brings it, requests/s"] = "none"
    _, most_workers = worker_range(config, manifests.worker_cpus)
    return (
        f"{markdown_table(rows)}\n\n"
        f"{replica_rps:,} requests/s per replica, and {busy_rps:,} would take its whole CPU; "
        f"{machine.replicas_per_worker} replica per pod, "
        f"{machine.workers_per_node} pods per node ({GkeTarget.machine_type}). "
        f"CPU above {scaling.cpu_target:.0%}, or more than "
        f"{scaling.options['target_ongoing_requests']} requests at "
        "once per replica, brings a replica; a replica that fits no worker, "
        "a pod; a pod that fits no node, a node. An update "
        f"in place takes up to {most_workers} workers, a new image all of it twice: the set-up "
        f"allows {GkeTarget.max_nodes} nodes."
    )


def with_figures(readme: str) -> str:
    """``readme`` with today's figures between its marks.

    Raises:
        ValueError: a pair of marks is missing, or there several times.
    """
    run = newest_run()
    scaling = scaling_steps(Manifests.open(PROJECT), replica_rps(run), busy_rps(run))
    for name, text in (("scaling", scaling), ("speed", speed(run))):
        begin, end = f"<!-- generated: {name} -->\n", "<!-- end -->\n"
        before, _, rest = readme.partition(begin)
        _, found, after = rest.partition(end)
        if not found or begin in rest:
            count = readme.count(begin)
            raise ValueError(f"README.md has the marks {begin.strip()} {count} times, not once")
        readme = f"{before}{begin}\n{text}\n\n{end}{after}"
    return readme


if __name__ == "__main__":
    README.write_text(with_figures(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(README)
