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

_local = section("On a cluster that is started on this machine")
_running = section("On a cluster that runs already")


@click.command(
    cls=ScenarioCommand,
    example="serve-app scale --replicas 3\n"
    "serve-app scale --serve-url http://localhost:8000 --dashboard-url http://localhost:8265 "
    "--user-rate 20",
)
@load_option("--scenario", type=SCENARIO, default="scale", help="Load over time.")
@USERS
@of_load(
    "user_rate",
    load_option,
    default=None,
    help="Requests per second of each user in open-loop scenarios; by default as many as "
    "--replicas need, or 1 on a cluster that runs already.",
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
@_local("--replicas", type=AT_LEAST_TWO, default=4, help="Replicas that the peak needs.")
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
@_running("--namespace", help="Count worker pods and nodes there, with kubectl.")
@click.option("--out", type=DIRECTORY, default=Path("scale-report"), help="Report to write.")
@config_option
@click.option(
    "--cpu-target", type=ABOVE_ZERO, help="CPU utilisation to aim at, in place of the config's."
)
def scale(
    *,
    config_file: Path | None,
    max_p99_ms: float,
    min_rps: float,
    replicas: int,
    max_nodes: int,
    downscale_delay_s: float,
    node_idle_s: float,
    port: int,
    serve_url: str | None,
    dashboard_url: str | None,
    token_file: Path | None,
    namespace: str | None,
    **plan: Any,
) -> None:
    """Load a service and watch it scale: record replicas, nodes and latency, write a report.

    Without --serve-url, on a Ray cluster that is started on this machine: real Ray, its
    autoscaler, Serve in production mode, Locust; only the worker nodes are processes instead of
    machines. Exit code 1: a check failed, or replicas or nodes did not scale out and in.
    """
    if bool(serve_url) != bool(dashboard_url):
        raise click.UsageError("--serve-url and --dashboard-url belong together")
    if replicas > max_nodes:
        raise click.UsageError(
            f"--replicas {replicas}: each needs a node, and there are --max-nodes {max_nodes}"
        )
    with extra("load"):
        from loadtest.driver.thresholds import Thresholds
        from loadtest.scale.plan import OneMachine, RunningService, ScalePlan
        from loadtest.scale.watch import run_scale
    from serve_app.serve_config import ServeConfig, find_config

    place = (
        RunningService(serve_url, dashboard_url, token_file, namespace)
        if serve_url and dashboard_url
        else OneMachine(replicas, max_nodes, downscale_delay_s, node_idle_s, port)
    )
    run_scale(
        ScalePlan(
            config=ServeConfig.read(find_config(config_file)),
            place=place,
            thresholds=Thresholds(max_p99_ms=max_p99_ms, min_rps=min_rps),
            **plan,
        )
    )
