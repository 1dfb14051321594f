"""``serve-app scale``."""

from pathlib import Path
from typing import Any

import click

from serve_app.cli.scenarios import (
    LENGTH,
    SCENARIO,
    USERS,
    ScenarioCommand,
    check_option,
    load_option,
    of_load,
)
from serve_app.cli.style import (
    ABOVE_ZERO,
    DIRECTORY,
    FILE,
    PORT,
    ZERO_OR_MORE,
    config_option,
    extra,
    section,
)

AT_LEAST_TWO = click.IntRange(min=2)
"""One replica, or one node, never becomes more."""
LOCAL_REPLICAS = 4

_local = section("On a cluster that is started on this machine")
_running = section("On a cluster that runs already")


@click.command(
    cls=ScenarioCommand,
    example="serve-app scale --replicas 3\n"
    "serve-app scale --serve-url http://localhost:8000 --dashboard-url http://localhost:8265 "
    "--namespace serve-app",
)
@load_option("--scenario", type=SCENARIO, default="scale", help="Load over time.")
@USERS
@of_load(
    "user_rate",
    load_option,
    default=None,
    help="Requests per second of each user in open-loop scenarios; by default as many as "
    "--replicas need.",
)
@load_option(
    "--replicas",
    type=AT_LEAST_TWO,
    help=f"Replicas that the peak needs; by default {LOCAL_REPLICAS} on this machine, and one more "
    "than the least on a cluster that runs already.",
)
@LENGTH
@of_load("max_p99_ms", check_option)
@of_load("min_rps", check_option)
@check_option(
    "--settle",
    "settle_seconds",
    type=ZERO_OR_MORE,
    default=120.0,
    help="Longest wait for the scale-in after the load, seconds.",
)
@_local("--max-nodes", type=AT_LEAST_TWO, default=5, help="Worker nodes, of one CPU each.")
@_local("--downscale-delay", "downscale_delay_s", type=ZERO_OR_MORE, default=15.0, help="Seconds.")
@_local(
    "--node-idle",
    "node_idle_s",
    type=ZERO_OR_MORE,
    default=10.0,
    help="Seconds after which an idle node is stopped.",
)
@_local("--port", type=PORT, default=8000, help="HTTP port.")
@_running("--serve-url", help="Address of the service.")
@_running("--dashboard-url", help="Address of the Ray dashboard.")
@_running("--token-file", type=FILE, help="The dashboard's token; or set RAY_AUTH_TOKEN.")
@_running(
    "--node-start",
    "node_start_s",
    type=ZERO_OR_MORE,
    default=300.0,
    help="The peak outlasts the start of nodes, seconds, unless --seconds is given.",
)
@_running("--namespace", help="Count worker pods and nodes there, with kubectl.")
@click.option("--out", type=DIRECTORY, default=Path("scale-report"), help="Report to write.")
@config_option
@click.option(
    "--cpu-target", type=ABOVE_ZERO, help="CPU utilisation to aim at, in place of the config's."
)
def scale(
    *,
    config_file: Path | None,
    out: Path,
    cpu_target: float | None,
    max_p99_ms: float,
    min_rps: float,
    settle_seconds: float,
    serve_url: str | None,
    dashboard_url: str | None,
    token_file: Path | None,
    namespace: str | None,
    scenario: str,
    users: int | None,
    user_rate: float | None,
    seconds: float | None,
    replicas: int | None,
    node_start_s: float,
    **local: Any,
) -> None:
    """Load a service and watch it scale: record replicas, nodes and latency, write a report.

    Without --serve-url, on a Ray cluster that is started on this machine: real Ray, its
    autoscaler, Serve in production mode, Locust; only the worker nodes are processes instead of
    machines. Exit code 1: a check failed, or replicas or nodes did not scale out and in.
    """
    if bool(serve_url) != bool(dashboard_url):
        raise click.UsageError("--serve-url and --dashboard-url belong together")
    is_local = not serve_url
    if is_local and (replicas or LOCAL_REPLICAS) > local["max_nodes"]:
        raise click.UsageError(
            f"--replicas {replicas or LOCAL_REPLICAS}: each needs a node, and there are "
            f"--max-nodes {local['max_nodes']}"
        )
    with extra("load"):
        from loadtest.driver.locust_run import Load
        from loadtest.driver.results import Thresholds
        from loadtest.scale.run import run_scale
        from loadtest.scale.services import local_service, running_service
    from serve_app.runtime.local_service import Progress
    from serve_app.serve_config import ServeConfig, find_config

    config = ServeConfig.read(find_config(config_file))
    load = Load.of(
        scenario,
        users=users,
        user_rate=user_rate,
        seconds=seconds,
        peak_seconds=0.0 if is_local else node_start_s,
    )
    progress = Progress()
    if serve_url and dashboard_url:
        watched = running_service(
            config,
            load,
            serve_url=serve_url,
            dashboard_url=dashboard_url,
            token_file=token_file,
            namespace=namespace,
            replicas=replicas,
            cpu_target=cpu_target,
            out=out,
            progress=progress,
        )
    else:
        watched = local_service(
            config,
            load,
            replicas=replicas or LOCAL_REPLICAS,
            cpu_target=cpu_target,
            out=out,
            progress=progress,
            **local,
        )
    thresholds = Thresholds(max_p99_ms=max_p99_ms, min_rps=min_rps)
    run_scale(watched, out, progress, thresholds=thresholds, settle_seconds=settle_seconds)
