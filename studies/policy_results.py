"""What an autoscaling policy did with a sudden load: a row of a table."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.scale.samples import ScaleSummary, Snapshot

HEADER = (
    "| policy | first asked, s | enough running, s | most desired | worst p99 until then, ms | "
    "scaled in, s | replica-seconds | failed |\n|---|---|---|---|---|---|---|---|"
)


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
    def row(self) -> str:
        """Row of the Markdown table."""
        cells = (
            self.name,
            _number(self.asked_seconds),
            _number(self.enough_seconds),
            self.most_desired,
            _number(self.ramp_p99_ms),
            _number(self.scaled_in_seconds),
            _number(self.replica_seconds),
            self.failures,
        )
        return f"| {' | '.join(map(str, cells))} |"


def judge(name: str, snapshots: Sequence[Snapshot], *, enough: int) -> PolicyResult:
    """Read the result from a variant's snapshots, of which there must be at least one.

    Args:
        name: the variant's.
        snapshots: from before the rise of the load until after its end.
        enough: replicas that the load needs.
    """
    peak = max(snapshot.users for snapshot in snapshots)
    risen = list(itertools.dropwhile(lambda snapshot: snapshot.users <= peak / 2, snapshots))
    rise = risen[0].seconds if risen else snapshots[-1].seconds
    first = snapshots[0].replicas_running or 0
    asked = _first(risen, "replicas_desired", (snapshots[0].replicas_desired or 0) + 1)
    reached = _first(risen, "replicas_running", enough)
    end = _end_of_load(snapshots)
    ramp = [
        snapshot.p99_ms
        for snapshot in risen
        if snapshot.p99_ms is not None and snapshot.seconds <= (end if reached is None else reached)
    ]
    grew = any((snapshot.replicas_running or 0) > first for snapshot in snapshots)
    scaled_in = next(
        (
            snapshot.seconds
            for snapshot in snapshots
            if snapshot.seconds > end
            and snapshot.replicas_running is not None
            and snapshot.replicas_running <= first
        ),
        None,
    )
    return PolicyResult(
        name=name,
        asked_seconds=None if asked is None else asked - rise,
        enough_seconds=None if reached is None else reached - rise,
        most_desired=max(snapshot.replicas_desired or 0 for snapshot in snapshots),
        ramp_p99_ms=max(ramp, default=None),
        scaled_in_seconds=scaled_in - end if grew and scaled_in is not None else None,
        replica_seconds=ScaleSummary.of(snapshots).replica_seconds,
        failures=snapshots[-1].failures,
    )


def _first(snapshots: Sequence[Snapshot], name: str, least: int) -> float | None:
    return next((s.seconds for s in snapshots if (getattr(s, name) or 0) >= least), None)


def _end_of_load(snapshots: Sequence[Snapshot]) -> float:
    answered = [b.seconds for a, b in itertools.pairwise(snapshots) if b.requests > a.requests]
    return answered[-1] if answered else snapshots[-1].seconds


def _number(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f}"
