"""The load test, for every way to run Locust: web UI, ``--headless``, ``--processes N``.

    locust -f loadtest/locustfile.py --host http://localhost:8000 --headless --scenario spike

``--users``, ``--spawn-rate`` and ``--run-time`` are Locust's; unless they are given, the scenario
sets them. Importing this module patches the standard library's sockets for gevent: only Locust
should import it.
"""

import contextlib
import functools
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gevent
import locust.stats
from geventhttpclient.response import HTTPConnectionClosed
from locust import FastHttpUser, LoadTestShape, between, events
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtest.answers import (
    Row,
    ServiceError,
    batch_body,
    fetch_card,
    new_traceparent,
    sample_rows,
    single_body,
    what_is_wrong,
)
from loadtest.curve import Step, write_curve
from loadtest.history import SENT_AGAIN
from loadtest.options import add_options, find_problem
from loadtest.scenarios import RAMP_SECONDS, SCENARIOS, PoissonArrivals, Scenario
from loadtest.thresholds import Outcome, Thresholds
from serve_app.card import ModelCard

USAGE_ERROR = 2
THINK_SECONDS = (1, 2)
CLOSED = (HTTPConnectionClosed, ConnectionResetError, BrokenPipeError)
JSON_HEADERS = {"content-type": "application/json"}

# Whoever watches the history file sees each second when it is over.
locust.stats.CSV_STATS_FLUSH_INTERVAL_SEC = 0.5


@dataclass(frozen=True)
class Plan:
    """What users send."""

    card: ModelCard
    rows: list[Row]
    note: str


@functools.lru_cache(maxsize=1)
def make_plan(host: str, model_dir: str) -> Plan:
    """Ask the service for its model, once in each process."""
    card = fetch_card(host)
    return Plan(card, *sample_rows(card, Path(model_dir)))


def scenario_of(environment: Environment) -> Scenario:
    """The scenario that was chosen on the command line or in the web UI."""
    return SCENARIOS[environment.parsed_options.scenario]


class Client(FastHttpUser):  # type: ignore[misc]
    """A client of the service."""

    network_timeout = 30.0
    connection_timeout = 10.0

    def on_start(self) -> None:
        """Prepare; a user must not pay for it with its first request."""
        options = self.environment.parsed_options
        self._plan = make_plan(self.host, options.model_dir)
        self._rows_per_request = scenario_of(self.environment).batch_rows
        self._traceparent_share = options.traceparent_share
        if scenario_of(self.environment).open_loop:
            arrivals = PoissonArrivals(options.user_rate)
            self._wait = arrivals.wait_seconds
            gevent.sleep(arrivals.wait_seconds())
        else:
            self._wait = functools.partial(between(*THINK_SECONDS), self)

    def wait_time(self) -> float:
        """Seconds until this user's next request."""
        return float(self._wait())

    def predict(self) -> None:
        """Send one request and check its answer."""
        rows = random.choices(self._plan.rows, k=self._rows_per_request)
        if self._rows_per_request == 1:
            path, body = "/predict/", single_body(rows[0])
        else:
            path, body = "/predict/batch/", batch_body(rows)
        headers = JSON_HEADERS
        if random.random() < self._traceparent_share:
            headers = {**headers, "traceparent": new_traceparent()}
        if not self._send(path, body, headers, rows):
            self._send(path, body, headers, rows, is_last_attempt=True)

    def _send(
        self,
        path: str,
        body: bytes,
        headers: dict[str, str],
        rows: list[Row],
        *,
        is_last_attempt: bool = False,
    ) -> bool:
        """Send once; False if the kept-alive connection was closed instead of answered.

        A proxy that is replaced closes its idle connections; a request that is sent at that very
        moment is lost, and no party is at fault. Predictions are idempotent, so that a client may
        send it again (RFC 9110, section 9.2.2). Statistics show such requests under their own name.
        """
        with self.client.post(path, data=body, headers=headers, catch_response=True) as response:
            if response.status_code == 0:
                if is_last_attempt or not isinstance(response.error, CLOSED):
                    return True  # Locust records the reason
                response.request_meta["name"] = SENT_AGAIN
                response.success()
                return False
            problem = what_is_wrong(
                self._plan.card, response.status_code, response.content or b"", rows
            )
            if problem is not None:
                response.failure(problem)
        return True

    tasks: ClassVar = [predict]


