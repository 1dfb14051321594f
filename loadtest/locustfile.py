"""The load test, for every way to run Locust: web UI, ``--headless``, ``--processes N``.

    locust -f loadtest/locustfile.py --host http://localhost:8000 --headless --scenario spike

``--users``, ``--spawn-rate`` and ``--run-time`` are Locust's; unless they are given, the scenario
sets them. Importing this module patches the standard library's sockets for gevent: only Locust
should import it.
"""

import contextlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import locust.log
import locust.stats
import psutil
from locust import events
from locust.env import Environment
from locust.runners import WorkerRunner
from locust.stats import StatsError

from loadtest.driver.curve import write_curve
from loadtest.driver.grpc_channel import grpc_address
from loadtest.driver.locust_run import REFUSED
from loadtest.driver.options import LOAD_OPTIONS, add_options, chosen_scenario, find_problem
from loadtest.driver.results import LoadSummary, Thresholds, cause_of, count_versions
from loadtest.driver.scenarios import RAMP_SECONDS
from loadtest.driver.spoken import require_protocol
from loadtest.driver.users import Client, ScenarioShape, fetch_rows
from serve_app.client import ServiceError
from serve_app.model.artifact import Artifact, ArtifactError
from serve_app.model.card import ModelCard

__all__ = ["Client", "ScenarioShape"]  # Locust looks for them here

# A reader of the history file sees each second as soon as it is over.
locust.stats.CSV_STATS_FLUSH_INTERVAL_SEC = 0.5


def _prepare(environment: Environment, **_options: Any) -> None:
    """Fill in what the scenario sets, and refuse at once what cannot work."""
    options = environment.parsed_options
    if options.worker:
        # The master judges the options and sends its own; and the web UI may change the host.
        _meet_service(environment)
        return
    if options.num_users is None:
        options.num_users = chosen_scenario(options).users
    problem = find_problem(options)
    if problem is not None:
        _refuse(problem)
    if options.spawn_rate is None:
        options.spawn_rate = max(1.0, options.num_users / RAMP_SECONDS)
    _check_model(options.model_dir)
    if options.headless:
        if not environment.host:
            _refuse("--host is missing: give the address of the service, without a path")
        try:
            models, _, note = fetch_rows(environment.host, options.model_dir)
            where = options.grpc_address or grpc_address(environment.host)
            require_protocol(options.protocol, environment.host, where, models.first.name)
        except ServiceError as error:
            _refuse(str(error))
        _introduce(models.first, note)
    if options.curve:
        try:
            write_curve(Path(options.curve), [])
        except OSError as error:
            _refuse(f"--curve {options.curve}: cannot be written ({error.strerror})")


def _check_model(directory: str) -> None:
    """Refuse a directory that was named and holds no model: no answer would be checked."""
    if directory in ("", LOAD_OPTIONS["model_dir"].default):
        return
    try:
        Artifact.open(Path(directory))
    except ArtifactError as error:
        _refuse(f"--model-dir: {error}")


def _refuse(problem: str) -> NoReturn:
    print(f"error: {problem}", file=sys.stderr)
    # Locust takes forked workers that still run for ended, and leaves them behind.
    for worker in psutil.Process().children():
        worker.terminate()
    sys.exit(REFUSED)


def _meet_service(environment: Environment, **_: Any) -> None:
    """Prepare rows and model before there are users, whose first requests would wait for them.

    If this fails, so does every user, and Locust shows why.
    """
    if environment.host:
        with contextlib.suppress(ServiceError):
            options = environment.parsed_options
            models, _rows, note = fetch_rows(environment.host, options.model_dir)
            if not (options.headless or options.worker):
                _introduce(models.first, note)


def _introduce(card: ModelCard, note: str) -> None:
    print(f"model {card.name} {card.version}: {note}", file=sys.stderr)


def _judge(environment: Environment, **_: Any) -> None:
    """Exit code 1, with the reasons, if the test was cut short or a threshold is broken."""
    if environment.process_exit_code is not None:
        return
    if isinstance(environment.runner, WorkerRunner):
        environment.process_exit_code = 0  # the master judges for all
        return
    total, options = environment.stats.total, environment.parsed_options
    causes: Counter[str] = Counter()
    for error in environment.stats.errors.values():
        causes[cause_of(StatsError.parse_error(error.error))] += error.occurrences
    load = LoadSummary(
        requests=total.num_requests,
        failures=total.num_failures,
        rps=total.total_rps,
        p50_ms=total.get_response_time_percentile(0.5),
        p99_ms=total.get_response_time_percentile(0.99),
        causes=causes,
        versions=count_versions(
            {entry.name: entry.num_requests for entry in environment.stats.entries.values()}
        ),
    )
    if load.versions:
        print(f"answered by {load.answered_by_version}", file=sys.stderr)
    thresholds = Thresholds(options.max_failure_share, options.max_p99_ms, options.min_rps)
    broken = thresholds.broken_by(load)
    broken += [error["msg"] for error in environment.runner.exceptions.values()]
    if locust.log.unhandled_greenlet_exception:
        broken.append("the load test was cut short by the error that is shown above")
    for sentence in broken:
        print(f"FAILED: {sentence}", file=sys.stderr)
    environment.process_exit_code = 1 if broken else 0


events.init_command_line_parser.add_listener(add_options)
events.init.add_listener(_prepare)
events.test_start.add_listener(_meet_service)
events.quitting.add_listener(_judge)
