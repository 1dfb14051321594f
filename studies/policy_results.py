"""What an autoscaling policy did with a sudden load: a row of a table."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from loadtest.scale.samples import ScaleSummary, Snapshot


@dataclass(frozen=True)
class PolicyResult:
    """What a variant did with the load."""

    name: str
    asked_seconds: float | None
    """From the rise of the load until more replicas were desired."""
    enough_seconds: float | None
    """From the rise of the load until enough replicas were running."""
    most_desired: int
    ramp_p99_ms: float | None
    """Worst p99 of any ten seconds from the rise until enough replicas ran, or the load ended."""
    scaled_in_seconds: float | None
    """From the last answer until no more replicas than at first were running."""
    replica_seconds: float
    failures: int

    @property
    def row(self) -> dict[str, object]:
        """Row of a table, by column."""
        return {
            "policy": self.name,
            "first asked, s": _number(self.asked_seconds),
            "enough running, s": _number(self.enough_seconds),
            "most desired": self.most_desired,
            "worst p99 until then, ms": _number(self.ramp_p99_ms),
            "scaled in, s": _number(self.scaled_in_seconds),
            "replica-seconds": _number(self.replica_seconds),
            "failed": self.failures,
        }


def judge(name: str, snapshots: Sequence[Snapshot], *, enough: int) -> PolicyResult:
    """Read the result from a variant's snapshots, of which there must be at least one.

    Args:
        name: the variant's.
        snapshots: from before the rise of the load until after its end.
        enough: replicas that the load needs.
    """
    start, last = snapshots[0], snapshots[-1]
    peak, first = max(each.users for each in snapshots), start.replicas_running or 0
    risen = list(itertools.dropwhile(lambda each: each.users <= peak / 2, snapshots))
    rise = risen[0].seconds if risen else last.seconds
    asked = _when(risen, lambda at: (at.replicas_desired or 0) > (start.replicas_desired or 0))
    reached = _when(risen, lambda at: (at.replicas_running or 0) >= enough)
    answered = [b.seconds for a, b in itertools.pairwise(snapshots) if b.requests > a.requests]
    end = answered[-1] if answered else last.seconds
    ramp_end = end if reached is None else reached
    grew = any((each.replicas_running or 0) > first for each in snapshots)
    after = (at for at in snapshots if at.seconds > end and at.replicas_running is not None)
    scaled_in = _when(after, lambda at: (at.replicas_running or 0) <= first) if grew else None
    return PolicyResult(
        name=name,
        asked_seconds=None if asked is None else asked - rise,
        enough_seconds=None if reached is None else reached - rise,
        most_desired=max(each.replicas_desired or 0 for each in snapshots),
        ramp_p99_ms=max(
            (at.p99_ms for at in risen if at.p99_ms is not None and at.seconds <= ramp_end),
            default=None,
        ),
        scaled_in_seconds=None if scaled_in is None else scaled_in - end,
        replica_seconds=ScaleSummary.of(snapshots).replica_seconds,
        failures=last.failures,
    )


def _when(snapshots: Iterable[Snapshot], happened: Callable[[Snapshot], bool]) -> float | None:
    return next((each.seconds for each in snapshots if happened(each)), None)


def _number(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f}"
