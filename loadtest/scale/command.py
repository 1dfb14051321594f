"""Watch it scale: load the service, see replicas and nodes follow, and write a report.

Without --serve-url, on a Ray cluster of its own on this machine: real Ray, its autoscaler, Serve in
production mode, Locust; only the worker nodes are processes instead of machines.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.driver.checks import ServiceError, fetch_card
from loadtest.command_line import USAGE_ERROR, Parser, find_bad_number
from loadtest.scale.dashboard import DashboardError
from loadtest.deployed import ConfigError
from loadtest.driver.results import count_sent_again
from loadtest.scale.local_cluster import ClusterError
from loadtest.scale.report import describe, write_report
from loadtest.scale.run import RunError, run_load
from loadtest.scale.samples import Summary
from loadtest.driver.scenarios import SCENARIOS
from loadtest.scale.services import ServiceStartError, local_service, remote_service
from serve_app.runtime.signals import stopped_by_signals
from loadtest.driver.thresholds import Thresholds
from serve_app.runtime.local_service import LaunchError, Progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parse(arguments)
    progress = Progress()
    limits = Thresholds(max_p99_ms=options.max_p99_ms, min_rps=options.min_rps)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        if options.serve_url:
            fetch_card(options.serve_url)
        make_service = remote_service if options.serve_url else local_service
        with stopped_by_signals(), make_service(options, progress) as service:
            progress("ready; loading")
            run = run_load(
                service.dashboard,
                service.load,
                options.out,
                pods=service.pods,
                thresholds=limits,
                has_settled=lambda samples: Summary.of(samples).has_settled(
                    nodes_must_follow=service.is_local
                ),
                settle_seconds=options.settle,
            )
            progress("stopping everything that was started")
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return 130
    except (
        RunError,
        ServiceError,
        ServiceStartError,
        ConfigError,
        DashboardError,
        ClusterError,
        LaunchError,
        OSError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    summary = Summary.of(run.samples)
    problems = [*run.problems, *summary.problems(nodes_must_follow=service.is_local)]
    page = write_report(
        options.out,
        run.samples,
        problems=problems,
        settings={
            **service.settings,
            "load": str(run.outcome),
            "sent again": f"{count_sent_again(options.out / 'locust')} requests, whose idle "
            "connection was being closed (RFC 9110, 9.2.2)",
        },
        caption=service.caption,
        cpu_target=service.cpu_target,
    )
    for name, value in describe(summary).items():
        print(f"  {name:<48}{value}")
    progress(f"report: {page}")
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="serve-app scale", usage="%(prog)s [options]", description=__doc__
    )
    add = parser.add_argument
    open_loop = [name for name, scenario in SCENARIOS.items() if scenario.open_loop]
    add("--scenario", choices=list(SCENARIOS), default="scale", help="default: %(default)s")
    add("--users", type=int, help="users at the peak, in place of the scenario's")
    add(
        "--user-rate",
        type=float,
        help=f"requests/s of each user in {', '.join(open_loop)}; by default locally so many that "
        "--replicas are needed, else 1",
    )
    add("--seconds", type=float, help="length of the load, in place of the scenario's")
    add("--out", type=Path, default=Path("scale-report"), help="default: %(default)s")
    add("--max-p99-ms", type=float, default=0.0, help="fail if p99 is above (default: no limit)")
    add("--min-rps", type=float, default=0.0, help="fail if the rate is below (default: no limit)")
    add(
        "--settle", type=float, default=120.0, help="longest wait for the scale-in, s (%(default)s)"
    )
    add("--config", type=Path, default=Path("serve_config.yaml"), help="default: %(default)s")
    add("--cpu-target", type=float, help="CPU utilisation to aim at; shown in the picture")
    local = parser.add_argument_group("on a cluster of its own")
    local.add_argument("--replicas", type=int, default=4, help="how many the peak needs (4)")
    local.add_argument("--max-nodes", type=int, default=5, help="default: %(default)s")
    local.add_argument("--downscale-delay", type=float, default=15.0, help="s (%(default)s)")
    local.add_argument("--node-idle", type=float, default=10.0, help="s (%(default)s)")
    local.add_argument("--port", type=int, default=8000, help="default: %(default)s")
    remote = parser.add_argument_group("on a cluster that runs already")
    remote.add_argument("--serve-url", help="address of the service")
    remote.add_argument("--dashboard-url", help="address of the Ray dashboard")
    remote.add_argument("--token-file", type=Path, help="the dashboard's token (or RAY_AUTH_TOKEN)")
    remote.add_argument("--namespace", help="count worker pods and nodes there, with kubectl")
    options = parser.parse_args(arguments)
    if bool(options.serve_url) != bool(options.dashboard_url):
        parser.error("--serve-url and --dashboard-url belong together")
    problem = find_bad_number(
        options,
        above_zero=["users", "user_rate", "cpu_target"],
        at_least={
            # One replica, or one node, never becomes more.
            **dict.fromkeys(("replicas", "max_nodes"), 2),
            "seconds": 1,
            **dict.fromkeys(("max_p99_ms", "min_rps", "settle", "downscale_delay", "node_idle"), 0),
        },
    )
    if problem is None and options.replicas > options.max_nodes:
        problem = (
            f"--replicas {options.replicas}: each needs a node, and there are --max-nodes "
            f"{options.max_nodes}"
        )
    if problem is not None:
        parser.error(problem)
    return options


if __name__ == "__main__":
    sys.exit(main())
