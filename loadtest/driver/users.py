"""The load test's users, and how many there are over time.

Importing this patches sockets for gevent: only a locustfile should.
"""

import functools
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import gevent
from geventhttpclient.response import HTTPConnectionClosed
from locust import FastHttpUser, LoadTestShape, between, constant_throughput
from locust.exception import CatchResponseError

from loadtest.driver.announced import AnnouncedModels
from loadtest.driver.checks import OK, Row, judge, new_traceparent, sample_rows
from loadtest.driver.curve import Step, write_curve
from loadtest.driver.dialects import make_dialect
from loadtest.driver.grpc_channel import GrpcChannel, grpc_address
from loadtest.driver.options import GRPC, chosen_scenario
from loadtest.driver.results import SENT_AGAIN, answered_by
from loadtest.driver.scenarios import Scenario, poisson_waits
from serve_app.client import ServiceClient
from serve_app.model.card import ModelCard

THINK_SECONDS = (1, 2)
TIMEOUT_SECONDS = 5.0
CLOSED = (HTTPConnectionClosed, ConnectionResetError, BrokenPipeError)


@functools.lru_cache(maxsize=1)
def fetch_rows(host: str, model_dir: str) -> tuple[AnnouncedModels, list[Row], str]:
    """The served model, rows to send, and how their answers are checked; once in a process.

    Raises:
        ServiceError: the service does not answer, or is not this project's.
    """
    card = _fetch_card(host)
    models = AnnouncedModels(card, functools.partial(_fetch_card, host))
    return models, *sample_rows(card, Path(model_dir))


def _fetch_card(host: str) -> ModelCard:
    with ServiceClient(host, timeout_seconds=TIMEOUT_SECONDS) as service:
        return service.card()


class Client(FastHttpUser):  # type: ignore[misc]
    """A client of the service."""

    network_timeout = 30.0
    connection_timeout = 10.0
    _channel: GrpcChannel | None = None

    def on_start(self) -> None:
        """Prepare; a user must not pay for it with its first request."""
        options = self.environment.parsed_options
        scenario = chosen_scenario(options)
        self._models, self._rows, _ = fetch_rows(self.host, options.model_dir)
        self._rows_per_request = scenario.batch_rows
        self._traceparent_share = options.traceparent_share
        self._dialect = make_dialect(options.protocol, self._models.first)
        self._send: Callable[[str, bytes, dict[str, str], Sequence[Row]], None] = self._post
        if options.protocol == GRPC:
            self._channel = GrpcChannel(options.grpc_address or grpc_address(self.host))
            self._send = functools.partial(self._call, self._channel)
        self._wait = self._start_waiting(scenario, options.user_rate)

    def _start_waiting(self, scenario: Scenario, rate: float) -> Callable[[], float]:
        """Wait for the first request; returns a function for those that follow."""
        if not scenario.open_loop:
            return functools.partial(between(*THINK_SECONDS), self)
        if scenario.even_arrivals:
            # Users that are started together must not send together.
            gevent.sleep(random.uniform(0, 1 / rate))
            self._cp_last_run = time.perf_counter()  # constant_throughput counts from here
            return functools.partial(constant_throughput(rate), self)
        waits = poisson_waits(rate)
        gevent.sleep(next(waits))
        return functools.partial(next, waits)

    def wait_time(self) -> float:
        """Seconds until this user's next request."""
        return float(self._wait())

    def predict(self) -> None:
        """Send one request and check its answer."""
        rows = random.choices(self._rows, k=self._rows_per_request)
        path, body = self._dialect.request([row.instance for row in rows])
        headers = {}
        if random.random() < self._traceparent_share:
            headers["traceparent"] = new_traceparent()
        self._send(path, body, headers, rows)

    def _post(self, path: str, body: bytes, headers: dict[str, str], rows: Sequence[Row]) -> None:
        """Send over HTTP.

        A proxy that ends closes its idle connections; a request that is sent at that very moment is
        lost, and no party is at fault. Predictions are idempotent, so that a client may send it
        again (RFC 9110, section 9.2.2). Statistics show such requests under their own name, and
        right answers under that of the model version that gave them.
        """
        headers = {"content-type": "application/json", **headers}
        for is_last in (False, True):
            with self.client.post(path, data=body, headers=headers, catch_response=True) as answer:
                if answer.status_code == 0 and isinstance(answer.error, CLOSED) and not is_last:
                    answer.request_meta["name"] = SENT_AGAIN
                    answer.success()
                    continue
                if answer.status_code != 0:  # Locust records the reason of 0
                    content = answer.content or b""
                    verdict = judge(self._models, self._dialect, answer.status_code, content, rows)
                    if verdict.problem is not None:
                        answer.failure(verdict.problem)
                    else:
                        answer.request_meta["name"] = answered_by(verdict.version, path)
                return

    def _call(
        self,
        channel: GrpcChannel,
        path: str,
        body: bytes,
        headers: dict[str, str],
        rows: Sequence[Row],
    ) -> None:
        """Send over gRPC, which sends again by itself what no server has begun to answer."""
        began = time.perf_counter()
        content, code = channel.call(path, body, headers, self.network_timeout)
        seconds = time.perf_counter() - began
        name, problem = path, f"status {code}"
        if code is None:
            verdict = judge(self._models, self._dialect, OK, content, rows)
            problem = verdict.problem or ""
            name = path if problem else answered_by(verdict.version, path)
        self.environment.events.request.fire(
            request_type="grpc",
            name=name,
            response_time=seconds * 1000,
            response_length=len(content),
            exception=CatchResponseError(problem) if problem else None,
            context={},
        )

    def on_stop(self) -> None:
        """Close what only this user has."""
        if self._channel is not None:
            self._channel.close()

    tasks: ClassVar = [predict]


class ScenarioShape(LoadTestShape):  # type: ignore[misc]
    """Number of users over time."""

    use_common_options = True

    def reset_time(self) -> None:
        """Start from the beginning; Locust calls this."""
        super().reset_time()
        self._stage = 0
        self._before = (0.0, 0, 0)
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
        now = (self.get_run_time(), total.num_requests, total.num_failures)
        elapsed, requests, failures = (b - a for a, b in zip(self._before, now, strict=True))
        p50, p95, p99 = (
            total.get_current_response_time_percentile(share) or 0.0 for share in (0.5, 0.95, 0.99)
        )
        users = scenario.users_in(self._stage, options.num_users)
        step = Step(
            replicas=options.curve_replicas,
            seconds=scenario.stages[self._stage].seconds / scenario.seconds * seconds,
            offered_rps=users * options.user_rate,
            achieved_rps=max(requests - failures, 0) / elapsed if elapsed > 0 else 0.0,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            failures=failures,
        )
        self._before = now
        self._steps.append(step)
        write_curve(Path(options.curve), self._steps)
