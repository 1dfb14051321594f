"""The load test's users. Importing this patches sockets for gevent: only a locustfile should."""

import functools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import gevent
from geventhttpclient.response import HTTPConnectionClosed
from locust import FastHttpUser, between, constant_throughput

from loadtest.driver.checks import (
    Row,
    batch_body,
    new_traceparent,
    sample_rows,
    single_body,
    what_is_wrong,
)
from loadtest.driver.options import chosen_scenario
from loadtest.driver.results import SENT_AGAIN
from loadtest.driver.scenarios import PoissonArrivals, Scenario
from serve_app.client import ServiceClient
from serve_app.model.card import ModelCard

THINK_SECONDS = (1, 2)
TIMEOUT_SECONDS = 5.0
CLOSED = (HTTPConnectionClosed, ConnectionResetError, BrokenPipeError)
JSON_HEADERS = {"content-type": "application/json"}


@dataclass(frozen=True)
class Material:
    """What users send, and what they check answers against."""

    card: ModelCard
    rows: list[Row]
    note: str


@functools.lru_cache(maxsize=1)
def fetch_material(host: str, model_dir: str) -> Material:
    """Ask the service for its model, once in each process.

    Raises:
        ServiceError: the service does not answer, or is not this project's.
    """
    with ServiceClient(host, timeout_seconds=TIMEOUT_SECONDS) as service:
        card = service.card()
    return Material(card, *sample_rows(card, Path(model_dir)))


class Client(FastHttpUser):  # type: ignore[misc]
    """A client of the service."""

    network_timeout = 30.0
    connection_timeout = 10.0

    def on_start(self) -> None:
        """Prepare; a user must not pay for it with its first request."""
        options = self.environment.parsed_options
        scenario = chosen_scenario(options)
        self._material = fetch_material(self.host, options.model_dir)
        self._rows_per_request = scenario.batch_rows
        self._traceparent_share = options.traceparent_share
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
        arrivals = PoissonArrivals(rate)
        gevent.sleep(arrivals.wait_seconds())
        return arrivals.wait_seconds

    def wait_time(self) -> float:
        """Seconds until this user's next request."""
        return float(self._wait())

    def predict(self) -> None:
        """Send one request and check its answer."""
        rows = random.choices(self._material.rows, k=self._rows_per_request)
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

        A proxy that ends closes its idle connections; a request that is sent at that very moment is
        lost, and no party is at fault. Predictions are idempotent, so that a client may send it
        again (RFC 9110, section 9.2.2). Statistics show such requests under their own name.
        """
        with self.client.post(path, data=body, headers=headers, catch_response=True) as response:
            if response.status_code == 0:
                if is_last_attempt or not isinstance(response.error, CLOSED):
                    return True  # Locust records the reason
                response.request_meta["name"] = SENT_AGAIN
                response.success()
                return False
            problem = what_is_wrong(
                self._material.card, response.status_code, response.content or b"", rows
            )
            if problem is not None:
                response.failure(problem)
        return True

    tasks: ClassVar = [predict]
