"""What was recorded in each second of a run, and what follows from it."""

import csv
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple


class WorkerNodes(NamedTuple):
    """Worker nodes of a Ray cluster at one moment; the head is none."""

    desired: int
    """Running, or being launched."""
    running: int
    machines: int | None = None
    """Kubernetes nodes that they run on."""


@dataclass(frozen=True)
class Snapshot:
    """One second; None where the source gave no value."""

    seconds: float
    """Since the start of the run."""
    users: int = 0
    offered_rps: float | None = None
    """Requests per second that open-loop users send, whatever the service does."""
    rps: float = 0.0
    requests: int = 0
    """Answered so far."""
    failures: int = 0
    """Failed so far."""
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    """Response time over Locust's last ten seconds, milliseconds."""
    ongoing: float | None = None
    """Requests that the autoscaler sees queued or running, over all replicas."""
    utilisation: float | None = None
    """Mean CPU utilisation of the running replicas; 1 is a whole CPU."""
    replicas_desired: int | None = None
    replicas_running: int | None = None
    nodes_desired: int | None = None
    nodes_running: int | None = None
    """Ray's worker nodes; on Kubernetes each is a pod."""
    machines: int | None = None
    """Kubernetes nodes under those pods."""


class Event(NamedTuple):
    """Something that happened."""

    seconds: float
    text: str


def write_snapshots(path: Path, snapshots: Sequence[Snapshot]) -> None:
    """Write ``snapshots`` as CSV, one row each, under a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Snapshot)])
        writer.writeheader()
        writer.writerows(asdict(snapshot) for snapshot in snapshots)


def find_events(snapshots: Sequence[Snapshot]) -> list[Event]:
    """When replicas were asked for, and when replicas and nodes came and went."""
    kinds = (
        ("replicas_desired", "replica", "desired", "no longer desired"),
        ("replicas_running", "replica", "ready", "stopped"),
        ("nodes_running", "node", "joined", "left"),
    )
    events = []
    for name, noun, more, fewer in kinds:
        known = [(snapshot.seconds, getattr(snapshot, name)) for snapshot in snapshots]
        known = [(seconds, count) for seconds, count in known if count is not None]
        for (_, before), (seconds, after) in itertools.pairwise(known):
            if after > before:
                events.append(Event(seconds, f"{_numbers(noun, before + 1, after)} {more}"))
            elif after < before:
                events.append(Event(seconds, f"{_numbers(noun, after + 1, before)} {fewer}"))
    return sorted(events)


def _numbers(noun: str, first: int, last: int) -> str:
    return f"{noun} {first}" if first == last else f"{noun}s {first} to {last}"


@dataclass(frozen=True)
class ScaleSummary:
    """A run in a few numbers."""

    requests: int
    failures: int
    replicas: tuple[int, int, int]
    """Running at the start, at most, at the end."""
    nodes: tuple[int, int, int] | None
    """The same; None if no source counted them."""
    worst_p99_ms: float | None
    highest_utilisation: float | None
    """Highest mean CPU utilisation of the running replicas; 1 is a whole CPU."""
    replica_seconds: float
    """Running replicas, added up over time: what the run cost."""
    scale_up_seconds: float | None
    """From the first desired replica beyond the first ones until the most were running."""

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot]) -> "ScaleSummary":
        """Summarise ``snapshots``, of which there must be at least one."""
        last = snapshots[-1]
        running = [s.replicas_running for s in snapshots if s.replicas_running is not None] or [0]
        nodes = [s.nodes_running for s in snapshots if s.nodes_running is not None]
        latencies = [s.p99_ms for s in snapshots if s.p99_ms is not None]
        utilisations = [s.utilisation for s in snapshots if s.utilisation is not None]
        first, most = running[0], max(running)
        asked = [s.seconds for s in snapshots if (s.replicas_desired or 0) > first]
        reached = [s.seconds for s in snapshots if s.replicas_running == most]
        return cls(
            requests=last.requests,
            failures=last.failures,
            replicas=(first, most, running[-1]),
            nodes=(nodes[0], max(nodes), nodes[-1]) if nodes else None,
            worst_p99_ms=max(latencies, default=None),
            highest_utilisation=max(utilisations, default=None),
            replica_seconds=sum(
                (b.seconds - a.seconds) * (a.replicas_running or 0)
                for a, b in itertools.pairwise(snapshots)
            ),
            scale_up_seconds=reached[0] - asked[0] if asked and most > first else None,
        )

    def has_settled(self, *, nodes_must_follow: bool) -> bool:
        """Whether no more replicas, and nodes, are there than at the start."""
        return all(
            end <= first for _, (first, _, end) in self._counts(nodes_must_follow=nodes_must_follow)
        )

    def problems(self, *, nodes_must_follow: bool) -> list[str]:
        """One sentence for each thing that did not scale as it should."""
        found = []
        for name, (first, most, end) in self._counts(nodes_must_follow=nodes_must_follow):
            if most <= first:
                found.append(f"{name} did not scale out: {first} at the start, never more")
            elif end > first:
                found.append(f"{name} did not scale in: {end} at the end, {first} at the start")
        return found

    def _counts(self, *, nodes_must_follow: bool) -> list[tuple[str, tuple[int, int, int]]]:
        nodes = [("nodes", self.nodes or (0, 0, 0))] if nodes_must_follow else []
        return [("replicas", self.replicas), *nodes]
