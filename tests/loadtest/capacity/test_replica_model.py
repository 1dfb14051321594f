"""The model learnt from a curve is the queue that made the curve."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.capacity.replica_model import ReplicaModel
from loadtest.driver.curve import Step
from serve_app.errors import UserError
from tests.loadtest.driver.test_curve import step


def curve_of(model: ReplicaModel, replicas: int = 1) -> list[Step]:
    """What ``model`` shows at a tenth of its capacity, two, and so on to thirteen."""
    steps = []
    for tenths in range(1, 14):
        saturation = model.saturation_rps(replicas)
        offered = saturation * tenths / 10
        latencies = {"p50_ms": 900.0, "p95_ms": 900.0, "p99_ms": 900.0}
        if tenths < 10:
            for share in (0.5, 0.95, 0.99):
                latencies[f"p{share * 100:.0f}_ms"] = model.latency_ms(
                    share, replicas=replicas, rps=offered, pooled=True
                )
        achieved = min(offered, saturation)
        steps.append(step(offered, achieved_rps=achieved, replicas=replicas, **latencies))
    return steps


MODEL = ReplicaModel(capacity_rps=100, variability=0.6, fixed_ms=6, variable_ms=2)


@settings(max_examples=15, deadline=None)
@given(st.floats(20, 2000), st.floats(0.4, 5), st.floats(0.2, 3), st.sampled_from([1, 2, 10]))
def test_learns_what_made_the_curve(
    capacity: float, variability: float, spread: float, replicas: int
) -> None:
    """The numbers of the queue that made a curve come back from its percentiles."""
    service_ms = 1000 / capacity
    truth = ReplicaModel(capacity, variability, service_ms, spread * service_ms)
    model = ReplicaModel.fit(curve_of(truth, replicas))
    assert model.capacity_rps == pytest.approx(capacity)
    assert model.error < 0.02
    for asked in (1, 5, 20):
        for rps in (0.3 * asked * capacity, 0.8 * asked * capacity):
            predicted, true = (
                one.latency_ms(0.99, replicas=asked, rps=rps, pooled=False)
                for one in (model, truth)
            )
            assert predicted == pytest.approx(true, rel=0.05)


@given(st.integers(1, 300), st.floats(0.05, 0.95))
def test_a_queue_each_is_the_safe_side(replicas: int, utilisation: float) -> None:
    """Replicas with a queue each are never faster than behind one queue."""
    rps = utilisation * MODEL.saturation_rps(replicas)
    each, one = (
        MODEL.latency_ms(0.99, replicas=replicas, rps=rps, pooled=pooled)
        for pooled in (False, True)
    )
    assert each >= one * (1 - 1e-9)
    assert one >= MODEL.idle_ms(0.99) * (1 - 1e-9)


def simulated_p99_ms(servers: int, utilisation: float, spread: float, proxies: int) -> float:
    """p99 of a queue simulated request by request; service takes 10 ms in the mean.

    Args:
        servers: number of servers, each with its own queue.
        utilisation: share of the time for which each is busy.
        spread: share of the service time that is exponential; the rest is constant.
        proxies: each sends its requests to the server with the fewest requests of this proxy.
    """
    random = np.random.default_rng(7)
    count = 30_000
    arrivals = np.cumsum(random.exponential(10 / (servers * utilisation), count)).tolist()
    times = (10 * (1 - spread) + random.exponential(10 * spread, count)).tolist()
    senders = random.integers(proxies, size=count).tolist()
    first_looks = random.integers(servers, size=count).tolist()
    free = [0.0] * servers
    underway: list[list[list[float]]] = [[[] for _ in range(servers)] for _ in range(proxies)]
    responses = []
    for now, time, sender, first in zip(arrivals, times, senders, first_looks, strict=True):
        queues = underway[sender]
        for queue in queues:
            while queue and queue[0] <= now:
                queue.pop(0)
        chosen = min(range(servers), key=lambda n: (len(queues[n]), (n - first) % servers))
        free[chosen] = max(now, free[chosen]) + time
        queues[chosen].append(free[chosen])
        responses.append(free[chosen] - now)
    return float(np.percentile(responses, 99))


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_truth_lies_between_one_queue_and_a_queue_each(spread: float) -> None:
    """Five replicas behind one proxy, and behind five: simulated, they keep within the two bounds.

    10 % more than the bounds are allowed for the model's error, as for chance.
    """
    model = ReplicaModel(100, (1 + spread**2) / 2, 10 * (1 - spread), 10 * spread)
    for utilisation in (0.3, 0.5, 0.7, 0.85):
        best, worst = (
            model.latency_ms(0.99, replicas=5, rps=500 * utilisation, pooled=pooled)
            for pooled in (True, False)
        )
        for proxies in (1, 5):
            simulated = simulated_p99_ms(5, utilisation, spread, proxies)
            assert 0.9 * best <= simulated <= 1.1 * worst


def test_saturation_has_no_latency() -> None:
    """From saturation on, the queue grows without end."""
    assert MODEL.latency_ms(0.99, replicas=2, rps=200, pooled=True) == float("inf")
    assert MODEL.latency_ms(0.99, replicas=2, rps=199, pooled=True) < float("inf")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (curve_of(MODEL)[:9], "never saturates: 90 requests/s were all answered"),
        (curve_of(MODEL)[8:], "only 1 steps .* with fewer --users"),
        ([step(10, achieved_rps=0)], "no request was answered"),
    ],
)
def test_refuses_a_curve_that_says_too_little(steps: Sequence[Step], message: str) -> None:
    """Without saturation there is no capacity, without calm steps no latency."""
    with pytest.raises(UserError, match=message):
        ReplicaModel.fit(steps)
