"""What load is offered, and when: every scenario, as plain numbers."""

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

RAMP_SECONDS = 2.0
"""A change of load takes this long, whatever its size."""


class Stage(NamedTuple):
    """A stretch of constant load."""

    seconds: float
    share: float
    """Share of the scenario's users that are active, 0 to 1."""


@dataclass(frozen=True)
class Scenario:
    """A load over time.

    Closed-loop users wait for their answer and then think, as humans do: a slow service is asked
    less. Open-loop users send at a fixed rate whatever the service does, as a queue or a crowd
    does; only they show the latency that clients of a slow service would see.

    Most open-loop scenarios have the random arrivals of `poisson_waits`, for which capacity is
    planned. With even arrivals each user follows Locust's `constant_throughput`: what chance adds
    to the latency is left out, so that two runs compare. A user whose answer takes longer than its
    interval is late then: have so many users that this does not happen.
    """

    description: str
    users: int
    stages: tuple[Stage, ...]
    open_loop: bool = False
    even_arrivals: bool = False
    """Whether open-loop users send at even intervals, instead of at random moments."""
    batch_rows: int = 1
    """Rows in a request; more than 1 goes to the batch endpoint."""

    @property
    def seconds(self) -> float:
        """Length of the scenario."""
        return sum(stage.seconds for stage in self.stages)

    def seconds_with_peak(self, peak_seconds: float) -> float:
        """Length of the scenario if its longest peak has to last so long, or longer."""
        peak = max(stage.seconds for stage in self.stages if stage.share == 1)
        return self.seconds * max(1.0, peak_seconds / peak)

    def stage_at(self, elapsed: float, seconds: float) -> int | None:
        """Position of the stage after ``elapsed`` seconds of a scenario stretched to ``seconds``.

        None once the scenario is over.
        """
        end = 0.0
        for position, stage in enumerate(self.stages):
            end += stage.seconds / self.seconds * seconds
            if elapsed < end:
                return position
        return None

    def users_in(self, stage: int, peak: int) -> int:
        """Active users of a stage if ``peak`` are all; never none."""
        return max(1, round(self.stages[stage].share * peak))


def _steps(seconds: float, *shares: float) -> tuple[Stage, ...]:
    return tuple(Stage(seconds, share) for share in shares)


SCENARIOS: Mapping[str, Scenario] = {
    "baseline": Scenario(
        "100 users who wait 1 to 2 s between requests, for a minute", 100, _steps(60, 1)
    ),
    "steps": Scenario(
        "a fixed rate that rises in ten steps: finds where a replica saturates",
        1000,
        _steps(15, *(step / 10 for step in range(1, 11))),
        open_loop=True,
    ),
    "spike": Scenario(
        "a tenth of the users, suddenly all of them, a tenth again",
        100,
        (Stage(20, 0.1), Stage(40, 1), Stage(30, 0.1)),
        open_loop=True,
    ),
    "surge": Scenario(
        "a tenth of the users, suddenly all of them, and it stays so",
        100,
        (Stage(5, 0.1), Stage(45, 1)),
        open_loop=True,
    ),
    "soak": Scenario("half the users of the baseline for half an hour", 50, _steps(1800, 1)),
    "batch": Scenario(
        "10 users who send 100 rows at a time, for a minute", 10, _steps(60, 1), batch_rows=100
    ),
    "open-loop": Scenario(
        "a fixed rate at even intervals for a minute: the one to quote latencies from",
        100,
        _steps(60, 1),
        open_loop=True,
        even_arrivals=True,
    ),
    "scale": Scenario(
        "a little load, three steps up, back to a little: replicas and nodes come and go",
        100,
        (Stage(15, 0.1), Stage(25, 0.4), Stage(25, 0.7), Stage(40, 1), Stage(50, 0.1)),
        open_loop=True,
    ),
}


def poisson_waits(rate: float) -> Iterator[float]:
    """Waits before each request of ``rate`` a second, seconds, whatever happened to the last one.

    Arrivals of many independent users are a Poisson process, which queueing formulas assume.
    Locust's `constant_throughput` has all users send at the same moments if they were started
    together, and its `poisson` sends less when answers are slow.
    """
    due = time.monotonic()
    while True:
        due += random.expovariate(rate)
        yield max(0.0, due - time.monotonic())
