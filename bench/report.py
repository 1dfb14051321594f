"""What was measured, as Markdown and as JSON."""

import fnmatch
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import PROJECT, measures
from bench.calls import ITSELF
from bench.goals import goal_results
from bench.models import BATCH_ROWS, RECIPES
from bench.peers import (
    LITSERVE_BATCH_REQUESTS,
    LITSERVE_BATCH_SECONDS,
    MLSERVER_BATCH_ROWS,
    MLSERVER_BATCH_SECONDS,
    PEERS,
    RAY_SERVE_ONGOING,
)
from bench.stats import Measurement, Spread, by_round, ratio
from bench.systems import CEILING, FLOOR
from serve_app.cli.style import markdown_table

PACKAGES = (
    *("fastapi", "httptools", "numpy", "onnxruntime", "orjson", "pandas", "pydantic", "ray"),
    *("scikit-learn", "starlette", "uvicorn", "uvloop"),
)

DESCRIPTIONS: Mapping[str, str] = {
    CEILING: "Ray Serve, same production mode and deployment options, handler returns a constant",
    FLOOR: "uvicorn with uvloop and httptools, one process without HAProxy, raw ASGI, constant",
    "ours-*-onnx": "serve_app, engine onnx",
    "served-*": "serve_app, engine onnx, direct_path off: every request goes Serve's own path",
    "ours-*-sklearn": "serve_app, engine sklearn",
    "tuned-*": "FastAPI written for speed: coroutine handler, numpy row, assume_finite, orjson, "
    "uvicorn with uvloop and httptools, no access log, one worker, OMP_NUM_THREADS=1",
    "predecessor-*": "FastAPI, synchronous handler, DataFrame per request, predict and "
    "predict_proba, uvicorn defaults, one worker, access log to a file",
    "mlserver-*": "MLServer with its scikit-learn runtime over REST V2, the estimator's file that "
    "serve_app has too, asked for predict_proba only; models loaded in its own process, adaptive "
    f"batching ({MLSERVER_BATCH_ROWS} rows, {MLSERVER_BATCH_SECONDS * 1e3:g} ms), "
    "OMP_NUM_THREADS=1",
    "bentoml-*": "BentoML, one worker, the same file, predict_proba only, adaptive batching as "
    "default, no access log, OMP_NUM_THREADS=1",
    "kserve-*": "KServe's model server, protocol V1, a Model with the same file, predict_proba "
    "only, one worker, no gRPC, no access log and no log of times, OMP_NUM_THREADS=1; it does not "
    "batch",
    "litserve-*": "LitServe, a LitAPI with one worker for each model and one HTTP server, the same "
    f"file, predict_proba only, batching ({LITSERVE_BATCH_REQUESTS} requests, "
    f"{LITSERVE_BATCH_SECONDS * 1e3:g} ms), fast queue, no access log, OMP_NUM_THREADS=1; alone, "
    "because it does not idle",
    "mlflow-*": "mlflow models serve, the same estimator as MLflow saves it, predict_proba only, "
    "one server with one worker for each model, uvloop and httptools, no access log, "
    "OMP_NUM_THREADS=1; it does not batch",
    "rayserve-*": "Ray Serve as its guide shows it: its defaults, FastAPI ingress, the same file, "
    "predict_proba only, one replica for all models, OMP_NUM_THREADS=1; alone, without dashboard",
    f"rayserve{RAY_SERVE_ONGOING}-*": f"the same with {RAY_SERVE_ONGOING} requests at once for the "
    "replica, max_ongoing_requests, instead of 5",
    "beside": "serve_app, LR with ONNX, single rows alone",
    "beside-rows": "the same beside one connection that always asks for "
    f"{measures.STREAM_ROWS:,} rows",
    "beside-bytes": f"the same, with bodies of {measures.STREAM_BYTES:,} bytes",
    "ours-predict-*": "serve_app alone with one application, engine onnx, POST /predict/",
    "ours-v2-*": "the same replica, Open Inference Protocol V2 over REST, JSON",
    "ours-binary-*": "the same, tensors in bytes both ways: the binary tensor extension",
    "ours-grpc-*": "the same replica, V2 over gRPC, raw contents",
    "mlserver-v2-*": "V2 over REST, JSON",
    "mlserver-grpc-*": "the same process, V2 over gRPC, raw contents",
    "kserve-v2-*": "the same server with protocol V2 over REST, JSON, and with gRPC",
    "kserve-binary-*": "the same process, tensors in bytes both ways",
    "kserve-grpc-*": "the same process, V2 over gRPC, raw contents",
    "floor-grpc-*": "grpc's server on asyncio, one process without HAProxy, constant",
    "*-grpc-*": "called by h2load: a connection for each call under way; one call's bytes are sent "
    "again and again, and refusals are told by the bytes that come back, but for up to one for "
    "each connection",
    "compiled-*": "model call without HTTP as a replica makes it, engine onnx, one thread",
    f"{ITSELF}-*": "predict_proba of the estimator with a table made beforehand, one thread",
    **{f"*-{name}*": recipe.text for name, recipe in RECIPES.items() if name not in ("lr", "rf")},
}
"""By pattern of the names of the systems."""


