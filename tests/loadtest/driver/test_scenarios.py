"""Scenarios: which stage is on, and how many users it has."""

import random
import statistics
from types import SimpleNamespace

import pytest

from loadtest.driver import scenarios
from loadtest.driver.scenarios import SCENARIOS, Scenario, Stage, poisson_waits

THREE = Scenario("three stages", 100, (Stage(10, 0.1), Stage(20, 1), Stage(10, 0.004)))


@pytest.mark.parametrize(
    ("elapsed", "stage"), [(0, 0), (9.9, 0), (10, 1), (29.9, 1), (30, 2), (39.9, 2), (40, None)]
)
def test_stages_follow_each_other(elapsed: float, stage: int | None) -> None:
    """A stage ends where the next begins; the last one ends the scenario."""
    assert THREE.stage_at(elapsed, THREE.seconds) == stage


def test_a_stretched_scenario_keeps_its_shape() -> None:
    """--run-time changes the length of all stages alike."""
    assert THREE.stage_at(99, 400) == 0
    assert THREE.stage_at(299, 400) == 1
    assert THREE.stage_at(400, 400) is None


def test_a_stage_has_at_least_one_user() -> None:
    """A small share of few users must not turn the load off."""
    assert [THREE.users_in(stage, 100) for stage in range(3)] == [10, 100, 1]
    assert THREE.users_in(0, 3) == 1


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_scenarios_reach_their_peak(scenario: Scenario) -> None:
    """What --users says is what the busiest stage has."""
    assert max(stage.share for stage in scenario.stages) == 1
    assert all(0 < stage.share <= 1 and stage.seconds > 0 for stage in scenario.stages)


def send_times(rate: float, count: int, *, answer_seconds: float = 0.0) -> list[float]:
    """Moments at which one open-loop user sends its requests."""
    clock = SimpleNamespace(now=0.0)
    waits = poisson_waits(rate)
    moments = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenarios, "time", SimpleNamespace(monotonic=lambda: clock.now))
        for _ in range(count):
            clock.now += next(waits)
            moments.append(clock.now)
            clock.now += answer_seconds
    return moments


def test_open_loop_users_keep_their_rate_when_answers_are_slow() -> None:
    """2000 requests at 2 a second take 1000 s, with answers in no time or in 0.3 s."""
    random.seed(0)
    for answer_seconds in (0.0, 0.3):
        assert send_times(2, 2000, answer_seconds=answer_seconds)[-1] == pytest.approx(1000, 0.1)


def test_users_started_together_do_not_send_together() -> None:
    """The number of requests of many users varies from second to second as a Poisson process's."""
    random.seed(0)
    moments = [moment for _ in range(50) for moment in send_times(1, 100)]
    seconds = [sum(second <= moment < second + 1 for moment in moments) for second in range(5, 60)]
    assert statistics.mean(seconds) == pytest.approx(50, 0.1)
    assert statistics.variance(seconds) == pytest.approx(50, 0.6)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_can_be_as_long_as_its_peak_needs(name: str) -> None:
    """Stretched, so that the longest stage of all users lasts so long; never made shorter."""
    scenario = SCENARIOS[name]
    peak = max(stage.seconds for stage in scenario.stages if stage.share == 1)
    assert scenario.seconds_with_peak(0) == scenario.seconds
    stretched = scenario.seconds_with_peak(3 * peak)
    assert stretched == pytest.approx(3 * scenario.seconds)
