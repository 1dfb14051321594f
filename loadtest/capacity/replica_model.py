"""What one replica can do, learnt from a saturation curve, and what any number of them can do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from loadtest.capacity.queueing import erlang_c, mean_wait, response_quantile
from loadtest.driver.curve import Step
from serve_app.errors import UserError

SATURATED = 0.9
"""A step is saturated if it answers less than this share of what was offered; a tenth less may be
chance, for the few requests of a slow step."""

STEADY = 0.95
"""Latencies are only learnt, and predicted, below this utilisation: a queue near saturation takes
longer to settle than a step lasts."""

MIN_STEPS = 3
QUANTILES = (0.5, 0.95, 0.99)
FIRST_GUESSES = ((0.9, 0.1, 0.5), (0.5, 0.5, 1.0), (0.1, 1.0, 2.0))
"""Fixed and variable time over the fastest p50, and variability; the best of three is taken."""


@dataclass(frozen=True)
class ReplicaModel:
    """Response time = fixed time + exponential time + wait in G/G/c; see `queueing`.

    The service time comes from the utilisation law (Denning and Buzen 1978), U = X D: at saturation
    U is 1, so that the service demand D is the inverse of the highest throughput X. The other
    numbers are those that fit the curve's percentiles best.
    """

    capacity_rps: float
    """Requests per second that keep one replica fully busy."""
    variability: float
    """See `queueing.mean_wait`."""
    fixed_ms: float
    """Part of the response time without a wait that never changes, milliseconds."""
    variable_ms: float
    """Mean of the part that does."""
    error: float = 0.0
    """Mean relative error of the fitted p99 over the steps below saturation."""

    @classmethod
    def fit(cls, steps: Sequence[Step]) -> "ReplicaModel":
        """Learn from a saturation curve, measured through one proxy.

        Raises:
            UserError: nothing was answered, no step saturates, or too few lie below saturation.
        """
        if not any(step.achieved_rps < SATURATED * step.offered_rps for step in steps):
            highest = max(step.offered_rps for step in steps)
            raise UserError(
                f"the curve never saturates: {highest:g} requests/s were all answered; measure "
                "again with more --users"
            )
        capacity = max(step.achieved_rps / step.replicas for step in steps)
        if capacity <= 0:
            raise UserError("no request was answered in any step; is the service running?")
        steady = [step for step in steps if is_steady(step, capacity)]
        if len(steady) < MIN_STEPS:
            raise UserError(
                f"only {len(steady)} steps without failures lie below the saturation at "
                f"{capacity:g} requests/s for each replica, {MIN_STEPS} are needed; measure again "
                "with fewer --users"
            )
        model = _best_fit(steady, capacity)
        errors = [model.predict(0.99, step) / step.p99_ms - 1 for step in steady]
        return replace(model, error=float(np.mean(np.abs(errors))))

    def predict(self, share: float, step: Step) -> float:
        """`latency_ms` in the conditions of a step that was measured through one proxy."""
        return self.latency_ms(share, replicas=step.replicas, rps=step.offered_rps, pooled=True)

    def saturation_rps(self, replicas: int) -> float:
        """Requests per second that ``replicas`` answer at most."""
        return replicas * self.capacity_rps

    def idle_ms(self, share: float) -> float:
        """Response time without any wait that ``share`` of the requests do not exceed."""
        return response_quantile(share, fixed=self.fixed_ms, variable=self.variable_ms)

    def latency_ms(self, share: float, *, replicas: int, rps: float, pooled: bool) -> float:
        """Response time that ``share`` of the requests do not exceed, milliseconds.

        Args:
            share: such as 0.99.
            replicas: number of replicas that share the load.
            rps: requests per second, all together; infinite time from saturation on.
            pooled: whether a request waits only while all replicas are busy, as behind one proxy
                that sees them all; if not, each replica has its own queue and even share.
        """
        if rps >= self.saturation_rps(replicas):
            return float("inf")
        servers, rate = (replicas, rps) if pooled else (1, rps / replicas)
        service_ms = 1000 / self.capacity_rps
        waits = erlang_c(servers, rate / self.capacity_rps)
        wait = mean_wait(servers, rate / 1000, service_ms, self.variability)
        return response_quantile(
            share,
            fixed=self.fixed_ms,
            variable=self.variable_ms,
            waits=waits,
            mean_of_waiting=wait / waits if waits > 0 else 0.0,
        )


def is_steady(step: Step, capacity_rps: float) -> bool:
    """Whether the latencies of ``step`` are those of a queue that has settled."""
    return (
        step.failures == 0
        and step.p50_ms > 0
        and step.achieved_rps >= SATURATED * step.offered_rps
        and step.offered_rps < STEADY * capacity_rps * step.replicas
    )


def _best_fit(steps: Sequence[Step], capacity_rps: float) -> ReplicaModel:
    """The model with the least squared errors of the logarithms of all percentiles."""
    observed = np.array(
        [getattr(step, f"p{share * 100:.0f}_ms") for step in steps for share in QUANTILES]
    )

    def model_of(logarithms: Sequence[float]) -> ReplicaModel:
        fixed, variable, variability = np.exp(logarithms).tolist()
        return ReplicaModel(capacity_rps, variability, fixed, variable)

    def errors(logarithms: Sequence[float]) -> NDArray[np.float64]:
        model = model_of(logarithms)
        predicted = [model.predict(share, step) for step in steps for share in QUANTILES]
        return np.asarray(np.log(np.array(predicted) / observed), dtype=np.float64)

    fastest = min(step.p50_ms for step in steps)
    scale = np.array([fastest, fastest, 1.0])
    fits = [
        least_squares(errors, np.log(scale * guess), bounds=(-12, 12)) for guess in FIRST_GUESSES
    ]
    return model_of(min(fits, key=lambda fit: float(fit.cost)).x)
