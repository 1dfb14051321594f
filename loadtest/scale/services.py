"""The service that a scale run loads: one that it starts, or one that runs already."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from loadtest.driver.locust_run import Load
from loadtest.driver.scenarios import SCENARIOS
from loadtest.scale.dashboard import Dashboard, find_token
from loadtest.scale.local_cluster import local_cluster
from loadtest.scale.one_machine import ESTIMATOR, prepare_machine
from loadtest.scale.plan import OneMachine, RunningService, ScalePlan
from loadtest.scale.pods import Pods
from serve_app.client import ServiceClient
from serve_app.runtime.local_service import Progress
from serve_app.runtime.ports import LOOPBACK, require_free_port
from serve_app.serve_config import ConfigError


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
def watched_service(plan: ScalePlan, progress: Progress) -> Iterator[WatchedService]:
    """The service of ``plan``.

    Raises:
        UserError: it cannot be started or reached, or is not the one that the config names.
    """
    if isinstance(plan.place, OneMachine):
        service = _local_service(plan, plan.place, progress)
    else:
        service = _running_service(plan, plan.place, progress)
    with service as started:
        yield started


@contextmanager
def _local_service(
    plan: ScalePlan, place: OneMachine, progress: Progress
) -> Iterator[WatchedService]:
    """A service on a Ray cluster on this machine, with a model that needs much CPU."""
    config_target = plan.config.scaling.cpu_target
    require_free_port(place.port)
    estimator = ESTIMATOR.replace("_", " ")
    progress(f"training a {estimator}, which keeps CPUs busy")
    with prepare_machine(
        place.max_nodes, config_target=config_target, cpu_target=plan.cpu_target
    ) as machine:
        load = plan.load(
            f"http://{LOOPBACK}:{place.port}",
            machine.model_dir,
            peak_rps=machine.rate_for(place.replicas),
        )
        config = machine.fit(
            plan.config,
            port=place.port,
            max_replicas=place.max_nodes,
            downscale_delay_s=place.downscale_delay_s,
        )
        progress(f"starting Ray: a head without CPUs, up to {place.max_nodes} workers of one CPU")
        with (
            local_cluster(
                max_nodes=place.max_nodes,
                idle_seconds=place.node_idle_s,
                log_file=plan.out / "ray.log",
            ) as cluster,
            Dashboard(
                cluster.dashboard_url,
                token=cluster.token,
                application=config.application_name,
                deployment=config.deployment_name,
            ) as dashboard,
        ):
            progress("deploying the application")
            dashboard.deploy(config.document)
            peak = _describe_peak(load)
            if plan.user_rate is None and load.user_rate is not None:
                peak += f", for which {place.replicas} replicas are needed"
            settings = {
                "scenario": SCENARIOS[plan.scenario].description,
                "cluster": f"local, Ray autoscaler v2, up to {place.max_nodes} nodes of 1 CPU "
                f"that share {machine.cores} cores with Locust",
                "model": f"Iris, {estimator}, scikit-learn engine: "
                f"{machine.cpu_seconds * 1000:.1f} ms of CPU a request",
                "CPU target": f"{machine.cpu_target:.0%} of a core, which is "
                f"{machine.cpu_target / machine.share:.0%} of a node's share of this machine",
                "downscale delay": f"{place.downscale_delay_s:g} s",
                "node idle time-out": f"{place.node_idle_s:g} s",
                "peak load": peak,
            }
            caption = (
                f"on one machine: nodes, replicas, Ray and Locust share {machine.cores} cores, "
                "so that each start slows all for a while"
            )
            yield WatchedService(
                dashboard, load, settings, caption, machine.cpu_target, nodes_must_follow=True
            )


@contextmanager
def _running_service(
    plan: ScalePlan, place: RunningService, progress: Progress
) -> Iterator[WatchedService]:
    """A service that runs already; nothing is changed there."""
    config = plan.config
    with ServiceClient(place.serve_url) as client:
        client.card()
    with Dashboard(
        place.dashboard_url,
        token=find_token(os.environ, place.token_file),
        application=config.application_name,
        deployment=config.deployment_name,
    ) as dashboard:
        progress(f"asking {place.dashboard_url}")
        dashboard.deployment()
        pods = Pods(place.namespace) if place.namespace else None
        if pods is not None:
            pods.nodes()
        load = plan.load(place.serve_url, config.settings.model_dir)
        scenario = SCENARIOS[plan.scenario].description
        settings = {
            "scenario": scenario,
            "service": place.serve_url,
            "peak load": _describe_peak(load),
        }
        cpu_target = plan.cpu_target
        with contextlib.suppress(ConfigError):  # another policy may have other targets
            cpu_target = cpu_target or config.scaling.cpu_target
        yield WatchedService(dashboard, load, settings, scenario, cpu_target, pods)


def _describe_peak(load: Load) -> str:
    if load.peak_rps is None:
        return f"{load.users} users who wait for their answers"
    return f"{load.peak_rps:.0f} requests/s"
