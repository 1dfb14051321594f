"""Metrics of a running service, as Prometheus would read them from its Ray node."""

import re
from pathlib import Path

import httpx

from serve_app.ray_internals.nodes import RAYLET
from serve_app.runtime.processes import named
from tests.support.service import Service


def ray_metrics(service: Service) -> str:
    """All metrics in Prometheus' text format."""
    (raylet,) = named(service.tree(), RAYLET)
    (session,) = re.findall(r"--session_dir=(\S+)", " ".join(raylet.cmdline()))
    (port_file,) = Path(session).glob("metrics_export_port_*")
    url = f"http://127.0.0.1:{port_file.read_text()}/metrics"
    return httpx.get(url, timeout=20).text


def total(metrics: str, name: str, **labels: str) -> float:
    """Sum of a metric over all series that have these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        float(value)
        for series, value in re.findall(rf"^{name}\{{(.*)\}} (\S+)$", metrics, re.MULTILINE)
        if all(each in series for each in wanted)
    )
