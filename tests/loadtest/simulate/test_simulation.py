"""A simulated day does what Ray Serve's own code does, and loses no request."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray.serve.autoscaling_policy
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.serve._private import autoscaling_state
from ray.serve._private.common import DeploymentID, ReplicaID, ReplicaMetricReport
from ray.serve._private.config import DeploymentConfig
from ray.serve._private.deployment_info import DeploymentInfo
from ray.serve._private.metrics_utils import InMemoryMetricsStore
from ray.serve.config import AutoscalingConfig

from loadtest.simulate.simulation import ReplicaSpec, Simulation, simulate, starting_with
from loadtest.simulate.traffic import Traffic
from serve_app.autoscaling import CPU_UTILISATION, Targets
from serve_app.errors import UserError
from serve_app.serve_config import POLICY, Scaling

QUICK = {
    "min_replicas": 1,
    "max_replicas": 20,
    "target_ongoing_requests": 10,
    "metrics_interval_s": 1,
    "look_back_period_s": 5,
    "upscale_delay_s": 7,
    "downscale_delay_s": 60,
}
EPOCH = 1_000_000.0


def config(**options: Any) -> AutoscalingConfig:
    return Scaling(replica_cpus=1, queue_limit=300, options=QUICK | options).autoscaling


def constant(rps: float, seconds: float = 600) -> Traffic:
    return Traffic(np.array([0.0, seconds]), np.array([rps, rps]))


def run(traffic: Traffic, scaling: AutoscalingConfig, **replicas: float) -> Simulation:
    spec = {"capacity_rps": 100.0, "start_seconds": 15.0, "queue_limit": 300.0, "queue_seen": 0.0}
    return simulate(traffic, scaling, Targets(), ReplicaSpec(**(spec | replicas)))


class RayReplica:
    """Records and reports as a Serve replica does, with Ray's own metrics store."""

    def __init__(self, number: int, ready_at: float, scaling: AutoscalingConfig) -> None:
        self.id = ReplicaID(f"replica{number}", DeploymentID("Classifier", "classifier"))
        self.ready_at = ready_at
        self._store = InMemoryMetricsStore()
        self._look_back = scaling.look_back_period_s
        self._interval = scaling.metrics_interval_s
        self._record = min(scaling.look_back_period_s * 0.2, scaling.metrics_interval_s)
        self._since_point: list[float] = []

    def report(self, now: float, utilisation: float) -> ReplicaMetricReport | None:
        self._since_point.append(utilisation)
        age = now - self.ready_at
        report = None
        if _is_multiple(age, self._interval):
            self._store.prune_keys_and_compact_data(EPOCH + now - self._look_back)
            sent = {name: list(points) for name, points in self._store.data.items()}
            report = ReplicaMetricReport(self.id, sent, EPOCH + now)
        if _is_multiple(age, self._record):
            mean = sum(self._since_point) / len(self._since_point)
            self._store.add_metrics_point({CPU_UTILISATION: mean}, EPOCH + now)
            self._since_point = []
        return report


def _is_multiple(value: float, of: float) -> bool:
    return abs(value / of - round(value / of)) < 1e-6


