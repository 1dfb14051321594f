"""Watch it scale: load the service, see replicas and nodes follow, and write a report.

Without --serve-url, on a Ray cluster of its own on this machine: real Ray, its autoscaler, Serve in
production mode, Locust; only the worker nodes are processes instead of machines.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from loadtest.answers import ServiceError, fetch_card
from loadtest.dashboard import DashboardError
from loadtest.history import count_sent_again, read_outcome
from loadtest.live import LiveTable
from loadtest.local_cluster import ClusterError
from loadtest.report import describe, write_report
from loadtest.samples import Sample, Summary
from loadtest.scenarios import SCENARIOS
from loadtest.services import Service, ServiceStartError, local_service, remote_service
from loadtest.thresholds import Thresholds
from loadtest.watch import LocustRun, Watcher, every_second
from serve_app.launcher import LaunchError, Progress

USAGE_ERROR = 2


class ScaleError(Exception):
    """The run cannot take place: names the problem and the fix."""


def watch(service: Service, options: argparse.Namespace) -> list[Sample]:
    """Run Locust and take samples until the scale-in is over, or takes too long.

    Raises:
        ScaleError: Locust refuses to run.
    """
    samples: list[Sample] = []
    table = LiveTable()
    with LocustRun(service.load, options.out) as locust:
        watcher = Watcher(service.dashboard, locust.history, service.load, service.pods)
        give_up_at: float | None = None

        def take() -> bool:
            nonlocal give_up_at
            sample = watcher.sample()
            samples.append(sample)
            if locust.exit_code is None:
                left = service.load.seconds - sample.seconds
                table.show(sample, f"the load, {max(left, 0):.0f} s left")
                return True
            if locust.exit_code == USAGE_ERROR:
                raise ScaleError(last_line(locust.log_file))
            give_up_at = give_up_at or sample.seconds + options.settle
            table.show(sample, f"the scale-in, until {give_up_at:.0f} s at most")
            settled = Summary.of(samples).has_settled(nodes_must_follow=service.is_local)
            return not settled and sample.seconds < give_up_at

        every_second(take)
    return samples


def last_line(path: Path) -> str:
    """The last thing that a log says, without the word error."""
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no output"]
    said = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])
    return said.removeprefix("error: ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parse(arguments)
    progress = Progress()
    # So that everything is stopped, too, when a CI job is cancelled.
    signal.signal(signal.SIGTERM, _exit)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        if options.serve_url:
            fetch_card(options.serve_url)
        make_service = remote_service if options.serve_url else local_service
        with make_service(options, progress) as service:
            progress("ready; loading")
            samples = watch(service, options)
            progress("stopping everything that was started")
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return 130
    except (
        ScaleError,
        ServiceError,
        ServiceStartError,
        DashboardError,
        ClusterError,
        LaunchError,
        OSError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    outcome = read_outcome(options.out / "locust")
    limits = Thresholds(max_p99_ms=options.max_p99_ms, min_rps=options.min_rps)
    problems = limits.broken_by(outcome)
    problems += Summary.of(samples).problems(nodes_must_follow=service.is_local)
    page = write_report(
        options.out,
        samples,
        problems=problems,
        settings={
            **service.settings,
            "load": str(outcome),
            "sent again": f"{count_sent_again(options.out / 'locust')} requests, whose idle "
            "connection was being closed (RFC 9110, 9.2.2)",
        },
        caption=service.caption,
        cpu_target=service.cpu_target,
    )
    for name, value in describe(Summary.of(samples)).items():
        print(f"  {name:<48}{value}")
    progress(f"report: {page}")
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _exit(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.scale", usage="%(prog)s [options]", description=__doc__
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
    for name in ("users", "user_rate", "seconds", "replicas", "max_nodes", "cpu_target"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            parser.error(f"--{name.replace('_', '-')} {value}: must be above 0")
    return options


if __name__ == "__main__":
    sys.exit(main())
