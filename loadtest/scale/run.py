"""A run in which a service scales: loaded, recorded, judged and reported."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from loadtest.driver.locust_run import Load
from loadtest.driver.results import Thresholds
from loadtest.scale.record import run_load
from loadtest.scale.report import describe, write_report
from loadtest.scale.samples import ScaleSummary, Snapshot
from loadtest.scale.services import WatchedService
from serve_app.errors import CheckFailedError
from serve_app.runtime.local_service import Progress
from serve_app.runtime.signals import stopped_by_signals


def run_scale(
    watched: AbstractContextManager[WatchedService],
    out: Path,
    progress: Progress,
    *,
    thresholds: Thresholds,
    settle_seconds: float,
) -> None:
    """Load a service, record how it scales, judge it, and write report and raw files into ``out``.

    The scale-in after the load is waited for, for ``settle_seconds`` at most.

    Raises:
        CheckFailedError: a threshold is broken, or replicas or nodes did not scale out and in;
            one line for each problem.
        UserError: the service cannot be started, reached or loaded.
        KeyboardInterrupt: SIGINT or SIGTERM came; everything that was started is stopped.
    """
    out.mkdir(parents=True, exist_ok=True)
    with stopped_by_signals(), watched as service:
        progress("ready; loading")
        record = run_load(
            service.dashboard,
            service.load,
            out,
            pods=service.pods,
            thresholds=thresholds,
            nodes_must_follow=service.nodes_must_follow,
            settle_seconds=settle_seconds,
        )
        progress("stopping everything that was started")
    summary = ScaleSummary.of(record.snapshots)
    problems = [
        *record.problems,
        *summary.problems(nodes_must_follow=service.nodes_must_follow),
        *too_little_load(summary, service.load, service.cpu_target),
        *too_late(record.snapshots),
    ]
    page = write_report(
        out,
        record.snapshots,
        load=record.summary,
        problems=problems,
        settings={
            **service.settings,
            "load": str(record.summary),
        },
        caption=service.caption,
        cpu_target=service.cpu_target,
    )
    for name, value in describe(summary, record.summary).items():
        print(f"  {name:<48}{value}")
    progress(f"report: {page}")
    if problems:
        raise CheckFailedError("\n".join(problems))


def too_little_load(summary: ScaleSummary, load: Load, cpu_target: float | None) -> list[str]:
    """A sentence that says what to raise if the load was too small for more replicas."""
    highest, (first, most, _) = summary.highest_utilisation, summary.replicas
    if most > first or highest is None or cpu_target is None or highest >= cpu_target:
        return []
    advice = f"raise --users, {load.users} now"
    if load.user_rate is not None:
        advice = (
            f"raise --user-rate, {load.user_rate:g} now: {load.users} users offered {load.peak}"
        )
    reason = f"CPU utilisation was {highest:.0%} at most, under its target of {cpu_target:.0%}"
    return [f"the load was too small: {reason}; {advice}"]


def too_late(snapshots: Sequence[Snapshot]) -> list[str]:
    """A sentence if more replicas were desired and none came while they were."""
    running = [s.replicas_running for s in snapshots if s.replicas_running is not None] or [0]
    asked = [s for s in snapshots if (s.replicas_desired or 0) > running[0]]
    if max(running) > running[0] or not asked:
        return []
    first, last = asked[0].seconds, asked[-1].seconds
    when = f"from second {first:.0f} to {last:.0f}"
    reason = "none became ready: nodes or the image took longer; raise --seconds"
    return [f"more replicas were desired {when}, and {reason}"]
