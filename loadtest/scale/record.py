"""One load test, recorded each second from its start until the service is at rest again."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadtest.driver.locust_run import Load, LocustRun
from loadtest.driver.results import LoadSummary, Thresholds, read_latest, read_summary
from loadtest.scale.dashboard import Dashboard
from loadtest.scale.live import LiveTable
from loadtest.scale.pods import Pods
from loadtest.scale.sampler import Sampler, every_second
from loadtest.scale.samples import ScaleSummary, Snapshot


@dataclass(frozen=True)
class LoadRecord:
    """A load test and everything that was recorded during it."""

    snapshots: Sequence[Snapshot]
    summary: LoadSummary
    problems: Sequence[str]
    """One sentence for each broken threshold, and for an end of Locust that none explains."""


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
    started_at: float | None = None
    with LocustRun(load, directory) as locust:
        sampler = Sampler(dashboard, partial(read_latest, locust.prefix), load.user_rate, pods)
        give_up_at: float | None = None
        for snapshot in every_second(sampler.take):
            snapshots.append(snapshot)
            if started_at is None and snapshot.users:
                started_at = snapshot.seconds
            if locust.exit_code is None:
                table.show(snapshot, _next_of(load, started_at))
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


def _next_of(load: Load, started_at: float | None) -> str:
    """What comes next: Locust takes seconds until it has a user, and its time counts from there."""
    if started_at is None:
        return "Locust to start the load"
    return f"the end of the load, at second {started_at + load.seconds:.0f}"


def find_abort(exit_code: int | None, broken: Sequence[str]) -> list[str]:
    """A sentence if Locust ended otherwise than ``broken`` thresholds explain; 1 is for those."""
    if exit_code == 0 or (exit_code == 1 and broken):
        return []
    return [f"Locust ended with {exit_code}; locust.log says why"]
