"""What a scale run loads and watches: a service of its own, or one that runs already."""

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.scale.dashboard import Dashboard, find_token
from loadtest.deployed import ConfigError, read_serve_config
from loadtest.scale.pods import Pods
from loadtest.scale.local_cluster import LocalCluster
from loadtest.scale.one_machine import ESTIMATOR, fit_config, prepare_machine
from loadtest.scale.ray_answers import Application
from loadtest.driver.scenarios import SCENARIOS
from loadtest.scale.sampler import Load
from serve_app.runtime.launch import load_config, require_free_port
from serve_app.runtime.local_service import Progress

READY_SECONDS = 180.0
POLL_SECONDS = 0.5


class ServiceStartError(Exception):
    """The application does not come up: names what it said."""


@dataclass(frozen=True)
class Service:
    """What is loaded and watched."""

    dashboard: Dashboard
    load: Load
    settings: dict[str, str]
    """For the report: how this run was made."""
    caption: str
    """What has to be known to read the picture."""
    cpu_target: float | None
    pods: Pods | None = None
    is_local: bool = False


@contextmanager
def local_service(options: argparse.Namespace, progress: Progress) -> Iterator[Service]:
    """A cluster of its own on this machine, serving a model that needs much CPU.

    Raises:
        ConfigError: the config scales by another policy, or does not scale.
        ServiceStartError: the application does not start.
        ClusterError: Ray does not start.
        LaunchError: the port is taken, or the config is no Serve config.
    """
    config, _ = load_config(options.config, ())
    config_target = read_serve_config(options.config).cpu_target
    require_free_port(options.port)
    progress(f"training a {ESTIMATOR.replace('_', ' ')}, which keeps CPUs busy")
    with prepare_machine(
        options.max_nodes, config_target=config_target, cpu_target=options.cpu_target
    ) as machine:
        peak = machine.rate_for(options.replicas)
        load = make_load(options, f"http://127.0.0.1:{options.port}", machine.model_dir, peak)
        fitted = fit_config(
            config,
            model_dir=machine.model_dir,
            port=options.port,
            cpu_target=machine.cpu_target,
            downscale_delay_s=options.downscale_delay,
            max_replicas=options.max_nodes,
        )
        progress(f"starting Ray: a head without CPUs, up to {options.max_nodes} workers of one CPU")
        with (
            LocalCluster(
                max_nodes=options.max_nodes,
                idle_seconds=options.node_idle,
                log_file=options.out / "ray.log",
            ) as cluster,
            Dashboard(
                cluster.dashboard_url, token=cluster.token, watched=watched(config)
            ) as dashboard,
        ):
            progress("deploying the application")
            dashboard.deploy(fitted)
            wait_until_running(dashboard)
            settings = {
                "scenario": SCENARIOS[options.scenario].description,
                "cluster": f"local, Ray autoscaler v2, up to {options.max_nodes} nodes of 1 CPU "
                f"that share {machine.cores} cores with Locust",
                "model": f"Iris, {ESTIMATOR.replace('_', ' ')}, scikit-learn engine: "
                f"{machine.cpu_seconds * 1000:.1f} ms of CPU a request",
                "CPU target": f"{machine.cpu_target:.0%} of a core, which is "
                f"{machine.cpu_target / machine.share:.0%} of a node's share of this machine",
                "downscale delay": f"{options.downscale_delay:g} s",
                "node idle time-out": f"{options.node_idle:g} s",
                "peak load": _describe_peak(load, None if options.user_rate else options.replicas),
            }
            caption = (
                f"on one machine: nodes, replicas, Ray and Locust share {machine.cores} cores, "
                "so that each start slows all for a while"
            )
            yield Service(dashboard, load, settings, caption, machine.cpu_target, is_local=True)


@contextmanager
def remote_service(options: argparse.Namespace, progress: Progress) -> Iterator[Service]:
    """A service that runs somewhere; nothing is changed there.

    Raises:
        ConfigError: the config has no or several deployments.
        DashboardError: the dashboard does not answer, wants a token, or serves something else.
    """
    config, settings = load_config(options.config, ())
    token = find_token(os.environ, options.token_file)
    with Dashboard(options.dashboard_url, token=token, watched=watched(config)) as dashboard:
        progress(f"asking {options.dashboard_url}")
        dashboard.replicas()
        pods = Pods(options.namespace) if options.namespace else None
        if pods is not None:
            pods.nodes()
        scenario = SCENARIOS[options.scenario]
        peak = scenario.users * (options.user_rate or 1.0)
        load = make_load(options, options.serve_url, settings.model_dir, peak)
        about = {"scenario": scenario.description, "service": options.serve_url}
        yield Service(dashboard, load, about, scenario.description, options.cpu_target, pods)


def _describe_peak(load: Load, replicas: int | None) -> str:
    if load.user_rate is None:
        return f"{load.users} users who wait for their answers"
    needed = "" if replicas is None else f", for which {replicas} replicas are needed"
    return f"{load.users * load.user_rate:.0f} requests/s{needed}"


def make_load(options: argparse.Namespace, host: str, model_dir: Path, peak: float) -> Load:
    """The load that the options ask for; ``peak`` requests/s if they name no rate."""
    scenario = SCENARIOS[options.scenario]
    users = scenario.users if options.users is None else options.users
    return Load(
        host=host,
        scenario=options.scenario,
        users=users,
        user_rate=(options.user_rate or float(f"{peak / users:.3g}"))
        if scenario.open_loop
        else None,
        seconds=options.seconds or scenario.seconds,
        model_dir=model_dir,
    )


def watched(config: dict[str, Any]) -> Application:
    """The one deployment of a Serve config.

    Raises:
        ConfigError: there is none, or more than one.
    """
    try:
        (application,) = config["applications"]
        (deployment,) = application["deployments"]
        return Application(application["name"], deployment["name"])
    except (LookupError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the config must name one application with one deployment to watch: {error!r}"
        ) from error


def wait_until_running(dashboard: Dashboard) -> None:
    """Wait for the application.

    Raises:
        ServiceStartError: it fails, or is not running after `READY_SECONDS`.
    """
    deadline = time.monotonic() + READY_SECONDS
    while True:
        replicas = dashboard.replicas()
        if replicas.status == "RUNNING":
            return
        if replicas.status == "DEPLOY_FAILED" or time.monotonic() > deadline:
            raise ServiceStartError(
                f"the application is {replicas.status} after {READY_SECONDS:.0f} s at most: "
                f"{replicas.message or 'no replica is ready; give the machine more CPU'}"
            )
        time.sleep(POLL_SECONDS)


def wait_until_gone(dashboard: Dashboard) -> None:
    """Wait until the application is no longer there.

    Raises:
        ServiceStartError: it is still there after `READY_SECONDS`, so that no other one can start.
    """
    deadline = time.monotonic() + READY_SECONDS
    while dashboard.is_served():
        if time.monotonic() > deadline:
            raise ServiceStartError(
                f"the last application has not stopped after {READY_SECONDS:.0f} s; give the "
                "machine more CPU"
            )
        time.sleep(POLL_SECONDS)
