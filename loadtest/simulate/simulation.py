"""A day of autoscaled traffic in seconds: a fluid load on replicas that Serve's loop scales.

Requests are a fluid that all running replicas share evenly; what exceeds their capacity waits, up
to a limit, and is refused beyond it. A new replica answers ``start_seconds`` after the decision. A
downscale takes replicas that are still starting first, then the newest, as Serve does on nodes that
are equally full. Decisions come every ``step_seconds``, 1 by default; Serve's every 0.1 s.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ray.serve.config import AutoscalingConfig

from loadtest.simulate.autoscaler import Group, Reports, Scaler
from loadtest.simulate.traffic import Series, Traffic
from serve_app.autoscaling import Targets
from serve_app.errors import UserError
from serve_app.serve_config import Scaling


@dataclass(frozen=True)
class ReplicaSpec:
    """What one replica can do."""

    capacity_rps: float
    """Requests per second at which it is fully busy, above 0."""
    start_seconds: float
    """From the decision to the first answer: process, pod and node, as far as they are missing."""
    queue_limit: float
    """Requests that may wait for one replica; more are refused."""
    queue_seen: float
    """Share of the waiting requests that Serve counts as ongoing: 0 if they wait in sockets."""


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
        """Treat groups that report alike as one: few groups make a fast simulation."""
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
    replica: ReplicaSpec,
    *,
    step_seconds: float = 1.0,
    watched: Callable[[Sequence[float]], Iterable[float]] = iter,
) -> Simulation:
    """Replay ``traffic`` against a deployment of such replicas that ``config`` scales.

    Args:
        traffic: what is sent.
        config: how Serve scales.
        targets: what the policy aims at.
        replica: what one replica can do.
        step_seconds: length of a step.
        watched: gives the rates of all steps one after the other, and may show how far they are.

    Raises:
        UserError: ``min_replicas`` is 0; how a proxy holds requests then is not modelled.
        TrafficError: the traffic has too many steps.
    """
    if config.min_replicas < 1:
        raise UserError("min_replicas is 0: scaling to zero is not simulated, take 1 or more")
    offered = traffic.sampled(step_seconds)
    reports = Reports(config, step_seconds)
    scaler = Scaler(config, targets)
    fleet = _Fleet(scaler.target)
    waiting = 0.0
    rows = []
    for step, rate in enumerate(watched(offered.tolist())):
        now = (step + 1) * step_seconds
        running = fleet.running(step * step_seconds)
        count = sum(group.count for group in running)
        capacity = count * replica.capacity_rps
        demand = rate + waiting / step_seconds
        served = min(demand, capacity)
        left = (demand - served) * step_seconds
        waiting = min(left, count * replica.queue_limit)
        utilisation = served / capacity
        reports.add(utilisation, utilisation + replica.queue_seen * waiting / count)
        scaler.decide(now, reports.observe(now, running, scaler.target))
        fleet.resize(scaler.target, now + replica.start_seconds)
        fleet.merge(reports, now)
        refused = (left - waiting) / step_seconds
        rows.append((capacity, served, refused, waiting, count, scaler.target, utilisation))
    seconds = np.arange(len(offered), dtype=np.float64) * step_seconds
    columns: list[Series] = list(np.array(rows, dtype=np.float64).T)
    return Simulation(step_seconds, seconds, offered, *columns)


def starting_with(scaling: Scaling, first_rps: float, capacity_rps: float) -> Scaling:
    """``scaling`` with as many initial replicas as ``first_rps`` need, at which the traffic begins.

    ``capacity_rps`` keep one replica fully busy.

    Raises:
        ConfigError: Ray or the policy refuses an option.
    """
    bounds = scaling.autoscaling
    needed = math.ceil(first_rps / (capacity_rps * scaling.targets.cpu_utilisation))
    initial = max(bounds.min_replicas, min(bounds.max_replicas, needed))
    return scaling.override({"initial_replicas": initial})
