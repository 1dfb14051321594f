"""What one replica can do, learnt from a saturation curve, and what any number of them can do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from loadtest.curve import CurveError, Step
from loadtest.queueing import wait_quantile

SATURATED = 0.95
"""A step is saturated if it answers less than this share of what was offered."""

STEADY = 0.95
"""Latencies are only learnt, and predicted, below this utilisation: a queue near saturation takes
longer to settle than a step lasts."""

MIN_STEPS = 3
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class ReplicaModel:
    """Response time = time without queue + wait in G/G/c; see `loadtest.queueing`.

    The service time comes from the utilisation law (Denning and Buzen 1978), U = X D: at saturation
    U is 1, so that the service demand D is the inverse of the highest throughput X. The wait's
    variability and the time without queue are those that fit the curve's percentiles best.
    """

    capacity_rps: float
    """Requests per second that keep one replica fully busy."""
    variability: float
    """See `loadtest.queueing.mean_wait`."""
    base_ms: dict[float, float]
    """Response time without any queue by share of the requests, milliseconds."""
    error: float
    """Mean relative error of the fitted p99 over the steps below saturation."""

    @classmethod
    def fit(cls, steps: Sequence[Step]) -> "ReplicaModel":
        """Learn from a saturation curve.

        Raises:
            CurveError: nothing was answered, no step saturates, or too few lie below saturation.
        """
        if not any(step.achieved_rps < SATURATED * step.offered_rps for step in steps):
            highest = max(step.offered_rps for step in steps)
            raise CurveError(
                f"the curve never saturates: {highest:g} requests/s were all answered; measure "
                "again with more --users"
            )
        capacity = max(step.achieved_rps / step.replicas for step in steps)
        if capacity <= 0:
            raise CurveError("no request was answered in any step; is the service running?")
        steady = [step for step in steps if is_steady(step, capacity)]
        if len(steady) < MIN_STEPS:
            raise CurveError(
                f"only {len(steady)} steps without failures lie below the saturation at "
                f"{capacity:g} requests/s for each replica, {MIN_STEPS} are needed; measure again "
                "with fewer --users"
            )
        variability, base_ms = _least_squares(steady, 1 / capacity)
        model = cls(capacity, variability, base_ms, error=0.0)
        return replace(model, error=float(np.mean([abs(model.p99_error(step)) for step in steady])))

    def p99_error(self, step: Step) -> float:
        """Predicted over observed p99 of a step, less 1."""
        predicted = self.latency_ms(0.99, replicas=step.replicas, rps=step.offered_rps)
        return predicted / step.p99_ms - 1

    def saturation_rps(self, replicas: int) -> float:
        """Requests per second that ``replicas`` answer at most."""
        return replicas * self.capacity_rps

    def latency_ms(self, share: float, *, replicas: int, rps: float) -> float:
        """Response time that ``share`` of the requests do not exceed, milliseconds.

        Args:
            share: 0.5, 0.95 or 0.99.
            replicas: number of replicas that share the load.
            rps: requests per second, all together; infinite time from saturation on.
        """
        if rps >= self.saturation_rps(replicas):
            return float("inf")
        wait = wait_quantile(share, replicas, rps, 1 / self.capacity_rps, self.variability)
        return self.base_ms[share] + 1000 * wait


def is_steady(step: Step, capacity_rps: float) -> bool:
    """Whether the latencies of ``step`` are those of a queue that has settled."""
    return (
        step.failures == 0
        and step.p50_ms > 0
        and step.achieved_rps >= SATURATED * step.offered_rps
        and step.offered_rps < STEADY * capacity_rps * step.replicas
    )


def _least_squares(steps: Sequence[Step], service_time: float) -> tuple[float, dict[float, float]]:
    """Variability and times without a queue, by share, that make the relative errors least.

    A wait is proportional to the variability, so that the problem is linear.
    """
    rows, weights = [], []
    for column, share in enumerate(QUANTILES):
        for step in steps:
            row = [0.0] * len(QUANTILES)
            row[column] = 1.0
            wait = wait_quantile(share, step.replicas, step.offered_rps, service_time)
            rows.append([*row, 1000 * wait])
            weights.append(1 / getattr(step, f"p{share * 100:.0f}_ms"))
    equations = np.array(rows) * np.array(weights)[:, np.newaxis]
    *base, variability = np.linalg.lstsq(equations, np.ones(len(rows)))[0].tolist()
    if variability < 0:
        variability = 0.0
        base = np.linalg.lstsq(equations[:, :-1], np.ones(len(rows)))[0].tolist()
    return variability, {share: max(0.0, time) for share, time in zip(QUANTILES, base, strict=True)}
