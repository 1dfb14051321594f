"""Ray Serve's autoscaling loop, with the real policy and without a cluster.

What is real: `serve_app.autoscaling.desired_replicas`, and Ray's scaling factors and delays, which
are called and not copied. What is modelled is the loop of Ray Serve 2.60 around them:

* A replica records a point every ``look_back_period_s / 5``, at most every ``metrics_interval_s``,
  and sends the points of the last ``look_back_period_s`` every ``metrics_interval_s``, the first
  ones that long after its start. A decision sees the past, ``metrics_interval_s`` old at most.
* The controller averages the points of a replica over time; the last one holds until now.
* It decides in a loop. A desired number that differs from the target becomes the target once it
  has lasted ``upscale_delay_s`` or ``downscale_delay_s``; its size may change meanwhile, the last
  one counts. One in the other direction, or none, restarts the clock. Bounds are applied last.
"""

import math
from dataclasses import dataclass
from typing import Any

from ray.serve.config import AutoscalingConfig

from serve_app.autoscaling import Observation, Targets, desired_replicas
from serve_app.ray_internals.scaling import (
    POINTS_PER_LOOK_BACK,
    apply_delays,
    apply_scaling_factors,
)

EPSILON = 1e-9
"""Far below any period, far above the rounding of a moment within a day."""


@dataclass
class Group:
    """Replicas that began to answer at the same moment."""

    ready_at: float
    count: int


class Reports:
    """What the replicas' reports tell the controller, from integrals over the past.

    All running replicas share the load evenly, so that all replicas have the same history since
    the moment that they were ready.
    """

    def __init__(self, config: AutoscalingConfig, step: float) -> None:
        self._look_back: float = config.look_back_period_s
        self._interval: float = config.metrics_interval_s
        self._record: float = min(self._look_back / POINTS_PER_LOOK_BACK, self._interval)
        self._step = step
        self._busy = [0.0]
        self._ongoing = [0.0]

    def add(self, busy: float, ongoing: float) -> None:
        """Record a step: the utilisation and the ongoing requests of each running replica."""
        self._busy.append(self._busy[-1] + busy * self._step)
        self._ongoing.append(self._ongoing[-1] + ongoing * self._step)

    def observe(self, now: float, groups: list[Group], target: int) -> Observation:
        """What is known at ``now`` of the running ``groups``."""
        running = reporting = 0
        busy = ongoing = 0.0
        for group in groups:
            running += group.count
            pushed = math.floor((now - group.ready_at) / self._interval + EPSILON) * self._interval
            # A report leaves before the point of the same moment is recorded; the first point, of
            # the start itself, is no measurement of the load.
            last = math.ceil(pushed / self._record - EPSILON) - 1
            first = max(1, math.floor((pushed - self._look_back) / self._record + EPSILON) + 1)
            if last < first:
                continue
            reporting += group.count
            first_at = group.ready_at + first * self._record
            last_at = group.ready_at + last * self._record
            busy += group.count * self._mean(self._busy, first_at, last_at, now)
            ongoing += group.count * self._mean(self._ongoing, first_at, last_at, now)
        return Observation(
            target=target,
            running=running,
            reporting=reporting,
            utilisation=busy / reporting if reporting else 0.0,
            ongoing_requests=ongoing,
        )

    def alike(self, one: Group, other: Group, now: float) -> bool:
        """Whether both groups report the same at the same moments, now and ever after."""
        apart = other.ready_at - one.ready_at
        return now - other.ready_at > self._look_back + 2 * self._interval and all(
            abs(apart / period - round(apart / period)) < EPSILON
            for period in (self._interval, self._record)
        )

    def _mean(self, integral: list[float], first_at: float, last_at: float, now: float) -> float:
        """Mean over time of the points from ``first_at`` on; the last one holds until ``now``."""
        before_first, before_last, at_last = (
            self._at(integral, moment)
            for moment in (first_at - self._record, last_at - self._record, last_at)
        )
        held = (at_last - before_last) / self._record * (now - last_at)
        return (before_last - before_first + held) / (now - first_at)

    def _at(self, integral: list[float], moment: float) -> float:
        position = moment / self._step
        index = int(position)
        return integral[index] + (position - index) * (integral[index + 1] - integral[index])


class Scaler:
    """The target, and the state that decisions about it keep."""

    def __init__(self, config: AutoscalingConfig, targets: Targets) -> None:
        self.target = config.initial_replicas or config.min_replicas
        self._config = config
        self._targets = targets
        self._state: dict[str, Any] = {}

    def decide(self, now: float, seen: Observation) -> None:
        """One turn of the controller's loop."""
        desired = desired_replicas(seen, self._targets)
        scaled = apply_scaling_factors(desired, seen.running, self._config)
        decided, self._state = apply_delays(
            max(0, scaled), self.target, self._config, self._state, now
        )
        self.target = max(self._config.min_replicas, min(self._config.max_replicas, decided))
