"""One load test, watched from its start until the service is at rest again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.command_line import USAGE_ERROR
from loadtest.scale.dashboard import Dashboard
from loadtest.driver.results import read_outcome
from loadtest.scale.pods import Pods
from loadtest.scale.live import LiveTable
from loadtest.scale.samples import Sample
from loadtest.driver.thresholds import Outcome, Thresholds
from loadtest.scale.sampler import Load, LocustRun, Watcher, every_second

Settled = Callable[[Sequence[Sample]], bool]
"""Whether nothing more is to be seen after the load."""


class RunError(Exception):
    """Locust refuses to run: names the problem and the fix."""


@dataclass(frozen=True)
class Run:
    """What was seen."""

    samples: Sequence[Sample]
    outcome: Outcome
    problems: Sequence[str]
    """One sentence for each broken threshold, and for an end that Locust should not have."""


def run_load(
    dashboard: Dashboard,
    load: Load,
    directory: Path,
    *,
    pods: Pods | None = None,
    thresholds: Thresholds | None = None,
    has_settled: Settled = lambda _samples: True,
    settle_seconds: float = 0.0,
) -> Run:
    """Run Locust and take samples until what follows the load is over, or takes too long.

    Raises:
        RunError: Locust refuses to run.
    """
    samples: list[Sample] = []
    table = LiveTable()
    with LocustRun(load, directory) as locust:
        watcher = Watcher(dashboard, locust.history, load, pods)
        give_up_at: float | None = None

        def take() -> bool:
            nonlocal give_up_at
            sample = watcher.sample()
            samples.append(sample)
            if locust.exit_code is None:
                left = load.seconds - sample.seconds
                table.show(sample, f"the load, {max(left, 0):.0f} s left")
                return True
            if locust.exit_code == USAGE_ERROR:
                raise RunError(locust.last_words())
            give_up_at = give_up_at or sample.seconds + settle_seconds
            table.show(sample, f"the scale-in, until {give_up_at:.0f} s at most")
            return not has_settled(samples) and sample.seconds < give_up_at

        every_second(take)
        exit_code = locust.exit_code
    outcome = read_outcome(directory / "locust")
    broken = (thresholds or Thresholds()).broken_by(outcome)
    return Run(samples, outcome, [*broken, *find_abort(exit_code, broken)])


def find_abort(exit_code: int | None, broken: Sequence[str]) -> list[str]:
    """A sentence if Locust ended otherwise than ``broken`` thresholds explain; 1 is for those."""
    if exit_code == 0 or (exit_code == 1 and broken):
        return []
    return [f"Locust ended with {exit_code}; locust.log says why"]