def machine() -> dict[str, object]:
    """What it is measured on: hardware, load before the start, and versions."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpus = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    describe = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=False, cwd=PROJECT)
    return {
        "cpu": cpus[0] if cpus else platform.machine(),
        "cores": os.cpu_count(),
        "load_average_at_start": os.getloadavg(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": commit.stdout.strip() or "unknown",
    }


def write(
    directory: Path,
    measurements: Sequence[Measurement],
    about: Mapping[str, object],
    settings: Mapping[str, object],
) -> Path:
    """Write everything as JSON, and the tables beside it; returns the JSON file.

    It is named after the minute. ``about`` is the machine, ``settings`` the length and number of
    rounds, and whether all of them were made.
    """
    document = {
        "machine": about,
        "settings": settings,
        "systems": _described(measurements),
        "goals": [
            {**asdict(goal), "found": asdict(found), "verdict": goal.verdict(found)}
            for goal, found in goal_results(measurements)
        ],
        "samples": [asdict(measured) for measured in measurements],
    }
    path = directory / time.strftime("%Y-%m-%d-%H%M.json")
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(render(measurements, about), encoding="utf-8")
    return path


def render(measurements: Sequence[Measurement], about: Mapping[str, object]) -> str:
    """Everything as Markdown."""
    conditions = (
        f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, commit "
        f"{about['commit']}. Load generator: wrk (closed loop), bench.client (open loop), "
        "on the same cores, over loopback. Medians over the rounds, ranges in brackets; ratios "
        "are taken within each round."
    )
    goals = [
        {
            "quantity": goal.text,
            "goal": f"{'>=' if goal.at_least else '<'} {goal.limit:,g}",
            "measured": found,
            "verdict": goal.verdict(found),
        }
        for goal, found in goal_results(measurements)
    ]
    times = {"p50 ms": "p50_ms", "p99 ms": "p99_ms"}
    cpu = {
        "CPU µs per request": "cpu_us",
        "of the replica": "cpu_replica_us",
        "of HAProxy": "cpu_proxy_us",
    }
    load = {"requests/s": "rate", **times, **cpu}
    rows = {"rows/s": "rate", **times, **cpu}
    calls = {"µs of one row": "us", f"rows/s of {BATCH_ROWS}": "rows_per_second"}
    footprint = {
        "seconds to the first 200": "start_seconds",
        "MB when idle (PSS)": "pss_mb",
        "of the replica": "replica_mb",
    }
    batch = f"{BATCH_ROWS} rows per request, {_connections(measures.BATCH_CONNECTIONS)}"
    latency = f"Open loop, {measures.OPEN_LOOP_RATE} requests/s, latency from the time each request"
    tracing = measures.TRACING_CONNECTIONS
    tables = {
        "Goals": goals,
        **{
            f"POST /predict/, {_connections(count)}": _rows(
                measurements, f"throughput-{count}", load, CEILING, "predecessor", *PEERS
            )
            for count in measures.CONNECTIONS
        },
        batch: _rows(measurements, "batch", rows, "tuned", *PEERS),
        f"{latency} was due": _rows(measurements, "latency", load),
        f"Open loop, {measures.BESIDE_RATE} single rows/s, beside large requests": _rows(
            measurements, "beside", load
        ),
        "Model call, without HTTP": _rows(measurements, "calls", calls, ITSELF),
        "A prediction on the direct path, without server and kernel": _rows(
            measurements, "stages", {"CPU µs": "us"}
        ),
        f"Tracing, LR with ONNX, {_connections(tracing)}, by sampling ratio": _rows(
            measurements, f"tracing-{tracing}", load, "tracing-off"
        ),
        **_protocols(measurements, load, rows),
        "Start and memory": _rows(measurements, "footprint", footprint),
    }
    failures = [
        f"- **{measured.values['failures']:.0f} requests failed**: {measured.measure}, "
        f"{measured.system}, round {measured.round}"
        for measured in measurements
        if measured.values.get("failures")
    ]
    parts = [
        "# Benchmark",
        conditions,
        *(f"## {title}\n\n{markdown_table(found)}" for title, found in tables.items() if found),
        "\n".join(failures),
        "\n".join(f"- {name}: {text}" for name, text in _legend(measurements).items()),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _protocols(
    measurements: Sequence[Measurement], load: Mapping[str, str], rows: Mapping[str, str]
) -> dict[str, list[dict[str, object]]]:
    """Servers in the protocols that they speak, by title."""
    single = f"{measures.PROTOCOLS}-{measures.MAIN_CONNECTIONS}"
    many, batch = f"{measures.PROTOCOL_BATCH_ROWS:,} rows", f"{measures.PROTOCOLS}-batch"
    at_once = _connections(measures.MAIN_CONNECTIONS)
    bases = ("ours-predict", "floor-grpc", "mlserver-v2", "mlserver-grpc", "kserve-v2")
    return {
        f"Protocols, single rows, {at_once}": _rows(measurements, single, load, *bases),
        f"Protocols, {many} per request, {_connections(measures.BATCH_CONNECTIONS)}": _rows(
            measurements, batch, rows, *bases
        ),
    }


def count_failures(measurements: Iterable[Measurement]) -> int:
    """Requests that were not answered 200, in all measurements."""
    return round(sum(measured.values.get("failures", 0) for measured in measurements))


def _described(measurements: Sequence[Measurement]) -> dict[str, str]:
    """Descriptions of what was measured."""
    names = {measured.system for measured in measurements}
    return {
        pattern: text for pattern, text in DESCRIPTIONS.items() if fnmatch.filter(names, pattern)
    }


def _legend(measurements: Sequence[Measurement]) -> dict[str, str]:
    legend = {f"`{name}`": text for name, text in _described(measurements).items()}
    if any("cpu_us" in measured.values for measured in measurements):
        legend["CPU"] = (
            "user and system time of all processes of the system over the measurement; of Ray's "
            "also those of the applications beside it, which idle"
        )
    return legend


def _rows(
    measurements: Sequence[Measurement], measure: str, fields: Mapping[str, str], *bases: str
) -> list[dict[str, object]]:
    """A row for each system: ``fields`` by header, and the ratio of its rate to each of ``bases``.

    A base is a system, or a kind of system of which each model has one.
    """
    rows = []
    for name in dict.fromkeys(each.system for each in measurements if each.measure == measure):
        row: dict[str, object] = {"system": name}
        for header, field in fields.items():
            if found := Spread.of(by_round(measurements, measure, name, field).values()):
                row[header] = found
        model = next((model for model in RECIPES if model in name.split("-")), "")
        for base in bases:
            ours, *others = (
                by_round(measurements, measure, system, "rate")
                for system in (name, base, f"{base}-{model}")
            )
            if times := ratio(ours, others[0] or others[1]):
                row[f"ratio to {base}"] = times
        rows.append(row)
    return rows


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"
