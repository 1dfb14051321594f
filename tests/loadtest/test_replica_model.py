"""The model learnt from a curve is the queue that made the curve."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.curve import CurveError, Step
from loadtest.queueing import wait_quantile
from loadtest.replica_model import ReplicaModel
from tests.loadtest.test_curve import step

BASE_MS = {0.5: 6.0, 0.95: 9.0, 0.99: 12.0}


def curve_of(capacity: float, variability: float, replicas: int = 1) -> list[Step]:
    """What a G/G/c queue would show at a tenth of its capacity, two, ... thirteen."""
    steps = []
    for tenths in range(1, 14):
        offered = capacity * replicas * tenths / 10
        latencies = {"p50_ms": 900.0, "p95_ms": 900.0, "p99_ms": 900.0}
        if tenths < 10:
            for share, base in BASE_MS.items():
                wait = wait_quantile(share, replicas, offered, 1 / capacity, variability)
                latencies[f"p{share * 100:.0f}_ms"] = base + 1000 * wait
        achieved = min(offered, capacity * replicas)
        steps.append(step(offered, achieved_rps=achieved, replicas=replicas, **latencies))
    return steps


@settings(max_examples=25)
@given(st.floats(20, 5000), st.floats(0.05, 7.5), st.sampled_from([1, 2, 10]))
def test_learns_what_made_the_curve(capacity: float, variability: float, replicas: int) -> None:
    """Capacity, variability and times without a queue come back from the percentiles."""
    model = ReplicaModel.fit(curve_of(capacity, variability, replicas))
    assert model.capacity_rps == pytest.approx(capacity)
    assert model.variability == pytest.approx(variability)
    assert model.base_ms == pytest.approx(BASE_MS)
    assert model.error < 1e-6


def test_predicts_more_replicas() -> None:
    """Learnt from one replica, it predicts the percentiles of five."""
    model = ReplicaModel.fit(curve_of(100, 0.6))
    for observed in curve_of(100, 0.6, replicas=5)[:9]:
        assert model.p99_error(observed) == pytest.approx(0, abs=1e-9)
    assert model.saturation_rps(5) == 500


def test_saturation_has_no_latency() -> None:
    """From saturation on, the queue grows without end."""
    model = ReplicaModel.fit(curve_of(100, 0.6))
    assert model.latency_ms(0.99, replicas=2, rps=200) == float("inf")
    assert model.latency_ms(0.99, replicas=2, rps=199) < float("inf")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (curve_of(100, 0.6)[:9], "never saturates: 90 requests/s were all answered"),
        (curve_of(100, 0.6)[8:], "only 1 steps .* with fewer --users"),
        ([step(10, achieved_rps=0)], "no request was answered"),
    ],
)
def test_refuses_a_curve_that_says_too_little(steps: Sequence[Step], message: str) -> None:
    """Without saturation there is no capacity, without calm steps no latency."""
    with pytest.raises(CurveError, match=message):
        ReplicaModel.fit(steps)