def targets_decided_by_ray(
    monkeypatch: pytest.MonkeyPatch,
    traffic: Traffic,
    options: dict[str, Any],
    *,
    step: float,
    start_seconds: float,
) -> list[int]:
    """Drive Ray's own autoscaling state with the traffic, on a clock of this test."""
    clock = SimpleNamespace(now=EPOCH)
    fake = SimpleNamespace(time=lambda: clock.now, monotonic=lambda: clock.now)
    monkeypatch.setattr(autoscaling_state, "time", fake)
    monkeypatch.setattr(ray.serve.autoscaling_policy, "time", fake)
    scaling = config(**options, policy={"policy_function": POLICY})
    scaling.policy.serialize_policy()
    state = autoscaling_state.DeploymentAutoscalingState(DeploymentID("Classifier", "classifier"))
    info = DeploymentInfo(DeploymentConfig(autoscaling_config=scaling), None, 0, "job")
    target = state.register(info, scaling.min_replicas)
    replicas = [RayReplica(n, 0.0, scaling) for n in range(target)]
    decided = []
    for number, rate in enumerate(traffic.sampled(step)):
        now = (number + 1) * step
        clock.now = EPOCH + now
        running = [r for r in replicas if r.ready_at <= number * step]
        state.update_running_replica_ids([r.id for r in running])
        for replica in running:
            report = replica.report(now, min(1.0, rate / (100.0 * len(running))))
            if report is not None:
                state.record_request_metrics_for_replica(report)
        target = state.get_decision_num_replicas(target)
        replicas += [
            RayReplica(1000 * number + n, now + start_seconds, scaling)
            for n in range(target - len(replicas))
        ]
        del replicas[target:]
        decided.append(target)
    return decided


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"look_back_period_s": 30, "metrics_interval_s": 10, "upscale_delay_s": 30},
        {"look_back_period_s": 10, "metrics_interval_s": 3, "downscale_delay_s": 5},
        {"upscaling_factor": 0.5, "downscaling_factor": 0.3, "upscale_delay_s": 0},
        {"min_replicas": 2, "max_replicas": 4},
    ],
)
def test_decides_what_ray_decides(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    """Step by step, the target is the one that Ray's controller code reaches with our policy."""
    traffic = Traffic(
        np.array([0.0, 60, 61, 200, 260, 261, 500]),
        np.array([30.0, 45, 400, 720, 720, 55, 10]),
    )
    expected = targets_decided_by_ray(monkeypatch, traffic, options, step=0.5, start_seconds=12.0)
    simulated = simulate(
        traffic,
        config(**options),
        Targets(ongoing_requests=10),
        ReplicaSpec(100.0, start_seconds=12.0, queue_limit=0, queue_seen=0),
        step_seconds=0.5,
    )
    assert simulated.target.tolist() == expected
    assert len(set(expected)) > 1


@settings(max_examples=30, deadline=None)
@given(
    rates=st.lists(st.floats(0, 3000), min_size=2, max_size=6).filter(any),
    queue_limit=st.floats(0, 500),
    queue_seen=st.floats(0, 1),
    start_seconds=st.floats(0, 60),
)
def test_no_request_is_lost(
    rates: list[float], queue_limit: float, queue_seen: float, start_seconds: float
) -> None:
    """Every request is served, refused or waiting; capacity, bounds and shares hold."""
    traffic = Traffic(np.arange(0, 60.0 * len(rates), 60), np.array(rates))
    happened = run(
        traffic,
        config(),
        queue_limit=queue_limit,
        queue_seen=queue_seen,
        start_seconds=start_seconds,
    )
    offered, served = happened.offered_rps.sum(), happened.served_rps.sum()
    assert offered == pytest.approx(served + happened.refused_rps.sum() + happened.waiting[-1])
    assert (happened.served_rps <= happened.capacity_rps * (1 + 1e-9)).all()
    assert (happened.waiting <= happened.running * queue_limit + 1e-6).all()
    assert ((happened.target >= 1) & (happened.target <= 20)).all()
    assert (happened.running <= 20).all()
    assert ((happened.utilisation >= 0) & (happened.utilisation <= 1 + 1e-9)).all()
    assert 0 <= happened.share_refused <= happened.share_above_saturation + 1e-9 <= 1 + 1e-9


@settings(max_examples=30, deadline=None)
@given(st.floats(1, 1100))
def test_constant_load_comes_to_rest(rps: float) -> None:
    """At any level, the number of replicas settles near the target and stays."""
    happened = run(constant(rps), config())
    assert len(set(happened.target[-300:])) == 1
    replicas, needed = happened.target[-1], rps / 60
    assert needed * 0.9 - 1e-6 <= replicas <= max(1, np.ceil(needed * 1.12))


def test_scales_up_after_the_delay_and_serves_after_the_start() -> None:
    """From a jump at 100 s: reports, 7 s of delay, then 15 s until the replicas answer."""
    traffic = Traffic(np.array([0.0, 100, 100.001, 400]), np.array([50.0, 50, 95, 95]))
    happened = run(traffic, config(), start_seconds=15.0)
    wanted = int(np.argmax(happened.target > 1))
    running = int(np.argmax(happened.running > 1))
    assert 107 <= wanted <= 107 + 5 + 2
    assert running == wanted + 16


def test_scales_down_only_after_the_delay() -> None:
    """A pause shorter than downscale_delay_s costs no replica; a longer one does."""
    for pause, scaled_down in ((50.0, False), (80.0, True)):
        moments = np.array([0.0, 300, 301, 300 + pause, 301 + pause, 600])
        happened = run(Traffic(moments, np.array([300.0, 300, 30, 30, 300, 300])), config())
        assert bool(happened.target[290:500].min() < happened.target[290]) is scaled_down


def test_a_slower_start_hurts() -> None:
    """The longer a replica takes to start, the more requests come above saturation."""
    spike = Traffic(np.array([0.0, 60, 61, 300]), np.array([50.0, 50, 900, 900]))
    shares = [
        run(spike, config(), start_seconds=seconds).share_above_saturation
        for seconds in (0.0, 15.0, 60.0)
    ]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[2]


def test_bounds_hold() -> None:
    """Ten times what max_replicas can answer: the rest waits, then is refused."""
    happened = run(constant(20_000), config(max_replicas=20))
    assert happened.target.max() == 20
    assert happened.refused_rps[-1] == pytest.approx(18_000)


def test_replica_hours_count_starting_replicas() -> None:
    """What is paid for begins with the decision, not with the first answer."""
    happened = run(constant(50), config())
    assert happened.replica_hours == pytest.approx(600 / 3600)


def test_refuses_scaling_to_zero() -> None:
    """What happens without any replica is not modelled, and not guessed."""
    with pytest.raises(UserError, match="min_replicas is 0"):
        run(constant(50), config(min_replicas=0))


@pytest.mark.parametrize(("first_rps", "replicas"), [(0, 1), (61, 2), (600, 10), (99_999, 20)])
def test_the_first_moment_sets_the_initial_replicas(first_rps: float, replicas: int) -> None:
    """As many as the CPU target needs, within the bounds."""
    scaling = starting_with(Scaling(1, 300, QUICK), first_rps, capacity_rps=100)
    assert scaling.autoscaling.initial_replicas == replicas
