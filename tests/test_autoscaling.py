"""The autoscaling policy: worked examples, missing metrics, and that it comes to rest."""

import math
import random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ray.serve.config import AutoscalingConfig

from loadtest.simulate.autoscaler import Group, Reports, Scaler
from serve_app.autoscaling import (
    CPU_UTILISATION,
    CpuAndRequestsPolicy,
    CpuMeter,
    Observation,
    Targets,
    desired_replicas,
    observe,
)
from serve_app.serve_config import ServeConfig
from tests.support.service import CONFIG

TARGETS = Targets(cpu_utilisation=0.6, ongoing_requests=10)


def seen(
    target: int,
    utilisation: float,
    *,
    running: int | None = None,
    reporting: int | None = None,
    ongoing: float = 0.0,
) -> Observation:
    running = target if running is None else running
    return Observation(
        target=target,
        running=running,
        reporting=running if reporting is None else reporting,
        utilisation=utilisation,
        ongoing_requests=ongoing,
    )


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        # So many replicas as are loaded to 60 % by what all of them use now, rounded up.
        pytest.param(seen(1, 1.0), 2, id="saturated"),
        pytest.param(seen(2, 0.9), 3, id="above target"),
        pytest.param(seen(4, 0.3), 2, id="half of target"),
        pytest.param(seen(5, 0.25), 3, id="rounded up"),
        pytest.param(seen(3, 0.2), 1, id="exactly one left"),
        pytest.param(seen(4, 0.0), 0, id="idle: the bounds keep the minimum"),
        pytest.param(seen(1, 0.01), 1, id="almost idle"),
        # Within 10 % of the target nothing happens.
        pytest.param(seen(3, 0.66), 3, id="upper edge of tolerance"),
        pytest.param(seen(10, 0.54), 10, id="lower edge of tolerance"),
        pytest.param(seen(3, 0.67), 4, id="just above tolerance"),
        # The larger of the two answers counts.
        pytest.param(seen(2, 0.1, ongoing=35), 4, id="requests pile up"),
        pytest.param(seen(2, 0.9, ongoing=1), 3, id="CPU is the bottleneck"),
        pytest.param(seen(2, 0.1, ongoing=21), 2, id="requests within tolerance"),
        # Replicas that are starting count as idle before there are more of them...
        pytest.param(seen(4, 1.0, running=1), 4, id="the others are on their way"),
        pytest.param(seen(3, 1.0, running=2), 4, id="more than those on their way"),
        # ...and do not count when there are too many already.
        pytest.param(seen(4, 0.15, running=2), 1, id="starting, but not needed"),
        # A replica without a report counts as busy before there are fewer...
        pytest.param(seen(4, 0.2, reporting=3), 3, id="down, one unknown"),
        pytest.param(seen(2, 0.3, reporting=1), 2, id="down only if the unknown one is idle"),
        # ...and as idle before there are more.
        pytest.param(seen(3, 1.0, reporting=2), 4, id="up, one unknown"),
        pytest.param(seen(2, 0.9, reporting=1), 2, id="up only if the unknown one is busy"),
        # No report at all: requests may ask for more, and nothing may ask for less.
        pytest.param(seen(3, 0.0, reporting=0), 3, id="nothing known"),
        pytest.param(seen(3, 0.0, reporting=0, ongoing=60), 6, id="nothing known but requests"),
        pytest.param(seen(2, 0.0, running=0), 2, id="all starting"),
        pytest.param(seen(0, 0.0, ongoing=5), 1, id="from zero"),
    ],
)
def test_worked_examples(observation: Observation, expected: int) -> None:
    """The HPA's algorithm, by hand."""
    assert desired_replicas(observation, TARGETS) == expected


def test_a_target_above_all_that_was_asked_for() -> None:
    """Then a missing replica counts as at its target: (3 * 100 % + 200 %) / 200 % = 2.5."""
    assert desired_replicas(seen(4, 1.0, reporting=3), Targets(cpu_utilisation=2.0)) == 3


