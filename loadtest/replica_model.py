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
VARIABILITIES = np.linspace(0, 8, 801)


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
            CurveError: no step saturates, or too few steps lie below saturation.
        """
        if not any(step.achieved_rps < SATURATED * step.offered_rps for step in steps):
            highest = max(step.offered_rps for step in steps)
            raise CurveError(
                f"the curve never saturates: {highest:g} requests/s were all answered; measure "
                "again with more --users"
            )
        capacity = max(step.achieved_rps / step.replicas for step in steps)
        steady = [step for step in steps if is_steady(step, capacity)]
        if len(steady) < MIN_STEPS:
            raise CurveError(
                f"only {len(steady)} steps without failures lie below the saturation at "
                f"{capacity:g} requests/s for each replica, {MIN_STEPS} are needed; measure again "
                "with fewer --users"
            )
        fits = [_fit_base(steady, capacity, variability) for variability in VARIABILITIES]
        best = min(range(len(fits)), key=lambda position: fits[position][1])
        model = cls(capacity, float(VARIABILITIES[best]), fits[best][0], 0.0)
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


def _fit_base(
    steps: Sequence[Step], capacity: float, variability: float
) -> tuple[dict[float, float], float]:
    """Least squares of the relative errors; linear, once the wait is known.

    Returns:
        Time without queue by share of the requests, and the sum of the squared errors.
    """
    base, total = {}, 0.0
    for share in QUANTILES:
        measured = np.array([getattr(step, f"p{share * 100:.0f}_ms") for step in steps])
        waits = 1000 * np.array(
            [
                wait_quantile(share, step.replicas, step.offered_rps, 1 / capacity, variability)
                for step in steps
            ]
        )
        weights = 1 / measured
        fitted = max(0.0, float((weights * (1 - waits * weights)).sum() / (weights**2).sum()))
        base[share] = fitted
        total += float((((fitted + waits) * weights - 1) ** 2).sum())
    return base, total
