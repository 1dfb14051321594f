"""The service that a scale run loads: one that it starts, or one that runs already."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.driver.locust_run import Load
from loadtest.driver.scenarios import SCENARIOS
from loadtest.scale.dashboard import Dashboard, find_token
from loadtest.scale.local_cluster import local_cluster
from loadtest.scale.one_machine import ESTIMATOR, prepare_machine
from loadtest.scale.pods import Pods
from loadtest.scale.sizing import (
    CALIBRATION_SECONDS,
    CALIBRATIONS,
    measure_replica,
    rate_for,
    replicas_to_reach,
)
from serve_app.client import ServiceClient
from serve_app.runtime.local_service import Progress
from serve_app.runtime.ports import LOOPBACK, require_free_port
from serve_app.serve_config import ConfigError, ServeConfig


@dataclass(frozen=True)
class WatchedService:
    """A service that takes load, and the sources that are watched meanwhile."""

    dashboard: Dashboard
    load: Load
    settings: dict[str, str]
    """For the report: how this run was made."""
    caption: str
    """What one has to know to read the picture."""
    cpu_target: float | None
    pods: Pods | None = None
    nodes_must_follow: bool = False
    """Whether worker nodes must come and go with the replicas."""


@contextmanager
def local_service(
    config: ServeConfig,
    load: Load,
    *,
    replicas: int,
    max_nodes: int,
    downscale_delay_s: float,
    node_idle_s: float,
    port: int,
    cpu_target: float | None,
    out: Path,
    progress: Progress,
) -> Iterator[WatchedService]:
    """A service on a Ray cluster on this machine, with a model that needs much CPU.

    Worker nodes are processes of one CPU each; one that is idle for ``node_idle_s`` is stopped.
    Where ``load`` has no rate, its peak is what ``replicas`` are needed for. ``cpu_target`` takes
    the place of the config's on a node's share. Ray's log goes to the directory ``out``.

    Raises:
        UserError: it cannot be started.
    """
    config_target = config.scaling.cpu_target
    require_free_port(port)
    estimator = ESTIMATOR.replace("_", " ")
    progress(f"training a {estimator}, which keeps CPUs busy")
    with prepare_machine(max_nodes, config_target, cpu_target) as machine:
        url, peak_rps = f"http://{LOOPBACK}:{port}", machine.rate_for(replicas)
        reason = f", for which {replicas} replicas are needed" if load.lacks_rate else ""
        load = load.at(url, machine.model_dir, peak_rps=peak_rps)
        config = machine.fit(
            config, port=port, max_replicas=max_nodes, downscale_delay_s=downscale_delay_s
        )
        progress(f"starting Ray: a head without CPUs, up to {max_nodes} workers of one CPU")
        with local_cluster(
            config, max_nodes=max_nodes, idle_seconds=node_idle_s, log_file=out / "ray.log"
        ) as dashboard:
            progress("deploying the application")
            dashboard.deploy(config.document)
            settings = {
                "scenario": SCENARIOS[load.scenario].description,
                "cluster": f"local, Ray autoscaler v2, up to {max_nodes} nodes of 1 CPU "
                f"that share {machine.cores} cores with Locust",
                "model": f"Iris, {estimator}, scikit-learn engine: "
                f"{machine.cpu_seconds * 1000:.1f} ms of CPU a request",
                "CPU target": f"{machine.cpu_target:.0%} of a core, which is "
                f"{machine.cpu_target / machine.share:.0%} of a node's share of this machine",
                "downscale delay": f"{downscale_delay_s:g} s",
                "node idle time-out": f"{node_idle_s:g} s",
                "peak load": f"{load.peak}{reason}",
            }
            caption = (
                f"on one machine: nodes, replicas, Ray and Locust share {machine.cores} cores, "
                "so that each start slows all for a while"
            )
            yield WatchedService(
                dashboard, load, settings, caption, machine.cpu_target, nodes_must_follow=True
            )


@contextmanager
def running_service(
    config: ServeConfig,
    load: Load,
    *,
    serve_url: str,
    dashboard_url: str,
    token_file: Path | None,
    namespace: str | None,
    replicas: int | None,
    cpu_target: float | None,
    out: Path,
    progress: Progress,
) -> Iterator[WatchedService]:
    """A service that runs already; nothing is changed there.

    ``token_file`` has the dashboard's token; the worker pods and nodes of the Kubernetes
    ``namespace`` are counted; ``cpu_target`` is what it aims at, if that is not what the cluster
    or the config says. Where ``load`` has no rate, its peak is what ``replicas`` are needed for,
    from what a little load costs there first, whose files go to ``out``.

    Raises:
        UserError: it cannot be reached, is not the one that the config names, or cannot be given
            a load by itself.
    """
    with ServiceClient(serve_url) as client:
        client.card()
    token = find_token(os.environ, token_file)
    with Dashboard(dashboard_url, config, token=token) as dashboard:
        progress(f"asking {dashboard_url}")
        dashboard.deployment()
        pods = Pods(namespace) if namespace else None
        if pods is not None:
            pods.nodes()
        scaling = dashboard.scaling()
        if cpu_target is None and scaling is not None:
            cpu_target = scaling.cpu_target
        with contextlib.suppress(ConfigError):  # another policy may have other targets
            cpu_target = cpu_target or config.scaling.cpu_target
        peak_rps, reason = None, ""
        if load.lacks_rate:
            wanted = replicas_to_reach(scaling, replicas)
            seconds = CALIBRATION_SECONDS * len(CALIBRATIONS)
            progress(f"a little load for {seconds:.0f} s shows what a request costs")
            model_dir = config.settings.model_dir
            capacity = measure_replica(dashboard, serve_url, model_dir, out, cpu_target)
            peak_rps = rate_for(wanted, cpu_target, capacity)
            reason = f", for which {wanted} replicas are needed: {capacity:.0f} keep one busy"
        load = load.at(serve_url, config.settings.model_dir, peak_rps=peak_rps)
        progress(f"load: {load.peak}{reason}; {load.seconds:.0f} s")
        scenario = SCENARIOS[load.scenario].description
        settings = {"scenario": scenario, "service": serve_url, "peak load": load.peak + reason}
        yield WatchedService(dashboard, load, settings, scenario, cpu_target, pods)
