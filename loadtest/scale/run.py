"""A load test, recorded from its start until the service is at rest again; judged and reported."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadtest.driver.locust_run import Load, LocustRun
from loadtest.driver.results import LoadSummary, Thresholds, read_latest, read_summary
from loadtest.scale.dashboard import Dashboard
from loadtest.scale.live import LiveTable
from loadtest.scale.pods import Pods
from loadtest.scale.report import describe, write_report
from loadtest.scale.sampler import Sampler, every_second
from loadtest.scale.samples import ScaleSummary, Snapshot
from loadtest.scale.services import WatchedService
from serve_app.errors import CheckFailedError
from serve_app.runtime.local_service import Progress
from serve_app.runtime.signals import stopped_by_signals


@dataclass(frozen=True)
class LoadRecord:
    """A load test and everything that was recorded during it."""

    snapshots: Sequence[Snapshot]
    summary: LoadSummary
    problems: Sequence[str]
    """One sentence for each broken threshold, and for an end of Locust that none explains."""


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


def run_load(
    dashboard: Dashboard,
    load: Load,
    directory: Path,
    *,
    settle_seconds: float,
    nodes_must_follow: bool = False,
    pods: Pods | None = None,
    thresholds: Thresholds | None = None,
) -> LoadRecord:
    """Run Locust and take snapshots until the service is at rest, or for ``settle_seconds`` more.

    Raises:
        UserError: Locust does not start the load.
    """
    snapshots: list[Snapshot] = []
    table = LiveTable()
    with LocustRun(load, directory) as locust:
        sampler = Sampler(dashboard, partial(read_latest, locust.prefix), load.user_rate, pods)
        give_up_at: float | None = None
        for snapshot in every_second(sampler.take):
            snapshots.append(snapshot)
            if locust.exit_code is None:
                table.show(snapshot, f"the end of the load, after {load.seconds:.0f} s")
                continue
            locust.check_accepted()
            give_up_at = give_up_at or snapshot.seconds + settle_seconds
            table.show(snapshot, f"the scale-in, until second {give_up_at:.0f} at most")
            has_settled = ScaleSummary.of(snapshots).has_settled(
                nodes_must_follow=nodes_must_follow
            )
            if has_settled or snapshot.seconds >= give_up_at:
                break
    summary = read_summary(locust.prefix)
    broken = (thresholds or Thresholds()).broken_by(summary)
    return LoadRecord(snapshots, summary, [*broken, *find_abort(locust.exit_code, broken)])


def find_abort(exit_code: int | None, broken: Sequence[str]) -> list[str]:
    """A sentence if Locust ended otherwise than ``broken`` thresholds explain; 1 is for those."""
    if exit_code == 0 or (exit_code == 1 and broken):
        return []
    return [f"Locust ended with {exit_code}; locust.log says why"]


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