class ScenarioShape(LoadTestShape):  # type: ignore[misc]
    """Number of users over time."""

    use_common_options = True

    def reset_time(self) -> None:
        """Start from the beginning; Locust calls this."""
        super().reset_time()
        self._stage = 0
        self._failures_before = 0
        self._steps: list[Step] = []

    def tick(self) -> tuple[int, float] | None:
        """Users and users started or stopped per second; None ends the test."""
        environment = self.runner.environment
        options = environment.parsed_options
        scenario = scenario_of(environment)
        seconds = float(options.run_time or scenario.seconds)
        stage = scenario.stage_at(self.get_run_time(), seconds)
        if stage != self._stage:
            self._record_step(scenario, seconds)
            self._stage = stage if stage is not None else len(scenario.stages)
        if stage is None:
            options.run_time = None  # Locust would wait for it once more
            return None
        return scenario.users_in(stage, options.num_users), options.spawn_rate

    def _record_step(self, scenario: Scenario, seconds: float) -> None:
        """Keep what the stage that has just ended showed in its last ten seconds."""
        environment = self.runner.environment
        options = environment.parsed_options
        total = environment.stats.total
        failures = total.num_failures - self._failures_before
        self._failures_before = total.num_failures
        if not options.curve or not scenario.open_loop:
            return
        p50, p95, p99 = (
            total.get_current_response_time_percentile(share) or 0.0 for share in (0.5, 0.95, 0.99)
        )
        users = scenario.users_in(self._stage, options.num_users)
        step = Step(
            replicas=options.curve_replicas,
            seconds=scenario.stages[self._stage].seconds / scenario.seconds * seconds,
            offered_rps=users * options.user_rate,
            achieved_rps=max(total.current_rps - total.current_fail_per_sec, 0.0),
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            failures=failures,
        )
        self._steps.append(step)
        write_curve(Path(options.curve), self._steps)


def _prepare(environment: Environment, **_: Any) -> None:
    """Fill in what the scenario sets, and refuse at once what cannot work."""
    options = environment.parsed_options
    scenario = scenario_of(environment)
    if options.num_users is None:
        options.num_users = scenario.users
    problem = find_problem(options)
    if problem is not None:
        _refuse(problem)
    if options.spawn_rate is None:
        options.spawn_rate = max(1.0, options.num_users / RAMP_SECONDS)
    if options.worker:
        _meet_service(environment)
    elif options.headless:
        if not environment.host:
            _refuse("--host is missing: which service shall be loaded?")
        try:
            plan = make_plan(environment.host, options.model_dir)
        except ServiceError as error:
            _refuse(str(error))
        print(f"model {plan.card.name} {plan.card.version}: {plan.note}", file=sys.stderr)


def _refuse(problem: str) -> None:
    print(f"error: {problem}", file=sys.stderr)
    sys.exit(USAGE_ERROR)


def _meet_service(environment: Environment, **_: Any) -> None:
    """Prepare rows and model before there are users, whose first requests would wait for them.

    If this fails, so does every user, and Locust shows why.
    """
    if environment.host:
        with contextlib.suppress(ServiceError):
            make_plan(environment.host, environment.parsed_options.model_dir)


def _judge(environment: Environment, **_: Any) -> None:
    """Exit code 1, with the reasons, if a threshold is broken."""
    if environment.process_exit_code is not None:
        return
    if isinstance(environment.runner, WorkerRunner):
        environment.process_exit_code = 0  # the master judges for all
        return
    total, options = environment.stats.total, environment.parsed_options
    outcome = Outcome(
        requests=total.num_requests,
        failures=total.num_failures,
        rps=total.total_rps,
        p50_ms=total.get_response_time_percentile(0.5),
        p99_ms=total.get_response_time_percentile(0.99),
    )
    thresholds = Thresholds(options.max_failure_share, options.max_p99_ms, options.min_rps)
    broken = thresholds.broken_by(outcome)
    broken += [error["msg"] for error in environment.runner.exceptions.values()]
    for sentence in broken:
        print(f"FAILED: {sentence}", file=sys.stderr)
    environment.process_exit_code = 1 if broken else 0


events.init_command_line_parser.add_listener(add_options)
events.init.add_listener(_prepare)
events.test_start.add_listener(_meet_service)
events.quitting.add_listener(_judge)
