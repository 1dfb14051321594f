"""What an autoscaling policy did with a sudden load: a row of a table."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.scale.samples import Sample, Summary

HEADER = (
    "| policy | first asked, s | enough running, s | most wanted | worst p99 until then, ms | "
    "scaled in, s | replica-seconds | failed |\n|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Result:
    """What a variant did with the load."""

    name: str
    asked_seconds: float | None
    """From the rise of the load to the first wish for more replicas."""
    enough_seconds: float | None
    """From the rise of the load until enough replicas were running."""
    most_wanted: int
    ramp_p99_ms: float | None
    """Worst p99 of any ten seconds from the rise until enough replicas ran, or the load ended."""
    scaled_in_seconds: float | None
    """From the last answer until no more replicas than at first were running."""
    replica_seconds: float
    failures: int

    @property
    def row(self) -> str:
        """Row of the Markdown table."""
        cells = (
            self.name,
            _number(self.asked_seconds),
            _number(self.enough_seconds),
            self.most_wanted,
            _number(self.ramp_p99_ms),
            _number(self.scaled_in_seconds),
            _number(self.replica_seconds),
            self.failures,
        )
        return f"| {' | '.join(map(str, cells))} |"


def judge(name: str, samples: Sequence[Sample], *, enough: int) -> Result:
    """Read the result from a variant's samples, of which there must be at least one.

    Args:
        name: the variant's.
        samples: from before the rise of the load until after its end.
        enough: replicas that the load needs.
    """
    peak = max(sample.users for sample in samples)
    risen = list(itertools.dropwhile(lambda sample: sample.users <= peak / 2, samples))
    rise = risen[0].seconds if risen else samples[-1].seconds
    first = samples[0].replicas_running or 0
    asked = _first(risen, "replicas_wanted", (samples[0].replicas_wanted or 0) + 1)
    reached = _first(risen, "replicas_running", enough)
    end = _end_of_load(samples)
    ramp = [
        sample.p99_ms
        for sample in risen
        if sample.p99_ms is not None and sample.seconds <= (end if reached is None else reached)
    ]
    grew = any((sample.replicas_running or 0) > first for sample in samples)
    scaled_in = next(
        (
            sample.seconds
            for sample in samples
            if sample.seconds > end
            and sample.replicas_running is not None
            and sample.replicas_running <= first
        ),
        None,
    )
    return Result(
        name=name,
        asked_seconds=None if asked is None else asked - rise,
        enough_seconds=None if reached is None else reached - rise,
        most_wanted=max(sample.replicas_wanted or 0 for sample in samples),
        ramp_p99_ms=max(ramp, default=None),
        scaled_in_seconds=scaled_in - end if grew and scaled_in is not None else None,
        replica_seconds=Summary.of(samples).replica_seconds,
        failures=samples[-1].failures,
    )


def _first(samples: Sequence[Sample], name: str, least: int) -> float | None:
    return next((s.seconds for s in samples if (getattr(s, name) or 0) >= least), None)


def _end_of_load(samples: Sequence[Sample]) -> float:
    answered = [b.seconds for a, b in itertools.pairwise(samples) if b.requests > a.requests]
    return answered[-1] if answered else samples[-1].seconds


def _number(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f}"
