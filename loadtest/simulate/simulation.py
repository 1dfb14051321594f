"""A day of autoscaled traffic in seconds: a fluid load on replicas that Serve's loop scales.

Requests are a fluid that all running replicas share evenly; what exceeds their capacity waits, up
to a limit, and is refused beyond it. A new replica answers ``start_seconds`` after the decision. A
downscale takes replicas that are still starting first, then the newest, as Serve does on nodes that
are equally full. Decisions come every ``step_seconds``, 1 by default; Serve's every 0.1 s.
"""

from dataclasses import dataclass

import numpy as np
from ray.serve.config import AutoscalingConfig

from loadtest.simulate.autoscaler import Group, Reports, Scaler
from loadtest.simulate.traffic import Series, Traffic
from serve_app.autoscaling import Targets


@dataclass(frozen=True)
class Replicas:
    """What one replica can do.

    Raises:
        ValueError: a number is out of its range.
    """

    capacity_rps: float
    """Requests per second at which it is fully busy."""
    start_seconds: float = 15.0
    """From the decision to the first answer: process, pod and node, whatever is missing."""
    queue_limit: float = 300.0
    """Requests that may wait for one replica; more are refused."""
    queue_seen: float = 0.0
    """Share of the waiting requests that Serve counts as ongoing: 0 if they wait in sockets."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.capacity_rps < float("inf"):
            raise ValueError(f"capacity of a replica is {self.capacity_rps}/s, must be above 0")
        for name in ("start_seconds", "queue_limit"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}, must not be negative")
        if not 0 <= self.queue_seen <= 1:
            raise ValueError(f"queue_seen is {self.queue_seen}, must be from 0 to 1")


@dataclass(frozen=True)
class Simulation:
    """What happened, one element per step; all series have the same length."""

    step_seconds: float
    seconds: Series
    """Start of each step."""
    offered_rps: Series
    capacity_rps: Series
    """What the running replicas can answer."""
    served_rps: Series
    refused_rps: Series
    waiting: Series
    """Requests in the queue at the end of the step."""
    running: Series
    target: Series
    """Replicas that the deployment should have, at the end of the step; starting ones included."""
    utilisation: Series
    """Share of the step for which each replica was busy."""

    @property
    def share_above_saturation(self) -> float:
        """Share of the requests that came in excess of what the running replicas can answer."""
        excess = np.maximum(self.offered_rps - self.capacity_rps, 0).sum()
        return float(excess / max(self.offered_rps.sum(), 1e-300))

    @property
    def share_refused(self) -> float:
        """Share of the requests that found the queue full."""
        return float(self.refused_rps.sum() / max(self.offered_rps.sum(), 1e-300))

    @property
    def replica_hours(self) -> float:
        """Hours paid for, those of starting replicas included."""
        return float(self.target.sum() * self.step_seconds / 3600)


class _Fleet:
    """Replicas, oldest first."""

    def __init__(self, count: int) -> None:
        self.groups = [Group(0.0, count)]

    def running(self, now: float) -> list[Group]:
        """Those that answer requests."""
        return [group for group in self.groups if group.ready_at <= now]

    def resize(self, target: int, new_ready_at: float) -> None:
        """Start new ones, or stop the newest."""
        missing = target - sum(group.count for group in self.groups)
        if missing > 0:
            self.groups.append(Group(new_ready_at, missing))
        while missing < 0:
            stopped = min(self.groups[-1].count, -missing)
            self.groups[-1].count -= stopped
            missing += stopped
            if not self.groups[-1].count:
                self.groups.pop()

    def merge(self, reports: Reports, now: float) -> None:
        """Treat neighbours that report alike as one: few groups make a fast simulation."""
        merged = self.groups[:1]
        for group in self.groups[1:]:
            if reports.alike(merged[-1], group, now):
                merged[-1].count += group.count
            else:
                merged.append(group)
        self.groups = merged


def simulate(
    traffic: Traffic,
    config: AutoscalingConfig,
    targets: Targets,
    replicas: Replicas,
    *,
    step_seconds: float = 1.0,
) -> Simulation:
    """Replay ``traffic`` against a deployment of ``replicas`` that ``config`` scales.

    Raises:
        ValueError: ``min_replicas`` is 0 (how a proxy holds requests meanwhile is not modelled), or
            the step is not above 0.
    """
    if config.min_replicas < 1:
        raise ValueError("min_replicas is 0: scaling to zero is not simulated, take 1 or more")
    if not 0 < step_seconds < float("inf"):
        raise ValueError(f"a step of {step_seconds} s must be above 0")
    offered = traffic.sampled(step_seconds)
    reports = Reports(config, step_seconds)
    scaler = Scaler(config, targets)
    fleet = _Fleet(scaler.target)
    waiting = 0.0
    rows = []
    for step, rate in enumerate(offered.tolist()):
        now = (step + 1) * step_seconds
        running = fleet.running(step * step_seconds)
        count = sum(group.count for group in running)
        capacity = count * replicas.capacity_rps
        demand = rate + waiting / step_seconds
        served = min(demand, capacity)
        left = (demand - served) * step_seconds
        waiting = min(left, count * replicas.queue_limit)
        utilisation = served / capacity
        reports.add(utilisation, utilisation + replicas.queue_seen * waiting / count)
        scaler.decide(now, reports.observe(now, running, scaler.target))
        if scaler.target != sum(group.count for group in fleet.groups):
            fleet.resize(scaler.target, now + replicas.start_seconds)
        if len(fleet.groups) > 1:
            fleet.merge(reports, now)
        refused = (left - waiting) / step_seconds
        rows.append((capacity, served, refused, waiting, count, scaler.target, utilisation))
    seconds = np.arange(len(offered), dtype=np.float64) * step_seconds
    columns: list[Series] = list(np.array(rows, dtype=np.float64).T)
    return Simulation(step_seconds, seconds, offered, *columns)
