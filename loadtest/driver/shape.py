"""The load test's number of users over time, and the curve of what each step of it showed."""

from pathlib import Path

from locust import LoadTestShape

from loadtest.driver.curve import Count, Step, write_curve
from loadtest.driver.options import chosen_scenario
from loadtest.driver.scenarios import Scenario


class ScenarioShape(LoadTestShape):  # type: ignore[misc]
    """Number of users over time."""

    use_common_options = True

    def reset_time(self) -> None:
        """Start from the beginning; Locust calls this."""
        super().reset_time()
        self._stage = 0
        self._before = Count(0.0, 0, 0)
        self._steps: list[Step] = []

    def tick(self) -> tuple[int, float] | None:
        """Users and users started or stopped per second; None ends the test."""
        options = self.runner.environment.parsed_options
        scenario = chosen_scenario(options)
        seconds = float(options.run_time or scenario.seconds)
        stage = scenario.stage_at(self.get_run_time(), seconds)
        if stage != self._stage:
            if options.curve and scenario.open_loop:
                self._record_step(scenario, seconds)
            self._stage = stage if stage is not None else len(scenario.stages)
        if stage is None:
            options.run_time = None  # Locust would wait for it once more
            return None
        return scenario.users_in(stage, options.num_users), options.spawn_rate

    def _record_step(self, scenario: Scenario, seconds: float) -> None:
        """Keep what the stage that has just ended showed; latencies of its last ten seconds."""
        environment = self.runner.environment
        options, total = environment.parsed_options, environment.stats.total
        now = Count(self.get_run_time(), total.num_requests, total.num_failures)
        p50, p95, p99 = (
            total.get_current_response_time_percentile(share) or 0.0 for share in (0.5, 0.95, 0.99)
        )
        users = scenario.users_in(self._stage, options.num_users)
        step = Step(
            replicas=options.curve_replicas,
            seconds=scenario.stages[self._stage].seconds / scenario.seconds * seconds,
            offered_rps=users * options.user_rate,
            achieved_rps=self._before.right_answers_per_second(now),
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            failures=now.failures - self._before.failures,
        )
        self._before = now
        self._steps.append(step)
        write_curve(Path(options.curve), self._steps)
