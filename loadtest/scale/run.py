"""One load test, recorded from its start until the service is at rest again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.driver.locust_run import Load, LocustRun
from loadtest.driver.results import LoadSummary
from loadtest.driver.thresholds import Thresholds
from loadtest.scale.dashboard import Dashboard
from loadtest.scale.live import LiveTable
from loadtest.scale.pods import Pods
from loadtest.scale.sampler import Sampler, every_second
from loadtest.scale.samples import Snapshot

HasSettled = Callable[[Sequence[Snapshot]], bool]
"""Whether the service is at rest after the load."""


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
    has_settled: HasSettled,
    settle_seconds: float,
    pods: Pods | None = None,
    thresholds: Thresholds | None = None,
) -> LoadRecord:
    """Run Locust and take snapshots until the service is at rest, or for ``settle_seconds`` more.

    Raises:
        LoadError: Locust does not start the load.
    """
    snapshots: list[Snapshot] = []
    table = LiveTable()
    with LocustRun(load, directory) as locust:
        sampler = Sampler(dashboard, locust.history, load, pods)
        give_up_at: float | None = None

        def take() -> bool:
            nonlocal give_up_at
            snapshot = sampler.take()
            snapshots.append(snapshot)
            if locust.exit_code is None:
                table.show(snapshot, f"the end of the load, after {load.seconds:.0f} s")
                return True
            locust.check_accepted()
            give_up_at = give_up_at or snapshot.seconds + settle_seconds
            table.show(snapshot, f"the scale-in, until second {give_up_at:.0f} at most")
            return not has_settled(snapshots) and snapshot.seconds < give_up_at

        every_second(take)
        exit_code = locust.exit_code
    summary = locust.summary()
    broken = (thresholds or Thresholds()).broken_by(summary)
    return LoadRecord(snapshots, summary, [*broken, *find_abort(exit_code, broken)])


def find_abort(exit_code: int | None, broken: Sequence[str]) -> list[str]:
    """A sentence if Locust ended otherwise than ``broken`` thresholds explain; 1 is for those."""
    if exit_code == 0 or (exit_code == 1 and broken):
        return []
    return [f"Locust ended with {exit_code}; locust.log says why"]
