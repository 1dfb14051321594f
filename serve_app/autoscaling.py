"""Desired replicas: the larger number that CPU utilisation and ongoing requests ask for.

The algorithm is the Kubernetes Horizontal Pod Autoscaler's, so that a target such as "60 % CPU"
means here what it means there; delays, factors and bounds are Ray Serve's:
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

CPU_UTILISATION = "cpu_utilisation"
"""Name of the metric that a replica reports and the policy reads."""

CPU_TARGET = 0.6
TOLERANCE = 0.1
"""A ratio this near to 1 changes nothing; the HPA's default."""

ROUNDING_DIGITS = 9
"""3 * 0.2 / 0.6 is 1.0000000000000002: rounding noise must not add a replica."""

REPORTS_MISSED = 3
"""A replica's last report is stale when so many further reports are overdue."""


@dataclass(frozen=True)
class Observation:
    """State of a deployment at one moment."""

    target: int
    """Current target number of replicas."""
    running: int
    """Replicas that take requests, without those that start or drain."""
    reporting: int
    """Running replicas whose CPU utilisation is known."""
    utilisation: float
    """Mean CPU utilisation of the reporting replicas; 1 is all the CPU that a replica requested."""
    ongoing_requests: float
    """Requests queued or running, over all replicas."""


@dataclass(frozen=True)
class Targets:
    """Target load of each replica."""

    cpu_utilisation: float = CPU_TARGET
    ongoing_requests: float = 2.0
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        """Refuse targets that no number of replicas could meet.

        Raises:
            ValueError: a target is not a positive number, or the tolerance is negative.
        """
        for name in ("cpu_utilisation", "ongoing_requests"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"target {name}={value} must be a number above 0")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance={self.tolerance} must be from 0 to below 1")


def desired_replicas(seen: Observation, targets: Targets) -> int:
    """Replicas that bring both metrics to their targets.

    Without any CPU report the ongoing requests may still ask for more replicas, but not for less:
    so does the HPA when one of several metrics cannot be read.
    """
    by_requests = _by_ongoing_requests(seen, targets)
    by_cpu = _by_cpu(seen, targets)
    return max(seen.target if by_cpu is None else by_cpu, by_requests)


def _by_ongoing_requests(seen: Observation, targets: Targets) -> int:
    """The HPA's formula for a metric that is one total for all pods."""
    needed = seen.ongoing_requests / targets.ongoing_requests
    if seen.target > 0 and _is_near_one(needed / seen.target, targets):
        return seen.target
    return _ceil(needed)


def _by_cpu(seen: Observation, targets: Targets) -> int | None:
    """The HPA's formula for a metric that each pod has: ceil(pods * mean / target).

    A pod without a value must not change the direction. It counts as busy when the other pods ask
    for a downscale, and as idle when they ask for an upscale; so does a pod that is starting.
    """
    if seen.reporting == 0:
        return None
    total = seen.utilisation * seen.reporting
    missing = seen.running - seen.reporting
    ratio = seen.utilisation / targets.cpu_utilisation
    if ratio < 1:
        # A target above 1 means more CPU than a replica requested.
        total += missing * max(1.0, targets.cpu_utilisation)
        counted = seen.running
    else:
        counted = max(seen.running, seen.target)
    corrected = total / counted / targets.cpu_utilisation
    turned = (ratio < 1) != (corrected < 1)
    if turned or _is_near_one(corrected, targets):
        return seen.target
    needed = _ceil(corrected * counted)
    # A downscale does not count starting replicas. It must not become an upscale, nor the other way
    # round.
    return min(needed, seen.target) if ratio < 1 else max(needed, seen.target)


def _is_near_one(ratio: float, targets: Targets) -> bool:
    return round(abs(ratio - 1), ROUNDING_DIGITS) <= targets.tolerance


def _ceil(value: float) -> int:
    return math.ceil(round(value, ROUNDING_DIGITS))


class CpuAndRequestsPolicy:
    """The autoscaling policy that ``policy_function`` in serve_config.yaml names.

    Args:
        cpu_target: CPU utilisation that each replica should have; ``policy_kwargs`` in
            serve_config.yaml. The other target is ``target_ongoing_requests`` there.

    Raises:
        ValueError: ``cpu_target`` is not a positive number.
    """

    def __init__(self, cpu_target: float = CPU_TARGET) -> None:
        Targets(cpu_utilisation=cpu_target)
        self._cpu_target = cpu_target

    def __call__(self, context: "AutoscalingContext") -> tuple[int, dict[str, Any]]:
        """Desired replicas, and the policy's state, which is none; Serve's controller calls it."""
        targets = Targets(
            cpu_utilisation=self._cpu_target,
            ongoing_requests=context.config.get_target_ongoing_requests(),
        )
        return desired_replicas(observe(context), targets), {}


def observe(context: "AutoscalingContext") -> Observation:
    """Observation from Serve's context, without replicas that drain or no longer report."""
    config = context.config
    oldest = context.current_time - max(
        config.look_back_period_s, REPORTS_MISSED * config.metrics_interval_s
    )
    reports = (context.raw_metrics or {}).get(CPU_UTILISATION, {})
    values = (context.aggregated_metrics or {}).get(CPU_UTILISATION, {})
    known = [
        values[replica]
        for replica in context.running_replicas
        if replica in values
        and math.isfinite(values[replica])
        and reports.get(replica)
        and reports[replica][-1].timestamp >= oldest
    ]
    return Observation(
        target=context.target_num_replicas,
        running=context.current_num_replicas,
        reporting=len(known),
        utilisation=math.fsum(known) / len(known) if known else 0.0,
        ongoing_requests=context.total_num_requests,
    )


class CpuMeter:
    """CPU time that this process used since the last reading, as a share of the CPU it requested.

    Args:
        cpus: CPUs that the replica requested (``num_cpus``), as for the HPA; 0 counts as 1.
        cpu_seconds: clock of this process's CPU time, seconds.
        wall_seconds: monotonic clock, seconds.
    """

    def __init__(
        self,
        cpus: float = 1.0,
        *,
        cpu_seconds: Callable[[], float] = time.process_time,
        wall_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cpus = cpus or 1.0
        self._cpu_seconds = cpu_seconds
        self._wall_seconds = wall_seconds
        self._last = (cpu_seconds(), wall_seconds())
        self._utilisation = 0.0

    def read(self) -> float:
        """Utilisation since the last reading; the last one again if no time has passed."""
        cpu, wall = self._cpu_seconds(), self._wall_seconds()
        elapsed = wall - self._last[1]
        if elapsed > 0:
            self._utilisation = (cpu - self._last[0]) / elapsed / self._cpus
            self._last = (cpu, wall)
        return self._utilisation
