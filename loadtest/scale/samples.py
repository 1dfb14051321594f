"""What was seen in each second of a run, and what follows from it."""

import csv
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

MISSING = ""


@dataclass(frozen=True)
class Sample:
    """One second; None where the source did not say."""

    seconds: float
    """Since the start of the run."""
    users: int = 0
    offered_rps: float | None = None
    """Requests per second that open-loop users mean to send."""
    rps: float = 0.0
    requests: int = 0
    """All answered so far."""
    failures: int = 0
    """All failed so far."""
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    """Response time over Locust's last ten seconds, milliseconds."""
    ongoing: float | None = None
    """Requests that the autoscaler sees queued or running, over all replicas."""
    utilisation: float | None = None
    """Mean CPU utilisation of the running replicas; 1 is a whole CPU."""
    replicas_wanted: int | None = None
    replicas_running: int | None = None
    nodes_wanted: int | None = None
    nodes_running: int | None = None
    """Ray's worker nodes; on Kubernetes each is a pod."""
    machines: int | None = None
    """Kubernetes nodes under those pods."""


class Event(NamedTuple):
    """Something that happened."""

    seconds: float
    text: str


def write_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Write ``samples`` as CSV, one row each, under a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Sample)], restval=MISSING)
        writer.writeheader()
        writer.writerows(asdict(sample) for sample in samples)


def find_events(samples: Sequence[Sample]) -> list[Event]:
    """When replicas and nodes were asked for, came and went."""
    kinds = (
        ("replicas_wanted", "replica", "wanted", "no longer wanted"),
        ("replicas_running", "replica", "ready", "stopped"),
        ("nodes_running", "node", "joined", "left"),
    )
    events = []
    for name, noun, more, fewer in kinds:
        known = [(sample.seconds, getattr(sample, name)) for sample in samples]
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
class Summary:
    """A run in a few numbers."""

    requests: int
    failures: int
    replicas: tuple[int, int, int]
    """Running at the start, at most, at the end."""
    nodes: tuple[int, int, int] | None
    """Running at the start, at most, at the end; None if nobody counted them."""
    worst_p99_ms: float | None
    replica_seconds: float
    """Running replicas, added up over time: what the run cost."""
    scale_up_seconds: float | None
    """From the first wish for another replica until the most replicas were running."""

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Summary":
        """Summarise ``samples``, of which there must be at least one."""
        last = samples[-1]
        running = [s.replicas_running for s in samples if s.replicas_running is not None] or [0]
        nodes = [s.nodes_running for s in samples if s.nodes_running is not None]
        return cls(
            requests=last.requests,
            failures=last.failures,
            replicas=(running[0], max(running), running[-1]),
            nodes=(nodes[0], max(nodes), nodes[-1]) if nodes else None,
            worst_p99_ms=max((s.p99_ms for s in samples if s.p99_ms is not None), default=None),
            replica_seconds=sum(
                (b.seconds - a.seconds) * (a.replicas_running or 0)
                for a, b in itertools.pairwise(samples)
            ),
            scale_up_seconds=_scale_up_seconds(samples, running[0], max(running)),
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


def _scale_up_seconds(samples: Sequence[Sample], first: int, most: int) -> float | None:
    wished = (s.seconds for s in samples if (s.replicas_wanted or 0) > first)
    reached = (s.seconds for s in samples if s.replicas_running == most)
    start = next(wished, None)
    return None if start is None or most <= first else next(reached) - start
