"""Scale out and in under Locust, and where the time of a new replica goes."""

import json
import re
import statistics
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy.kubectl import Document
from deploy.names import AUTH_SECRET, AUTH_SECRET_KEY, NAMESPACE, RAY_SERVICE
from deploy.shell import CommandError
from loadtest.scale.pods import WORKERS
from serve_app.errors import CheckFailedError
from serve_app.runtime.processes import Command
from serve_app.serve_config import CONFIG_FILE
from studies.e2e.cluster import Cluster

DASHBOARD = f"service/{RAY_SERVICE}-head-svc"
DASHBOARD_PORT = 8265
FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
FORWARD_SECONDS = 30.0
NODE_START_SECONDS = 60
"""The nodes are there, and have the image."""
SETTLE_SECONDS = 420
"""Replicas go first, then workers are idle for two minutes, then they drain."""
RAY_CONTAINER = "ray-worker"

Moments = Mapping[str, float]
"""Seconds since a pod was made, by what had happened then."""


@contextmanager
def dashboard(cluster: Cluster, log: Path) -> Iterator[str]:
    """Forward a local port to the dashboard's Service, as the README does; its address.

    Raises:
        ProcessError: the Service leads to no pod.
    """
    command = ("kubectl", f"--context={cluster.context}", f"--namespace={NAMESPACE}")
    forward = (*command, "port-forward", DASHBOARD, f":{DASHBOARD_PORT}")
    with Command(forward, log=log) as process:
        process.wait_until(lambda: FORWARDED.search(process.log()) is not None, FORWARD_SECONDS)
        (port,) = FORWARDED.findall(process.log())[:1]
        yield f"http://127.0.0.1:{port}"


def token(cluster: Cluster) -> str:
    """Token of Ray's dashboard."""
    template = f"-ogo-template={{{{index .data {json.dumps(AUTH_SECRET_KEY)} | base64decode}}}}"
    return cluster.kubectl.read("get", "secret", AUTH_SECRET, template)


def scale_out_and_in(
    cluster: Cluster, url: str, out: Path, *, replicas: int, seconds: float
) -> str:
    """Run ``serve-app scale`` against the cluster; returns a note with the split of the time.

    Args:
        cluster: the cluster.
        url: address of the service.
        out: directory of the report.
        replicas: how many the peak needs.
        seconds: time limit of it all.

    Raises:
        CheckFailedError: a request failed, or replicas did not come and go.
    """
    out.mkdir(parents=True, exist_ok=True)
    with dashboard(cluster, out / "port-forward.log") as address, watched(cluster) as pods:
        command = [
            *(sys.executable, "-m", "serve_app", "scale", f"--serve-url={url}"),
            *(f"--dashboard-url={address}", f"--namespace={NAMESPACE}", f"--out={out}"),
            *(f"--config={cluster.directory / CONFIG_FILE}", f"--replicas={replicas}"),
            *(f"--node-start={NODE_START_SECONDS}", f"--settle={SETTLE_SECONDS}"),
        ]
        environment = {"RAY_AUTH_TOKEN": token(cluster)}
        with Command(command, log=out / "scale.log", environment=environment) as process:
            process.wait_until(lambda: process.exit_code is not None, seconds)
            if process.exit_code:
                raise CheckFailedError(process.log().strip().splitlines()[-1])
    (out / "pods.json").write_text(json.dumps(pods, indent=1), encoding="utf-8")
    return split(pods)


@contextmanager
def watched(cluster: Cluster) -> Iterator[dict[str, Moments]]:
    """Watch the workers that come meanwhile: what happened to each, by its name."""
    before = {pod["metadata"]["name"] for pod in cluster.kubectl.list("pods", WORKERS)}
    found: dict[str, Moments] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(1):
            try:
                pods = cluster.kubectl.list("pods", WORKERS)
            except CommandError:
                continue
            for pod in pods:
                name = pod["metadata"]["name"]
                # A pod that goes is not ready any more, which is another moment.
                if name not in before and "deletionTimestamp" not in pod["metadata"]:
                    found[name] = {**found.get(name, {}), **moments(pod)}

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def moments(pod: Document) -> Moments:
    """When a pod was scheduled, initialised, started and ready, seconds after it was made."""
    made = _time(pod["metadata"]["creationTimestamp"])
    names = {"PodScheduled": "scheduled", "Initialized": "initialised", "Ready": "ready"}
    found = {
        names[condition["type"]]: _time(condition["lastTransitionTime"]) - made
        for condition in pod["status"].get("conditions", [])
        if condition["status"] == "True" and condition["type"] in names
    }
    for container in pod["status"].get("containerStatuses", []):
        running: Mapping[str, Any] = container["state"].get("running", {})
        if container["name"] == RAY_CONTAINER and "startedAt" in running:
            found["started"] = _time(running["startedAt"]) - made
    return found


def split(pods: Mapping[str, Moments]) -> str:
    """Medians of the moments, in words."""
    order = ("scheduled", "initialised", "started", "ready")
    ready = [each for each in pods.values() if "ready" in each]
    if not ready:
        return "no worker came"
    medians = [
        f"{name} {statistics.median(each[name] for each in ready if name in each):.0f} s"
        for name in order
        if any(name in each for each in ready)
    ]
    return f"{len(ready)} workers came; after a pod is made: {', '.join(medians)}"


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