@given(
    target=st.integers(0, 50),
    running=st.integers(0, 50),
    reporting=st.integers(0, 50),
    utilisation=st.floats(0, 4),
    ongoing=st.floats(0, 1e6),
)
def test_unknown_replicas_never_decide(
    target: int, running: int, reporting: int, utilisation: float, ongoing: float
) -> None:
    """Missing reports make a change smaller or none; they never turn or enlarge it."""
    running = min(running, target)
    reporting = min(reporting, running)
    partly = desired_replicas(
        Observation(target, running, reporting, utilisation, ongoing), TARGETS
    )
    fully = desired_replicas(Observation(target, running, running, utilisation, ongoing), TARGETS)
    assert min(target, fully) <= partly <= max(target, fully)


@pytest.mark.parametrize(
    "options",
    [
        {"cpu_utilisation": 0},
        {"cpu_utilisation": -0.5},
        {"cpu_utilisation": math.nan},
        {"ongoing_requests": 0},
        {"ongoing_requests": math.inf},
        {"tolerance": -0.1},
        {"tolerance": 1},
    ],
)
def test_impossible_targets_are_refused(options: dict[str, float]) -> None:
    """A target that no number of replicas can meet fails when it is set, not in production."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Targets(**options)


NOW = 1000.0


def context(
    reports: dict[str, tuple[float, float]],
    *,
    running: tuple[str, ...] = ("a", "b"),
    target: int | None = None,
    ongoing: float = 0.0,
) -> Any:
    """What Serve hands to a policy; reports are replica -> (utilisation, age in seconds)."""
    return SimpleNamespace(
        config=AutoscalingConfig(
            min_replicas=1, max_replicas=5, target_ongoing_requests=10, look_back_period_s=30
        ),
        current_time=NOW,
        running_replicas=list(running),
        current_num_replicas=len(running),
        target_num_replicas=len(running) if target is None else target,
        total_num_requests=ongoing,
        aggregated_metrics={CPU_UTILISATION: {name: value for name, (value, _) in reports.items()}},
        raw_metrics={
            CPU_UTILISATION: {
                name: [SimpleNamespace(timestamp=NOW - age, value=value)]
                for name, (value, age) in reports.items()
            }
        },
    )


def test_stale_reports_are_missing_ones() -> None:
    """The last report of a replica that fell silent does not count."""
    fresh = observe(context({"a": (0.9, 1), "b": (0.9, 2)}))
    assert (fresh.reporting, fresh.utilisation) == (2, 0.9)
    stale = observe(context({"a": (0.9, 1), "b": (0.1, 31)}))
    assert (stale.running, stale.reporting, stale.utilisation) == (2, 1, 0.9)


def test_drained_replicas_do_not_count() -> None:
    """The last report of a replica that is stopping says nothing about the others."""
    observation = observe(context({"a": (0.6, 1), "gone": (0.0, 1)}, running=("a",)))
    assert (observation.running, observation.reporting) == (1, 1)
    assert observation.utilisation == 0.6


def test_values_that_are_no_numbers_are_missing() -> None:
    """NaN from one replica must not poison the mean."""
    observation = observe(context({"a": (0.6, 1), "b": (math.nan, 1)}))
    assert (observation.reporting, observation.utilisation) == (1, 0.6)


def test_no_metrics_at_all() -> None:
    """Before the first report only requests count."""
    empty = context({})
    empty.aggregated_metrics = empty.raw_metrics = None
    assert CpuAndRequestsPolicy()(empty) == (2, {})


def test_policy_takes_both_targets_from_the_config() -> None:
    """cpu_target is the policy's own argument; target_ongoing_requests is Serve's."""
    busy = context({"a": (0.5, 1), "b": (0.5, 1)}, ongoing=25)
    assert CpuAndRequestsPolicy(cpu_target=0.2)(busy) == (5, {})
    assert CpuAndRequestsPolicy(cpu_target=0.9)(busy) == (3, {})
    with pytest.raises(ValueError, match="cpu_utilisation"):
        CpuAndRequestsPolicy(cpu_target=0)


def test_cpu_meter_measures_against_what_was_asked_for() -> None:
    """Half a core used by a replica that asked for half a core is a utilisation of 1."""
    cpu, wall = iter([1.0, 2.0, 2.0, 2.5]), iter([10.0, 14.0, 14.0, 15.0])
    meter = CpuMeter(0.5, cpu_seconds=lambda: next(cpu), wall_seconds=lambda: next(wall))
    assert meter.read() == 0.5
    assert meter.read() == 0.5, "no time has passed: the last value again"
    assert meter.read() == 1.0


def test_cpu_meter_of_this_process() -> None:
    """With the real clocks, a busy process has used CPU time."""
    meter = CpuMeter()
    sum(range(10**6))
    assert meter.read() > 0


SCALING = ServeConfig.read(CONFIG).scaling
STEP_SECONDS = 0.5
SERVICE_SECONDS = 0.005


def targets_over_time(
    demand: float, start_seconds: float, noise: float, seed: int, *, seconds: float = 600
) -> list[int]:
    """The target at each step under a constant load, with the delays of serve_config.yaml.

    Args:
        demand: replicas that the load keeps busy.
        start_seconds: from the decision for a replica to its first request.
        noise: largest relative error of a measured utilisation.
        seed: of the noise.
        seconds: length of the simulation.
    """
    generator = random.Random(seed)  # noqa: S311
    config = SCALING.autoscaling
    scaler, reports = Scaler(config, SCALING.targets), Reports(config, STEP_SECONDS)
    groups = [Group(0.0, scaler.target)]
    starting: list[float] = []
    backlog = 0.0
    history = []
    for step in range(1, int(seconds / STEP_SECONDS)):
        now = step * STEP_SECONDS
        groups += [Group(now, 1) for ready_at in starting if ready_at <= now]
        starting = [ready_at for ready_at in starting if ready_at > now]
        running = len(groups)
        work = backlog + demand * STEP_SECONDS
        done = min(work, running * STEP_SECONDS)
        backlog = min(work - done, SCALING.queue_limit * running * SERVICE_SECONDS)
        utilisation = done / (running * STEP_SECONDS) * (1 + generator.uniform(-noise, noise))
        reports.add(utilisation, backlog / SERVICE_SECONDS / running)
        scaler.decide(now, reports.observe(now, groups, scaler.target))
        history.append(scaler.target)
        missing = scaler.target - running - len(starting)
        starting += [now + start_seconds] * missing
        if missing < 0:
            starting, groups = starting[:missing], groups[: scaler.target]
    return history


@settings(max_examples=60, deadline=None)
@given(
    demand=st.floats(0, 6),
    start_seconds=st.floats(0.5, 40),
    noise=st.floats(0, 0.05),
    seed=st.integers(0, 100),
)
@example(demand=0.6, start_seconds=5, noise=0.05, seed=0)
@example(demand=1.2, start_seconds=5, noise=0.05, seed=0)
@example(demand=2.4, start_seconds=20, noise=0.05, seed=1)
def test_constant_load_comes_to_rest(
    demand: float, start_seconds: float, noise: float, seed: int
) -> None:
    """Under any constant load the number of replicas settles, stays, and is the right one."""
    history = targets_over_time(demand, start_seconds, noise, seed)
    config, targets = SCALING.autoscaling, SCALING.targets
    settled = history[len(history) // 2 :]
    assert len(set(settled)) == 1, f"the target went {sorted(set(settled))}"
    replicas = settled[0]
    slack = targets.tolerance + noise
    assert replicas == config.max_replicas or demand / replicas <= targets.cpu_utilisation * (
        1 + slack
    ), "too few"
    assert replicas == 1 or demand / (replicas - 1) >= targets.cpu_utilisation * (1 - slack), (
        "too many"
    )


def test_a_scale_up_causes_no_other() -> None:
    """What was measured before a scale-up is forgotten before the next decision."""
    config = SCALING.autoscaling
    assert config.upscale_delay_s >= config.look_back_period_s + config.metrics_interval_s
    for demand in (0.7, 0.9, 1.0):
        assert set(targets_over_time(demand, 5, 0, 0)) == {1, 2}


def test_config_names_this_policy() -> None:
    """serve_config.yaml scales 1 to 5 replicas at 60 % CPU with the policy of this project."""
    config = SCALING.autoscaling
    assert (config.min_replicas, config.max_replicas) == (1, 5)
    assert SCALING.targets.cpu_utilisation == 0.6
